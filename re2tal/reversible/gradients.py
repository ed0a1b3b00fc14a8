"""Differentiating one call of a branch, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from re2tal.reversible.branch_call import BranchCall, entered
from re2tal.reversible.devices import is_dense
from re2tal.reversible.dry_run import computing_a_tile
from re2tal.reversible.tiles import Tile, part_of

__all__ = ["Gradients"]


class Gradients:
    """A backward pass through one call: computes tiles again, differentiates them, and adds up.

    Args:
        call: to differentiate; inside its `replayed`.
        like: of the input's shape and type.
        args: for every tile.
        leaves: tensors among `args`.
        parameters: the leaves on which the branch runs, all of which need gradients.
        autocast: of the forward pass.
    """

    def __init__(
        self,
        call: BranchCall,
        like: Tensor,
        *,
        args: Sequence[object],
        leaves: Sequence[Tensor],
        parameters: Sequence[Tensor],
        autocast: Sequence[torch.autocast],
    ) -> None:
        self._call, self._args, self._autocast = call, args, autocast
        self._wanted = [*leaves, *parameters]
        with torch.enable_grad(), entered(autocast):
            self._prepared = call.prepare(like)
        self._shared = tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in self._prepared)
        self._sums: list[Tensor | None] = [None] * (len(self._wanted) + len(self._shared))

    def compute(self, x: Tensor, tile: Tile) -> Tensor:
        """`f` of one tile, with its graph."""
        with torch.enable_grad(), entered(self._autocast):
            return self._call.compute(x, self._shared, tile, self._args)

    def tile(self, x: Tensor, tile: Tile, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """`f` of one tile and, if `x` needs it, its gradient, for the gradient of the result of the whole."""
        f = self.compute(x, tile)
        dx = self.differentiated(x, f, part_of(gradient, tile.write).to(f.dtype)) if f.requires_grad else None
        return f.detach(), dx

    def differentiated(
        self, x: Tensor, f: Tensor | GradientEdge, gradient: Tensor, *, retain: bool = False
    ) -> Tensor | None:
        """The gradient of `x`, if it needs it; those of all else are added up."""
        outputs: Any = [f]
        inputs = [x, *self._wanted, *self._shared]
        places = [place for place, tensor in enumerate(inputs) if tensor.requires_grad]
        wanted = [inputs[place] for place in places]
        dx = None
        if places:
            # Outside autocast, as backward passes run.
            with computing_a_tile():
                found = torch.autograd.grad(outputs, wanted, [gradient], retain_graph=retain, allow_unused=True)
            for place, grad in zip(places, found, strict=True):
                if place == 0:
                    dx = grad
                elif grad is not None:
                    _add(self._sums, place - 1, grad)
        return dx

    def sums(self, *, retain: bool = False) -> list[Tensor | None]:
        """The gradients of `leaves` and `parameters` after the last tile."""
        count = len(self._wanted)
        sums = self._sums
        reached = [
            (tensor, grad) for tensor, grad in zip(self._prepared, sums[count:], strict=True) if grad is not None
        ]
        if reached:
            found = torch.autograd.grad(
                [tensor for tensor, _ in reached],
                [tensor for tensor in self._wanted if tensor.requires_grad],
                [grad for _, grad in reached],
                retain_graph=retain,
                allow_unused=True,
            )
            places = (place for place, tensor in enumerate(self._wanted) if tensor.requires_grad)
            for place, grad in zip(places, found, strict=True):
                if grad is not None:
                    _add(sums, place, grad)
        self._sums = [None] * len(sums)
        return sums[:count]


def _add(sums: list[Tensor | None], place: int, grad: Tensor) -> None:
    """In place, in memory that nobody else sees."""
    total = sums[place]
    if total is None:
        sums[place] = grad.clone() if grad._base is not None or not is_dense(grad) else grad
    else:
        total += grad
