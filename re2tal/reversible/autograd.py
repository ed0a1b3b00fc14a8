"""Steps in autograd's graph: whose gradients are found by taking them back, and how they reach the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from re2tal.reversible.branch_call import version_of
from re2tal.reversible.fixed_point import Pair, Stream
from re2tal.reversible.malloc import return_freed_memory
from re2tal.reversible.step import Step
from re2tal.reversible.streams import Streams, Walk

__all__ = ["differentiable_once", "leave", "run_step"]


def run_step(
    streams: Streams, step: Step, u: Tensor | None, v: Tensor, *, args: Sequence[object], closing: bool
) -> Tensor:
    """Run the next step; returns what is read out behind it.

    Args:
        streams: where the step before has left them.
        step: the next.
        args: of the step, with their graphs.
        u: where the first stream comes from in the graph; None: from `v`, too.
        v: where the second comes from.
        closing: no step will follow, so autograd may keep the streams.

    Raises:
        StreamOverflowError: a stream has outgrown its format.
        NonFiniteStreamError: a stream is not finite.
        SidewaysError: a branch has set an attribute to a tensor. After each of these the streams are where they
            were before, unless this was the first step.
    """
    given = [arg for arg in args if isinstance(arg, Tensor)]
    inputs = [tensor for tensor in (u, v, *given, *step.parameters) if tensor is not None]
    graph = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    keep = graph and closing and not streams.steps
    result: Tensor = _RunStep.apply(streams, step, graph, keep, u, v, *given, *step.parameters)
    return result


def leave(streams: Streams, y: Tensor) -> Pair:
    """The pair as plain autograd has it; no step will follow.

    Args:
        streams: at their end.
        y: what was read out here.
    """
    assert streams.pair is not None
    u, v = streams.pair
    if torch.is_grad_enabled() and y.requires_grad:
        first, second = _Leave.apply(streams, y)
        return Pair(Stream(first, u.clone()), Stream(second, v.clone()), streams.format)
    if y.requires_grad:  # the steps before it will be taken back
        u, v = u.clone(), v.clone()
    else:
        streams.pair = None
    return Pair(Stream(streams.format.read(u), u), Stream(streams.format.read(v), v), streams.format)


class _RunStep(torch.autograd.Function):
    """A step. Its gradients are found by taking it back."""

    @staticmethod
    def forward(
        ctx: Any, streams: Streams, step: Step, graph: bool, keep: bool, u: Tensor | None, v: Tensor, *tensors: Tensor
    ) -> Tensor:
        """`tensors`: those among the arguments, then the parameters."""
        ctx.set_materialize_grads(False)
        streams.advance(step, graph=graph, x_needs=any(ctx.needs_input_grad[4:6]))
        assert streams.pair is not None
        ctx.streams, ctx.step, ctx.index, ctx.kept = streams, step, len(streams.steps) - 1, keep
        ctx.has_u = u is not None
        y = streams.format.read_out(*streams.pair, streams.coefficients).to(streams.dtype)
        if keep:
            # Autograd keeps what it can keep: then hooks on saved tensors see it, and move it elsewhere.
            ctx.save_for_backward(*streams.pair, *(call.dropped for call in step.calls), *step.tensors)
            streams.pair, step.tensors = None, []
            for call in step.calls:
                call.dropped = None
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        if not torch.is_grad_enabled():
            return _backward(ctx, dy)
        with torch.no_grad():
            found = _backward(ctx, dy)
        return differentiable_once(found)


def differentiable_once(found: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Gradients whose own gradients are an error that says what to do."""
    refuse = torch._C._functions.DelayedError(
        b"a reversible chain cannot be differentiated twice, since its backward pass leaves no graph; "
        b"set_mode(model, 'store') trains it by plain autograd, or unrewire it",
        len(found),
    )
    result: tuple[Tensor | None, ...] = refuse(
        *(grad if grad is None else grad.detach().requires_grad_() for grad in found)  # type: ignore[arg-type]
    )
    return result


def _backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
    streams: Streams = ctx.streams
    step: Step = ctx.step
    step.check_unmodified()
    u_needs, v_needs, *needs = ctx.needs_input_grad[4:]
    walk = _unpacked(ctx, step) if ctx.kept else streams.walk(ctx.index + 1)
    if not streams.storage.activations:
        return_freed_memory(walk.v)
    dv, dw = _received(walk, dy, streams, like=walk.v)
    count, x_needs = len(step.tensors), u_needs or v_needs
    with streams.replaying(step):
        du, dv, of_args, found = streams.undo(step, walk, dv, dw, leaves=step.leaves(needs[:count]), x_needs=x_needs)
    if streams.pair is None:  # nobody will walk here again
        for call in step.calls:
            call.dropped = None
    if ctx.kept:
        step.tensors = []
    of_streams = _handed_on(ctx, walk, du, dv, x_needs=x_needs)
    return None, None, None, None, *of_streams, *of_args, *(found.get(id(p)) for p in step.parameters)


def _unpacked(ctx: Any, step: Step) -> Walk:
    """The walk of a single step, which autograd has kept the streams of."""
    v, w, *others = ctx.saved_tensors
    for call, dropped in zip(step.calls, others, strict=False):
        call.dropped = dropped
    step.tensors = others[len(step.calls) :]
    if torch._C._autograd._get_current_graph_task_keep_graph():
        v, w = v.clone(), w.clone()
    return Walk(torch._C._current_graph_task_id(), 1, v, w)


def _received(walk: Walk, dy: Tensor | None, streams: Streams, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the pair behind a step, in memory that nobody else sees.

    They are what the step behind has left, and what else has come along `y`: of a loss of `y` itself, or since a hook
    has changed its gradient. `y` is made of both streams, so both have their share of that.
    """
    shares, values = streams.coefficients.shares, streams.format.values
    dv, dw, sent = walk.dv, walk.dw, walk.sent
    walk.dv = walk.dw = walk.sent = None
    left = streams.left
    if dv is None and left is not None and left.is_waiting():
        assert left.du is not None and left.dv is not None
        dv, dw = left.du.to(values, copy=True), left.dv.to(values, copy=True)
        sent = dv + dw
        left.du = left.dv = None
    if dv is None or dw is None or sent is None:
        if dy is None:
            dy = torch.zeros((), dtype=values, device=like.device).expand(like.shape)
        first, second = (dy.to(values, copy=True).mul_(share) for share in shares)
        return first, second
    if dy is None:
        return dv.zero_(), dw.zero_()
    if not _share_memory(dy, sent) or version_of(dy) != walk.version:
        rest = dy.to(values) - (dv + dw).to(dy.dtype).to(values)
        dv.add_(rest, alpha=shares[0])
        dw.add_(rest, alpha=shares[1])
    return dv, dw


def _share_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape begin at one place; of tensors without values, which have no address, too."""
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata and a.storage_offset() == b.storage_offset())


def _handed_on(ctx: Any, walk: Walk, du: Tensor, dv: Tensor, *, x_needs: bool) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of the inputs of a step, for those of the pair before it."""
    streams: Streams = ctx.streams
    if walk.done == 0:
        streams.finish(walk)
    if not x_needs:
        return None, None
    if ctx.index > 0:
        walk.dv, walk.dw, walk.sent = du, dv, (du + dv).to(streams.dtype)
        walk.version = version_of(walk.sent)
        return None, walk.sent
    if ctx.has_u:
        return du, dv
    return None, du.add_(dv).to(streams.dtype)


class _Leave(torch.autograd.Function):
    """From what was read out behind a step to the values of both streams there."""

    @staticmethod
    def forward(ctx: Any, streams: Streams, y: Tensor) -> tuple[Tensor, Tensor]:
        assert streams.pair is not None
        ctx.set_materialize_grads(False)
        ctx.streams, ctx.done = streams, len(streams.steps)
        u, v = streams.pair
        return streams.format.read(u), streams.format.read(v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, du: Tensor | None, dv: Tensor | None) -> tuple[None, Tensor]:
        streams: Streams = ctx.streams
        walk = streams.walk(ctx.done)
        zeros = torch.zeros_like(walk.v, dtype=streams.format.values)
        walk.dv, walk.dw = (zeros.clone() if g is None else g.to(zeros.dtype, copy=True) for g in (du, dv))
        walk.sent = (walk.dv + walk.dw).to(streams.dtype)
        walk.version = version_of(walk.sent)
        return None, walk.sent
