"""For programs that look at branches while they run, forward and when they are computed again, and at what is saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from re2tal.reversible.branch import Branch

__all__ = ["Observer", "noting_saved", "observed_by", "observers"]


class Observer(Protocol):
    """What is told of a branch, tile by tile if it is computed so."""

    def begins(self, branch: Branch, x: Tensor) -> None:
        """It is about to be computed of `x`."""

    def ended(self, branch: Branch, f: Tensor) -> None:
        """It made `f` of that."""


_present: list[Observer] = []
"""Not one for each thread: accelerators run backward passes in threads of their own."""


def observers() -> tuple[Observer, ...]:
    """Those that are to be told."""
    return tuple(_present)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Inside, `observer` is told of every branch."""
    _present.append(observer)
    try:
        yield
    finally:
        _present.remove(observer)


@contextmanager
def noting_saved(*, known: Iterable[Tensor] = (), leaves_too: bool = False) -> Iterator[dict[int, int]]:
    """Inside, note the bytes of every storage that autograd saves.

    Args:
        known: tensors whose storages are left out.
        leaves_too: note leaves that need gradients, too: parameters, and what tiles share.
    """
    saved: dict[int, int] = {}
    left_out = {tensor.untyped_storage()._cdata for tensor in known}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in left_out and (leaves_too or not (tensor.is_leaf and tensor.requires_grad)):
            saved[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
