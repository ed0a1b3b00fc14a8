"""What a chain stores although it could do without, where there is memory to spare: the time of computing it again.

A branch's activations, from which it is differentiated as by plain autograd, or its input, from which it is computed
again without the streams being recovered. Tiles, the order in which gradients are added, and what is rounded are the
same whatever is stored, so streams and gradients are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from re2tal.reversible.branch_call import BranchCall
from re2tal.reversible.gradients import Gradients
from re2tal.reversible.tiles import Tile, add_to, part_of

__all__ = ["Storage", "StoredGradients", "stored"]


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What the branches of a chain store, counted from its start: what comes after them needs no stream from there.

    Stems and what stands between chains count as one branch, whose input is stored anyway.
    """

    activations: int = 0
    """So many branches store all that their gradients need."""
    inputs: int = 0
    """So many, behind those, store their input."""

    def __post_init__(self) -> None:
        if min(self.activations, self.inputs) < 0:
            raise ValueError(f"branches that store something are counted from 0, got {self}")

    @property
    def branches(self) -> int:
        """Up to this one, no stream has to be recovered."""
        return self.activations + self.inputs

    def of(self, place: int) -> Literal["activations", "inputs", "nothing"]:
        """What the branch stores that is the `place`-th of its chain, counted from 0."""
        if place < self.activations:
            return "activations"
        return "inputs" if place < self.branches else "nothing"


class StoredGradients(Gradients):
    """A backward pass through one call of a branch whose graphs are made in the forward pass; see `stored`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._graphs: dict[int, tuple[Tensor, GradientEdge, torch.dtype]] = {}

    def computed(self, x: Tensor, tile: Tile) -> Tensor:
        """`f` of a tile, without its graph, which stays."""
        f = self.compute(x, tile)
        if f.requires_grad:
            self._graphs[id(tile)] = x, get_gradient_edge(f), f.dtype
        return f.detach()

    def backward(self, gradient: Tensor, dx: Tensor | None, *, retain: bool) -> list[Tensor | None]:
        """The gradients of arguments and parameters.

        Args:
            gradient: of the result of the whole.
            dx: what the input's gradient is added to.
            retain: there will be another backward pass.
        """
        for tile in self._call.tiles:
            found = self._graphs.get(id(tile)) if retain else self._graphs.pop(id(tile), None)
            if found is None:  # nothing in it learns
                continue
            x, f, dtype = found
            dx_of_tile = self.differentiated(x, f, part_of(gradient, tile.write).to(dtype), retain=retain)
            if dx is not None and dx_of_tile is not None:
                add_to(dx, tile.read, dx_of_tile)
            del x, f, found, dx_of_tile  # before the next tile's gradients take memory
        return self.sums(retain=retain)


@contextmanager
def stored(
    call: BranchCall,
    like: Tensor,
    *,
    args: Sequence[object],
    leaves: Sequence[Tensor],
    autocast: Sequence[torch.autocast],
) -> Iterator[StoredGradients]:
    """Around a call of a branch in the forward pass whose graphs stay.

    Args:
        call: that has begun.
        like: of the input's shape and type.
        args: for every tile.
        leaves: tensors among `args`.
        autocast: of the forward pass.
    """
    with call.on_leaves() as parameters:
        call.graph = StoredGradients(call, like, args=args, leaves=leaves, parameters=parameters, autocast=autocast)
        yield call.graph
