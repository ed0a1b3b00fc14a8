"""What a tensor that a block has returned carries along: where on the streams of its chain it stands."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from re2tal.reversible.branch_call import version_of
from re2tal.reversible.fixed_point import Link, Pair
from re2tal.reversible.streams import Streams

__all__ = ["Carried", "carry", "may_be_recomputed", "place_of", "recomputed", "remember"]


@dataclass(frozen=True)
class Carried:
    """What a tensor that a block has returned carries along."""

    chain: object
    place: Streams | Pair
    done: int
    """Steps of the streams before it."""
    version: int
    """Of the tensor when it was returned."""
    link: Link | None = None
    """Between a stored pair and the tensor."""

    def pair(self, x: Tensor) -> Pair:
        """The stored pair, with `x` in the graph where the tensor was."""
        assert isinstance(self.place, Pair)
        return self.place if self.link is None else self.link.go_on(self.place, x)


_addresses: dict[int, weakref.ref[Tensor]] = {}
"""Tensors that carry a stored pair, by where they are in memory. A checkpoint computes again with others there."""


def carry(y: Tensor, carried: Carried) -> None:
    """Let a tensor that was returned carry `carried` along."""
    y._re2tal_carried = carried  # type: ignore[attr-defined]
    if carried.link is not None and y.requires_grad and (address := y.data_ptr()):
        _addresses[address] = weakref.ref(y, lambda gone: _forget(address, gone))


def _forget(address: int, gone: weakref.ref[Tensor]) -> None:
    if _addresses.get(address) is gone:
        del _addresses[address]


def _carried_by(x: Tensor) -> Carried | None:
    """What `x` carries, or what it is a view of, as a whole: FSDP2 gives such views to every block."""
    found, base = getattr(x, "_re2tal_carried", None), x._base
    if found is None and base is not None and (base.shape, base.stride(), base.dtype) == (x.shape, x.stride(), x.dtype):
        found = getattr(base, "_re2tal_carried", None)
    if (
        found is None
        and torch._C._current_graph_task_id() != -1
        and (place := _addresses.get(x.data_ptr())) is not None
    ):
        y = place()
        found = y._re2tal_carried if y is not None and y.shape == x.shape else None  # type: ignore[attr-defined]
        return found if isinstance(found, Carried) and y is not None and found.version == version_of(y) else None
    return found if isinstance(found, Carried) and found.version == version_of(x) else None


def place_of(x: Tensor, chain: object) -> Streams | Pair | None:
    """The streams that `x` carries for `chain`, if they still are where they were when it was returned."""
    carried = _carried_by(x)
    if carried is None or carried.chain is not chain:
        return None
    place = carried.place
    if isinstance(place, Pair):
        return carried.pair(x)
    if place.is_broken:
        raise RuntimeError(
            "a block of this reversible chain has failed in this forward pass, and its streams with it; run the "
            "network from its input again"
        )
    return place if place.pair is not None and carried.done == len(place.steps) else None


# Re-entrant checkpoints
#
# They run a block without gradients, and again in the backward pass, in a pass of its own, on a detached copy of its
# input. That copy carries nothing; but it shares memory with the input, which the checkpoint has kept.


@dataclass(frozen=True)
class _Kept:
    """Of a call that may have been such a block's."""

    chain: object
    x: weakref.ref[Tensor]
    version: int
    carried: Carried | None
    link: Link
    """Of what it returned."""

    def place(self, x: Tensor) -> Pair | None:
        """Where the call began, for `x` in the place of its input."""
        return None if self.carried is None else self.carried.pair(x)


_kept: dict[int, _Kept] = {}
"""By the addresses of the inputs, as long as these live."""


def may_be_recomputed(x: Tensor) -> bool:
    """Whether this looks like the forward pass of a re-entrant checkpoint."""
    return not torch.is_grad_enabled() and x.requires_grad and not x.is_inference()


def remember(x: Tensor, chain: object) -> Link:
    """Note what the call with `x` has begun with; returns the link of what it will return."""
    carried = _carried_by(x)
    if carried is not None and not (carried.chain is chain and isinstance(carried.place, Pair)):
        carried = None
    if carried is not None and carried.link is not None:
        carried.link.crosses_passes = True
    address, link = x.data_ptr(), Link(crosses_passes=True)
    _kept[address] = _Kept(chain, weakref.ref(x, lambda _: _kept.pop(address, None)), x._version, carried, link)
    return link


def recomputed(x: Tensor, chain: object) -> _Kept | None:
    """The call that a backward pass runs again, if it does."""
    if torch._C._current_graph_task_id() == -1 or not torch.is_grad_enabled():
        return None
    kept = _kept.get(x.data_ptr())
    before = kept.x() if kept is not None else None
    if kept is None or before is None or kept.chain is not chain or before.shape != x.shape:
        return None
    return kept if kept.version == x._version == before._version else None
