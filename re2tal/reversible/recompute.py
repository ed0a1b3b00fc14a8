"""The autograd Function of a reversible chain: save the last pair, walk back, return every gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from re2tal.reversible.branch import Branch, Slot, trainable
from re2tal.reversible.rng import GeneratorState, preserved

__all__ = ["run_reversibly"]

_TENSOR = object()
"""Stands in a call's arguments where a tensor goes; the tensors themselves are saved by autograd."""


def run_reversibly(
    branches: Sequence[Branch], x: Tensor, args: tuple[object, ...], *, report: Callable[[Tensor], None]
) -> Tensor:
    """The read-out of a chain started with `x`; its backward pass recomputes what lies between.

    Args:
        branches: of the chain, in order.
        x: the start of both streams.
        args: given to every branch; tensors among them may need gradients.
        report: called in every backward pass with the reconstruction error, a scalar tensor.
    """
    # Everything that may need a gradient enters the Function as an input and leaves its backward as a result, so DDP,
    # hooks, accumulation and torch.autograd.grad see what they see with any module. Shared parameters enter once:
    # the sum returned for each of their occurrences would count double.
    slots = [branch.parameters() for branch in branches]
    parameters = trainable(slot for group in slots for slot in group)
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    call = _Call(
        branches=branches,
        slots=slots,
        parameters=parameters,
        args=tuple(_TENSOR if isinstance(arg, Tensor) else arg for arg in args),
        autocast=_autocast_contexts(x.device),
        report=report,
    )
    if torch.is_grad_enabled():
        call.versions = [parameter._version for parameter in parameters]
    result: Tensor = _Reversible.apply(call, x, *tensors, *parameters)
    return result


def _autocast_contexts(device: torch.device) -> list[torch.autocast]:
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
    report: Callable[[Tensor], None]
    versions: list[int] = field(default_factory=list)
    """Of `parameters` in the forward pass: a change before the backward pass would make its gradients wrong."""
    states: list[GeneratorState] = field(default_factory=list)
    """Of the generators, before each branch ran."""

    def run(self, branch: Branch, v: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """`f(v)` under the autocast state of the forward pass."""
        replacement = iter(tensors)
        with ExitStack() as stack:
            for context in self.autocast:
                stack.enter_context(context)
            return branch(v, *(next(replacement) if arg is _TENSOR else arg for arg in self.args))

    def check_versions(self) -> None:
        if any(p._version != version for p, version in zip(self.parameters, self.versions, strict=True)):
            raise RuntimeError(
                "a parameter of a reversible chain was modified in place between its forward and its backward pass, "
                "which recomputes with it; step the optimizer after the backward pass"
            )


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, x: Tensor, *tensors: Tensor) -> Tensor:
        """`tensors`: those among the call's arguments, then its parameters."""
        arguments = tensors[: len(tensors) - len(call.parameters)]
        u = v = x
        u_ours = v_ours = False  # whether a stream may be overwritten; the input may not
        state: GeneratorState | None = None
        for branch in call.branches:
            state = GeneratorState.snapshot(x.device, state)
            call.states.append(state)
            u, v = v, _add(u, call.run(branch, v, arguments), in_place=u_ours)
            u_ours, v_ours = v_ours, True
        ctx.call = call
        ctx.ours = u_ours, v_ours
        ctx.save_for_backward(u, v, *arguments)
        return (u + v) / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        call.check_versions()
        x_needs, *needs = ctx.needs_input_grad[1:]
        v, w, *arguments = ctx.saved_tensors
        # A graph that is kept will be walked again, from the same saved pair.
        kept = torch._C._autograd._get_current_graph_task_keep_graph()
        v_ours, w_ours = (ours and not kept for ours in ctx.ours)
        dv = dw = dy / 2
        dv_ours = dw_ours = False  # they are one tensor
        place = {id(parameter): len(arguments) + index for index, parameter in enumerate(call.parameters)}
        sums: list[Tensor | None] = [None] * len(needs)
        learning = [index for index, slots in enumerate(call.slots) if trainable(slots)]
        first = 0 if x_needs or any(needs[: len(arguments)]) else learning[0]  # nothing before it needs a gradient
        with preserved(dy.device):
            for index in reversed(range(len(call.branches))):
                # (v, w) is the pair after the branch, w = u + f(v): find u, and the gradients of u and v.
                leaves = [v.detach().requires_grad_(index > first or x_needs)]
                leaves += [arg.detach().requires_grad_(need) for arg, need in zip(arguments, needs, strict=False)]
                call.states[index].restore()
                f, (grad_v, *grads) = _differentiate(call, index, leaves, dw)
                if grad_v is not None:
                    dv, dv_ours = _add(dv, grad_v, in_place=dv_ours), True
                places = [*range(len(arguments)), *(place[id(p)] for p in trainable(call.slots[index]))]
                for target, grad in zip(places, grads, strict=True):
                    sums[target] = _accumulate(sums[target], grad, volatile=dw)
                u = _add(w, f, in_place=w_ours, sign=-1)
                v, v_ours, w, w_ours = u, True, v, v_ours
                dv, dv_ours, dw, dw_ours = dw, dw_ours, dv, dv_ours
                del u, f, grad_v, grads, leaves
        call.report(_relative_difference(v, w))
        return None, dv + dw if x_needs else None, *sums


def _differentiate(call: _Call, index: int, leaves: list[Tensor], dw: Tensor) -> tuple[Tensor, list[Tensor | None]]:
    """Branch `index` at `leaves` (its input, then tensor arguments), and the vector-Jacobian products with `dw`.

    Returns:
        `f` without its graph, and the gradients of the leaves and of the branch's trainable parameters, in order;
        None where nothing is needed.
    """
    branch = call.branches[index]
    with branch.replayed(call.slots[index]) as parameters, torch.enable_grad():
        f = call.run(branch, leaves[0], leaves[1:])
        inputs = [*leaves, *parameters]
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        found: dict[int, Tensor | None] = {}
        if f.requires_grad and wanted:
            # Outside autocast, as backward passes run.
            grads = torch.autograd.grad(f, wanted, dw.to(f.dtype), allow_unused=True)
            found = {id(tensor): grad for tensor, grad in zip(wanted, grads, strict=True)}
    return f.detach(), [found.get(id(tensor)) for tensor in inputs]


def _add(a: Tensor, b: Tensor, *, in_place: bool, sign: int = 1) -> Tensor:
    """`a + sign * b`, in `a`'s memory if that is ours and holds the result's type."""
    if in_place and torch.result_type(a, b) == a.dtype:
        return a.add_(b, alpha=sign)
    return torch.add(a, b, alpha=sign)


def _accumulate(total: Tensor | None, grad: Tensor | None, *, volatile: Tensor) -> Tensor | None:
    """`total + grad`, either of them absent; never in the memory of `volatile`, which is overwritten later.

    The gradient of a term added as it is (a position code, say) is the incoming gradient itself.
    """
    if grad is None:
        return total
    if total is not None:
        return total + grad
    return grad.clone() if grad.untyped_storage().data_ptr() == volatile.untyped_storage().data_ptr() else grad


def _relative_difference(u: Tensor, v: Tensor) -> Tensor:
    """`max |u - v| / max |v|` as a scalar tensor, without waiting for the device. `u` is overwritten."""
    if u.numel() == 0:
        return u.new_zeros(())
    scale = torch.linalg.vector_norm(v, torch.inf).clamp(min=torch.finfo(v.dtype).tiny)
    difference: Tensor = torch.linalg.vector_norm(u.sub_(v), torch.inf)
    return difference.div(scale)
