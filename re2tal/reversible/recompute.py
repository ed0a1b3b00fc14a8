"""The autograd Function of a reversible chain: save the last pair, walk back, return every gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from re2tal.reversible.branch import Branch, Slot, Unmodified, trainable
from re2tal.reversible.coefficients import Coefficients
from re2tal.reversible.evaluation import Evaluation, Gradients, autocast_contexts, entered
from re2tal.reversible.grid import Grid
from re2tal.reversible.heap import return_freed_memory
from re2tal.reversible.lanes import Lanes
from re2tal.reversible.rng import GeneratorState, preserved

__all__ = ["run_reversibly"]

_TENSOR = object()
"""Stands in a call's arguments where a tensor goes; the tensors themselves are saved by autograd."""


def run_reversibly(
    branches: Sequence[Branch],
    x: Tensor,
    args: tuple[object, ...],
    *,
    headroom: int,
    limit: int | None,
    lanes: int,
    coefficients: Coefficients,
    report: Callable[[Tensor], None],
) -> Tensor:
    """The read-out of a chain started with `x`; its backward pass recomputes what lies between.

    Args:
        branches: of the chain, in order.
        x: the start of both streams.
        args: given to every branch; tensors among them may need gradients.
        headroom: the streams may grow to `2 ** headroom` times the largest value of `x`.
        limit: bytes that a cell of a branch may take in training, about; None: whole branches.
        lanes: cells that an accelerator works on at a time in a backward pass.
        coefficients: of the streams.
        report: called in every backward pass with the reconstruction error, a scalar tensor.
    """
    # Everything that may need a gradient enters the Function as an input and leaves its backward as a result, so DDP,
    # hooks, accumulation and torch.autograd.grad see what they see with any module. Shared parameters enter once:
    # the sum returned for each of their occurrences would count double.
    slots = [branch.parameters() for branch in branches]
    for branch, group in zip(branches, slots, strict=True):
        branch.check_gathered(group)
    parameters = trainable(slot for group in slots for slot in group)
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    call = _Call(
        branches=branches,
        slots=slots,
        parameters=parameters,
        args=tuple(_TENSOR if isinstance(arg, Tensor) else arg for arg in args),
        autocast=autocast_contexts(x.device),
        lanes=lanes,
        coefficients=coefficients,
        report=report,
        evaluations=[Evaluation.plan(branch, tuple(x.shape), args=bool(args), limit=limit) for branch in branches],
        grid=Grid.around(x, headroom=headroom),
        unmodified=Unmodified(parameters),
        graph=torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tensors, *parameters)),
    )
    result: Tensor = _Reversible.apply(call, x, *tensors, *parameters)
    return result


@dataclass
class _Call:
    """One forward pass of a chain: what its backward pass has to know besides saved tensors."""

    branches: Sequence[Branch]
    slots: list[list[Slot]]
    """For each branch, its parameters."""
    parameters: list[Tensor]
    """Those of all branches that need gradients, each once."""
    args: tuple[object, ...]
    """For every branch, with `_TENSOR` in the places of tensors."""
    autocast: list[torch.autocast]
    lanes: int
    coefficients: Coefficients
    report: Callable[[Tensor], None]
    evaluations: list[Evaluation]
    grid: Grid
    unmodified: Unmodified
    graph: bool
    """Whether there may be a backward pass."""
    states: list[GeneratorState] = field(default_factory=list)
    """Of the generators, before each branch ran."""

    def filled(self, tensors: Sequence[Tensor]) -> list[object]:
        """The arguments of a branch, with `tensors` in their places."""
        replacement = iter(tensors)
        return [next(replacement) if arg is _TENSOR else arg for arg in self.args]


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, x: Tensor, *tensors: Tensor) -> Tensor:
        """`tensors`: those among the call's arguments, then its parameters."""
        return_freed_memory(x.device)
        arguments = tensors[: len(tensors) - len(call.parameters)]
        grid = call.grid
        like = torch.empty((), dtype=grid.values, device=x.device).expand(x.shape)
        start = grid.steps(x)
        largest = _magnitude(start)
        u = v = grid.stream(start)
        del start
        coefficients = call.coefficients
        dropped: list[Tensor | None] = []
        state: GeneratorState | None = None
        for evaluation in call.evaluations:
            state = GeneratorState.snapshot(x.device, state)
            call.states.append(state)
            w = u.clone() if u is v else u  # at the start both streams are one tensor
            dropped.append(coefficients.mix(w, v, keep=call.graph))
            if coefficients.alpha:
                largest = torch.maximum(largest, _magnitude(w))
            with entered(call.autocast):
                prepared = evaluation.prepare(like)
            for cell in evaluation.cells:
                with entered(call.autocast):
                    f = evaluation.compute(grid.read(v[cell.read]), prepared, cell, call.filled(arguments))
                steps = grid.steps(f)
                target = w[cell.write]
                target += grid.stream(steps)
                largest = torch.maximum(largest, torch.maximum(_magnitude(steps), _magnitude(target)))
            u, v = v, w
        grid.check(largest)
        ctx.call = call
        ctx.save_for_backward(u, v, *dropped, *arguments)
        # Whole numbers hide what is not a number; `largest` does not.
        return grid.read_out(u, v, coefficients).add_(largest * 0).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        call.unmodified.check()
        return_freed_memory(dy.device)
        x_needs, *needs = ctx.needs_input_grad[1:]
        v, w, *others = ctx.saved_tensors
        dropped, arguments = others[: len(call.branches)], others[len(call.branches) :]
        # A graph that is kept will be walked again, from the same saved pair.
        if torch._C._autograd._get_current_graph_task_keep_graph():
            v, w = v.clone(), w.clone()
        dv, dw = (dy.to(call.grid.values, copy=True).mul_(share) for share in call.coefficients.shares)
        place = {id(parameter): len(arguments) + index for index, parameter in enumerate(call.parameters)}
        sums: list[Tensor | None] = [None] * len(needs)
        learning = [index for index, slots in enumerate(call.slots) if trainable(slots)]
        first = 0 if x_needs or any(needs[: len(arguments)]) else learning[0]  # nothing before it needs a gradient
        with preserved(dy.device):
            for index in reversed(range(len(call.branches))):
                # (v, w) is the pair after the branch: find the one before it, and its gradients.
                return_freed_memory(dy.device)
                call.states[index].restore()
                leaves = [arg.detach().requires_grad_(need) for arg, need in zip(arguments, needs, strict=False)]
                grads = _undo(call, index, v, w, leaves=leaves, dv=dv, dw=dw, needs_dv=index > first or x_needs)
                places = [*range(len(arguments)), *(place[id(p)] for p in trainable(call.slots[index]))]
                for target, grad in zip(places, grads, strict=True):
                    if grad is not None:
                        sums[target] = grad if sums[target] is None else sums[target] + grad
                call.coefficients.unmix(w, v, dropped[index])
                call.coefficients.add_gradients(dv, dw)
                v, w = w, v
                dv, dw = dw, dv
        call.report(_difference(v, w))
        return None, dv.add_(dw).to(dy.dtype) if x_needs else None, *sums


def _undo(
    call: _Call,
    index: int,
    v: Tensor,
    w: Tensor,
    *,
    leaves: list[Tensor],
    dv: Tensor,
    dw: Tensor,
    needs_dv: bool,
) -> list[Tensor | None]:
    """Take branch `index` back: `w` becomes `w - f(v)`, and `dv` gains the gradient that flows through `f`.

    Returns:
        The gradients of `leaves` (tensor arguments) and of the branch's trainable parameters, in order.
    """
    evaluation, grid = call.evaluations[index], call.grid
    like = torch.empty((), dtype=grid.values, device=v.device).expand(v.shape)
    count = call.lanes if evaluation.in_cells else 1
    with evaluation.branch.replayed(call.slots[index]) as parameters:
        gradients = Gradients(
            evaluation,
            like,
            args=call.filled(leaves),
            leaves=leaves,
            parameters=parameters,
            autocast=call.autocast,
            lanes=count,
        )
        lanes = Lanes(v.device, count)
        for number, cell in enumerate(evaluation.cells):
            with lanes.turn(number) as lane:
                f, dx = gradients.cell(grid.read(v[cell.read]).requires_grad_(needs_dv), cell, dw, lane=lane)
                steps = grid.stream(grid.steps(f))
            lanes.join(lane, steps, dx)
            if dx is not None:
                dv[cell.read] += dx
            w[cell.write] -= steps
        return gradients.sums()


def _magnitude(steps: Tensor) -> Tensor:
    """The largest absolute value of a tensor of whole numbers, integers or not, as a floating-point scalar."""
    kind = steps.dtype if steps.is_floating_point() else torch.float64
    if steps.numel() == 0:
        return torch.zeros((), dtype=kind, device=steps.device)
    low, high = torch.aminmax(steps)
    return torch.maximum(-low.to(kind), high.to(kind))


def _difference(v: Tensor, w: Tensor) -> Tensor:
    """The largest difference of two streams relative to the largest value, part by part: no other stream fits in."""
    zero = torch.zeros((), dtype=torch.float64, device=v.device)
    difference = largest = zero
    for a, b in zip(torch.split(v.flatten(), 2**20), torch.split(w.flatten(), 2**20), strict=True):
        difference = torch.maximum(difference, (a - b).abs_().amax())
        largest = torch.maximum(largest, a.abs().amax())
    return difference / largest.clamp(min=1)
