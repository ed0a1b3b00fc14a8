"""Modules that are not reversible but local: computed in cells, with nothing stored but their input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from re2tal.reversible.branch import Branch, Slot, trainable
from re2tal.reversible.cells import CellSize, most_bytes
from re2tal.reversible.evaluation import Evaluation, Gradients, autocast_contexts, entered
from re2tal.reversible.heap import return_freed_memory

__all__ = ["LocalModule", "run_in_cells"]


class LocalModule(nn.Module):
    """A local module that stands in the place of the original: same children, names and state dict."""

    def __init__(self, original: nn.Module, branch: Branch) -> None:
        super().__init__()
        for name, child in original.named_children():
            self.add_module(name, child)
        self.training = original.training
        self.cell_size: CellSize = "auto"
        self._branch = branch  # holds the original, which is not a child: its children are ours

    def forward(self, x: Tensor) -> Tensor:
        return run_in_cells(self._branch, x, size=self.cell_size)


def run_in_cells(branch: Branch, x: Tensor, *, size: CellSize) -> Tensor:
    """`branch.function(branch.owner, x)`, whose backward pass runs it again cell by cell."""
    evaluation = Evaluation.plan(branch, tuple(x.shape), args=False, limit=most_bytes(size, x.device))
    slots = branch.parameters()
    if not evaluation.in_cells:
        return branch.function(branch.owner, x)
    result: Tensor = _InCells.apply(evaluation, slots, autocast_contexts(x.device), x, *trainable(slots))
    return result


class _InCells(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, evaluation: Evaluation, slots: list[Slot], autocast: list[torch.autocast], x: Tensor, *_: Tensor
    ) -> Tensor:
        ctx.evaluation, ctx.slots, ctx.autocast = evaluation, slots, autocast
        ctx.save_for_backward(x)
        out: Tensor | None = None
        with entered(autocast):
            prepared = evaluation.prepare(x)
            for cell in evaluation.cells:
                y = evaluation.compute(x[cell.read], prepared, cell, ())
                if out is None:
                    out = y.new_empty(evaluation.result_shape(tuple(x.shape)))
                out[cell.write] = y
        assert out is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        evaluation: Evaluation = ctx.evaluation
        (x,) = ctx.saved_tensors
        return_freed_memory(x.device)
        needs_dx = ctx.needs_input_grad[3]
        dx = torch.zeros_like(x) if needs_dx else None
        with evaluation.branch.replayed(ctx.slots) as parameters:
            gradients = Gradients(evaluation, x, args=(), leaves=(), parameters=parameters, autocast=ctx.autocast)
            for cell in evaluation.cells:
                part = x[cell.read].detach()
                _, found = gradients.cell(part.requires_grad_() if dx is not None else part, cell, dy)
                if dx is not None and found is not None:
                    dx[cell.read] += found
            return None, None, None, dx, *gradients.sums()
