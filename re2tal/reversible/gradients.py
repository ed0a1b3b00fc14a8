"""Differentiating one call of a branch, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

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

    def tile(
        self, x: Tensor, tile: Tile, gradient: Tensor, *, use: Callable[[Tensor], object] | None = None
    ) -> Tensor | None:
        """The gradient of `x`, if it needs it, for the gradient of the result of the whole.

        `use` is given `f` of the tile, which is gone when the rest takes the most memory.
        """
        f = self.compute(x, tile)
        if use is not None:
            use(f.detach())
        if not f.requires_grad:
            return None
        edge, dtype = get_gradient_edge(f), f.dtype
        del f
        return self.differentiated(x, edge, part_of(gradient, tile.write).to(dtype))

    def differentiated(self, x: Tensor, f: GradientEdge, gradient: Tensor, *, retain: bool = False) -> Tensor | None:
        """The gradient of `x`, if it needs it; those of all else are added up."""
        inputs = [x, *self._wanted, *self._shared]
        places = [place for place, tensor in enumerate(inputs) if tensor.requires_grad]
        wanted = [inputs[place] for place in places]
        dx = None
        if places:
            # Outside autocast, as backward passes run.
            with computing_a_tile():
                found = torch.autograd.grad([f], wanted, [gradient], retain_graph=retain, allow_unused=True)
            of_all = dict(zip(places, found, strict=True))
            dx = of_all.pop(0, None)
            _add(self._sums, {place - 1: grad for place, grad in of_all.items() if grad is not None})
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
            _add(sums, {place: grad for place, grad in zip(places, found, strict=True) if grad is not None})
        self._sums = [None] * len(sums)
        return sums[:count]


def _add(sums: list[Tensor | None], grads: Mapping[int, Tensor]) -> None:
    """To what is in these places, in place, in memory that nobody else sees; by one kernel where a device has one."""
    totals, added = [], []
    for place, grad in grads.items():
        total = sums[place]
        if total is None:
            sums[place] = grad.clone() if grad._base is not None or not is_dense(grad) else grad
        else:
            totals.append(total)
            added.append(grad)
    if totals:
        torch._foreach_add_(totals, added)
