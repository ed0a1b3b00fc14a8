"""One call of a branch, as a whole or cell by cell; both look alike from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from re2tal.reversible.branch import Branch
from re2tal.reversible.cells import Box, Cell
from re2tal.reversible.observed import observers
from re2tal.reversible.rehearsal import computing_a_cell, to_compute

__all__ = ["Evaluation", "Gradients", "autocast_contexts", "entered"]

_WHOLE = (Cell(),)


def autocast_contexts(device: torch.device) -> list[torch.autocast]:
    """Contexts that enter the present autocast state again, on the CPU and on `device`.

    Without the cache of cast weights: a weight cast without a graph in the forward pass must not be found there by
    code outside the chain that needs the graph.
    """
    return [
        torch.autocast(
            kind,
            dtype=torch.get_autocast_dtype(kind),
            enabled=torch.is_autocast_enabled(kind),
            cache_enabled=False,
        )
        for kind in dict.fromkeys(("cpu", device.type))
    ]


@contextmanager
def entered(contexts: Sequence[torch.autocast]) -> Iterator[None]:
    """The autocast state of the forward pass."""
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


@dataclass(frozen=True)
class Evaluation:
    """How one call of a branch is carried out."""

    branch: Branch
    cells: Sequence[Cell]
    in_cells: bool

    @staticmethod
    def plan(branch: Branch, shape: tuple[int, ...], *, args: bool, limit: int | None) -> Evaluation:
        """Cells of about `limit` bytes, if the branch knows how and is given no further arguments; None: no cells."""
        if limit is not None and branch.locality is not None and not args:
            cells = branch.locality.cells(branch.owner, shape, limit)
            if cells is not None:
                return Evaluation(branch, to_compute(cells, shape), True)
        return Evaluation(branch, _WHOLE, False)

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of an input of `shape`."""
        locality = self.branch.locality
        return shape if locality is None or locality.result is None else locality.result(self.branch.owner, shape)

    def prepare(self, like: Tensor) -> tuple[Tensor, ...]:
        """What the cells share; `like` has the shape and type of the input. Draws what the branch draws."""
        if not self.in_cells:
            return ()
        assert self.branch.locality is not None
        return self.branch.locality.prepare(self.branch.owner, like)

    def compute(self, x: Tensor, prepared: tuple[Tensor, ...], cell: Cell, args: Sequence[object]) -> Tensor:
        """`f` of a cell."""
        told = observers()
        for observer in told:
            observer.begins(self.branch, x)
        with computing_a_cell():
            if not self.in_cells:
                f = self.branch(x, *args)
            else:
                assert self.branch.locality is not None
                f = self.branch.locality.compute(self.branch.owner, x, prepared, cell)
        for observer in told:
            observer.ended(self.branch, f)
        return f

    def with_graph(self, x: Tensor, args: Sequence[object]) -> Tensor:
        """`f` of everything, by the same steps, under ordinary autograd."""
        if not self.in_cells:
            return self.branch(x, *args)
        prepared = self.prepare(x)
        pieces = _Cut.apply(x, [cell.read for cell in self.cells])
        results = [self.compute(piece, prepared, cell, ()) for piece, cell in zip(pieces, self.cells, strict=True)]
        boxes = [cell.write for cell in self.cells]
        whole: Tensor = _Join.apply(self.result_shape(tuple(x.shape)), boxes, *results)
        return whole


class _Cut(torch.autograd.Function):
    """Parts of a tensor, which may overlap. Slicing one by one would fill a whole gradient for every part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, boxes: Sequence[Box]) -> tuple[Tensor, ...]:
        ctx.boxes, ctx.shape = boxes, x.shape
        return tuple(x[box].clone() for box in boxes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        total = gradients[0].new_zeros(ctx.shape)
        for box, gradient in zip(ctx.boxes, gradients, strict=True):
            total[box] += gradient
        return total, None


class _Join(torch.autograd.Function):
    """A tensor made of parts."""

    @staticmethod
    def forward(ctx: Any, shape: tuple[int, ...], boxes: Sequence[Box], *parts: Tensor) -> Tensor:
        ctx.boxes = boxes
        whole = parts[0].new_empty(shape)
        for box, part in zip(boxes, parts, strict=True):
            whole[box] = part
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(gradient[box] for box in ctx.boxes)


class Gradients:
    """A backward pass through one call: computes cells again, differentiates them, and adds up.

    Args:
        evaluation: of the call.
        like: of the input's shape and type.
        args: for every cell.
        leaves: tensors among `args`.
        parameters: the leaves on which the branch runs, all of which need gradients.
        autocast: of the forward pass.
        lanes: that take turns; each adds up for itself.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        like: Tensor,
        *,
        args: Sequence[object],
        leaves: Sequence[Tensor],
        parameters: Sequence[Tensor],
        autocast: Sequence[torch.autocast],
        lanes: int = 1,
    ) -> None:
        self._evaluation, self._args, self._autocast = evaluation, args, autocast
        self._wanted = [*leaves, *parameters]
        with torch.enable_grad(), entered(autocast):
            self._prepared = evaluation.prepare(like)
        self._shared = tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in self._prepared)
        count = len(self._wanted) + len(self._shared)
        self._sums: list[list[Tensor | None]] = [[None] * count for _ in range(lanes)]

    def cell(self, x: Tensor, cell: Cell, gradient: Tensor, *, lane: int = 0) -> tuple[Tensor, Tensor | None]:
        """`f` of one cell and, if `x` needs it, its gradient, for the gradient of the result of the whole."""
        with torch.enable_grad(), entered(self._autocast):
            f = self._evaluation.compute(x, self._shared, cell, self._args)
        inputs = [x, *self._wanted, *self._shared]
        places = [place for place, tensor in enumerate(inputs) if tensor.requires_grad]
        dx = None
        if f.requires_grad and places:
            # Outside autocast, as backward passes run.
            with computing_a_cell():
                found = torch.autograd.grad(
                    f, [inputs[place] for place in places], gradient[cell.write].to(f.dtype), allow_unused=True
                )
            for place, grad in zip(places, found, strict=True):
                if place == 0:
                    dx = grad
                elif grad is not None:
                    _add(self._sums[lane], place - 1, grad)
        return f.detach(), dx

    def sums(self) -> list[Tensor | None]:
        """The gradients of `leaves` and `parameters` after the last cell."""
        count = len(self._wanted)
        sums, *others = self._sums
        for other in others:
            for place, grad in enumerate(other):
                if grad is not None:
                    _add(sums, place, grad)
        reached = [
            (tensor, grad) for tensor, grad in zip(self._prepared, sums[count:], strict=True) if grad is not None
        ]
        if reached:
            found = torch.autograd.grad(
                [tensor for tensor, _ in reached],
                [tensor for tensor in self._wanted if tensor.requires_grad],
                [grad for _, grad in reached],
                allow_unused=True,
            )
            places = (place for place, tensor in enumerate(self._wanted) if tensor.requires_grad)
            for place, grad in zip(places, found, strict=True):
                if grad is not None:
                    _add(sums, place, grad)
        return sums[:count]


def _add(sums: list[Tensor | None], place: int, grad: Tensor) -> None:
    """In place, in memory that nobody else sees."""
    total = sums[place]
    if total is None:
        sums[place] = grad.clone() if grad._base is not None or not grad.is_contiguous() else grad
    else:
        total += grad
