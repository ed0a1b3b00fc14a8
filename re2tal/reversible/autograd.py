"""Steps in autograd's graph: whose gradients are found by taking them back, and how they reach the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from re2tal.reversible.branch_call import version_of
from re2tal.reversible.fixed_point import Pair, Stream
from re2tal.reversible.host_memory import kept_on_host
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
    # A node for every block hands on its parameters' gradients as soon as that block is taken back.
    parts = step.by_block() if graph else [step]
    keep = graph and closing and not streams.steps
    first = len(streams.steps)
    x_needs = any(tensor is not None and tensor.requires_grad for tensor in (u, v))
    with torch.no_grad():
        streams.advance(step, parts=parts, graph=graph, x_needs=x_needs)
    for place, part in enumerate(parts):
        node = _Node(streams, part, first + place, keep, inside=place > 0, ends=place == len(parts) - 1)
        with kept_on_host(keep and streams.chain.on_host):
            v = _RunStep.apply(node, u if place == 0 else None, v, *given, *part.parameters)
    return v


@dataclass(frozen=True)
class _Node:
    """A part of a step."""

    streams: Streams
    part: Step
    index: int
    """Its place among the steps."""
    kept: bool
    """Autograd keeps the streams."""
    inside: bool
    """A part of the same step is before it: what is between them is a scalar that stands for nothing."""
    ends: bool
    """None is behind it."""


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
    def forward(ctx: Any, node: _Node, u: Tensor | None, v: Tensor, *tensors: Tensor) -> Tensor:
        """`tensors`: those among the arguments, then the parameters."""
        ctx.set_materialize_grads(False)
        ctx.node, ctx.has_u = node, u is not None
        streams, part = node.streams, node.part
        assert streams.pair is not None
        first, second = streams.pair
        if node.kept:
            # Autograd keeps what it can keep: then hooks on saved tensors see it, and move it elsewhere.
            at_the_end = (first, second, *part.tensors) if node.ends else ()
            ctx.save_for_backward(*(call.dropped for call in part.calls), *at_the_end)
            part.tensors = []
            for call in part.calls:
                call.dropped = None
            if node.ends:
                streams.pair = None
        if not node.ends:
            return v.new_empty(())
        return streams.format.read_out(first, second, streams.coefficients).to(streams.dtype)

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
    node: _Node = ctx.node
    streams, part = node.streams, node.part
    part.check_unmodified()
    u_needs, v_needs, *needs = ctx.needs_input_grad[1:]
    walk = _unpacked(ctx, node) if node.kept else streams.walk(node.index + 1)
    if not streams.storage.activations:
        return_freed_memory(walk.v)
    dv, dw = _received(walk, dy, streams, like=walk.v) if node.ends else _left(walk)
    count, x_needs = len(part.tensors), u_needs or v_needs
    with streams.replaying(part):
        du, dv, of_args, found = streams.undo(part, walk, dv, dw, leaves=part.leaves(needs[:count]), x_needs=x_needs)
    if streams.pair is None:  # nobody will walk here again
        for call in part.calls:
            call.dropped = None
    if node.kept:
        part.tensors = []
    of_streams = _handed_on(ctx, walk, du, dv, x_needs=x_needs)
    return None, *of_streams, *of_args, *(found.get(id(p)) for p in part.parameters)


def _unpacked(ctx: Any, node: _Node) -> Walk:
    """The walk of streams that autograd has kept."""
    saved = list(ctx.saved_tensors)
    for call in node.part.calls:
        call.dropped = saved.pop(0)
    if not node.ends:
        return node.streams.walk(node.index + 1)
    v, w, *tensors = saved
    for part in node.streams.steps:
        part.tensors = tensors
    return node.streams.begin(v, w)


def _left(walk: Walk) -> tuple[Tensor, Tensor]:
    """The gradients of the pair between two parts of a step, which nobody else sees."""
    dv, dw = walk.dv, walk.dw
    walk.dv = walk.dw = None
    assert dv is not None and dw is not None
    return dv, dw


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
        first, second = (torch.empty_like(like, dtype=values).copy_(dy).mul_(share) for share in shares)
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
    node: _Node = ctx.node
    streams = node.streams
    if walk.done == 0:
        streams.finish(walk)
    if not x_needs:
        streams.stop()
        return None, None
    if node.index > 0:
        walk.dv, walk.dw = du, dv
        if node.inside:
            return None, None
        walk.sent = (du + dv).to(streams.dtype)
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
