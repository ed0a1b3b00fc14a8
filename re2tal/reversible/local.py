"""Modules that are not reversible: computed again, in cells where they are local, with only their input stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from re2tal.reversible.branch import Branch, Slot, Unmodified, trainable
from re2tal.reversible.cells import CellSize, Mode, most_bytes
from re2tal.reversible.evaluation import Evaluation, Gradients, autocast_contexts, entered
from re2tal.reversible.heap import return_freed_memory
from re2tal.reversible.rng import GeneratorState, preserved

__all__ = ["LocalModule", "run_locally"]


class LocalModule(nn.Module):
    """Stands in the place of a module that is computed in cells: same children, names and state dict."""

    def __init__(self, original: nn.Module, branch: Branch) -> None:
        super().__init__()
        for name, child in original.named_children():
            self.add_module(name, child)
        self.training = original.training
        self.cell_size: CellSize = "auto"
        self.mode: Mode = "reversible"
        self._branch = branch  # holds the original, which is not a child: its children are ours

    def forward(self, x: Tensor) -> Tensor:
        return run_locally(self._branch, x, mode=self.mode, size=self.cell_size)


def run_locally(branch: Branch, x: Tensor, *, mode: Mode, size: CellSize) -> Tensor:
    """`branch(x)`, whose backward pass runs it again, cell by cell or, where it must be, as a whole.

    In mode "store" by the same steps, under ordinary autograd.
    """
    evaluation = Evaluation.plan(branch, tuple(x.shape), args=False, limit=most_bytes(size, x.device))
    if mode == "store":
        return evaluation.with_graph(x, ())
    slots = branch.parameters()
    parameters = trainable(slots)
    state = GeneratorState.snapshot(x.device)
    call = _Call(evaluation, slots, autocast_contexts(x.device), Unmodified(parameters), state)
    result: Tensor = _Locally.apply(call, x, *parameters)
    return result


@dataclass(frozen=True)
class _Call:
    """What a backward pass has to know besides the input."""

    evaluation: Evaluation
    slots: list[Slot]
    autocast: list[torch.autocast]
    unmodified: Unmodified
    state: GeneratorState
    """Of the generators, before it ran."""


class _Locally(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, x: Tensor, *_: Tensor) -> Tensor:
        ctx.call = call
        ctx.save_for_backward(x)
        evaluation = call.evaluation
        out: Tensor | None = None
        with entered(call.autocast):
            prepared = evaluation.prepare(x)
            for cell in evaluation.cells:
                y = evaluation.compute(x[cell.read], prepared, cell, ())
                if not evaluation.in_cells:
                    return y
                if out is None:
                    out = y.new_empty(evaluation.result_shape(tuple(x.shape)))
                out[cell.write] = y
        assert out is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        call.unmodified.check()
        (x,) = ctx.saved_tensors
        return_freed_memory(x.device)
        dx = torch.zeros_like(x) if ctx.needs_input_grad[1] else None
        with preserved(x.device), call.evaluation.branch.replayed(call.slots) as parameters:
            call.state.restore()
            gradients = Gradients(call.evaluation, x, args=(), leaves=(), parameters=parameters, autocast=call.autocast)
            for cell in call.evaluation.cells:
                part = x[cell.read].detach()
                _, found = gradients.cell(part.requires_grad_() if dx is not None else part, cell, dy)
                if dx is not None and found is not None:
                    dx[cell.read] += found
            return None, dx, *gradients.sums()
