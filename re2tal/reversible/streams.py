"""The one mechanism: two streams that every branch changes in place, taken back branch by branch in the backward pass.

    start     u = v = x
    forward   (u, v) -> (v, w),  w = beta * u + alpha * v + f(v)
    inverse   (v, w) -> (u, v),  u = (w - alpha * v - f(v)) / beta
    read-out  y = (beta * u + v) / (1 + beta)

and for the gradients of a loss, with those of w and v behind the branch given,

    du = beta * dw,   dv = dv + alpha * dw + (df/dv)^T dw

A `Step` runs the branches of one block, or of all blocks of a chain. The streams are in memory once; a step's node in
the graph holds none of them. What leaves a step is `y`, which carries the streams along as far as the forward pass is
concerned; in the backward pass `du + dv`, the gradient of what changes both streams alike, goes back along `y`, where
anybody may see or change it, and `du` and `dv` wait in the `Walk` for the step before.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from re2tal.reversible.branch_call import (
    BranchCall,
    Gradients,
    autocast_contexts,
    entered,
    trainable,
    version_of,
)
from re2tal.reversible.dr2net import Coefficients
from re2tal.reversible.fixed_point import FixedPoint, Link, Pair, Stream, magnitude
from re2tal.reversible.guards import Guard, saving_unseen
from re2tal.reversible.malloc import return_freed_memory
from re2tal.reversible.rng import GeneratorState, preserved

__all__ = ["SidewaysError", "Step", "Streams", "count_held_bytes", "differentiable_once", "restored"]


class Settings(Protocol):
    """What the streams want to know of their chain."""

    coefficients: Coefficients
    reconstruction_error: Tensor | None


class SidewaysError(Exception):
    """A branch has handed a tensor to somebody else than its caller, by an attribute."""

    def __init__(self, name: str, attribute: str) -> None:
        super().__init__(f"its forward pass writes a tensor, or to a list or object, in {name or 'it'}.{attribute}")


_PLAIN = (type(None), bool, int, float, complex, str)
"""Kinds of attributes that hold no graph."""
_TENSOR = object()
"""Stands in a step's arguments where a tensor goes."""


class Step:
    """The branches that run one after the other in one call: of a block, or of all blocks of a chain.

    Args:
        calls: of the branches.
        args: for every branch; tensors among them may need gradients.
        dtype: in which branches are given their input.
        device: of all.
    """

    def __init__(
        self, calls: Sequence[BranchCall], args: Sequence[object], *, dtype: torch.dtype, device: torch.device
    ) -> None:
        given = [arg for arg in args if isinstance(arg, Tensor)]
        self.calls, self.dtype, self.device = list(calls), dtype, device
        self.autocast = autocast_contexts(device)
        self.parameters = trainable(slot for call in calls for slot in call.parameters)
        """Those that need gradients, each once."""
        self.tensors, self.learning = [arg.detach() for arg in given], [arg.requires_grad for arg in given]
        """The tensors among the arguments, without their graphs, and which of these need gradients."""
        self._args = tuple(_TENSOR if isinstance(arg, Tensor) else arg for arg in args)
        self._versions = [version_of(arg) for arg in given]
        attributes = [entry for guard in self.guards for entry in guard.tensors]
        constants = [("a constant of a branch", t) for call in calls for t in call.branch.constants]
        self._read = [(name, tensor, version_of(tensor)) for name, tensor in (*attributes, *constants)]
        """What the branches read beside parameters and buffers."""

    @property
    def guards(self) -> list[Guard]:
        """Of the blocks, each once."""
        return list(dict.fromkeys(call.guard for call in self.calls))

    def filled(self, tensors: Sequence[Tensor]) -> list[object]:
        """The arguments, with `tensors` in the places of tensors."""
        replacement = iter(tensors)
        return [next(replacement) if arg is _TENSOR else arg for arg in self._args]

    def leaves(self, learning: Sequence[bool]) -> list[Tensor]:
        """The tensors among the arguments, as leaves."""
        return [arg.detach().requires_grad_(need) for arg, need in zip(self.tensors, learning, strict=True)]

    def check_effects(self) -> None:
        """After the forward pass: see what it did beside computing its result.

        Raises:
            SidewaysError: it has set an attribute to something that may have a graph.
            RuntimeError: a large buffer has moved that was not copied in time.
        """
        for call in self.calls:
            call.check_moved()
        for name, tensor, version in self._read:
            if version_of(tensor) != version:
                raise SidewaysError(name, "what it holds")
        for guard in self.guards:
            if not guard.holds():
                for name, attribute, _, now in guard.changed_attributes():
                    if (name, attribute) not in guard.ignored and not isinstance(now, _PLAIN):
                        raise SidewaysError(name, attribute)

    def put_back(self) -> None:
        """As if the step had not run."""
        for call in reversed(self.calls):
            if call.state is not None:
                call.put_buffers_back()
                call.state.restore()
        for guard in self.guards:
            guard.put_back()

    def check_unmodified(self) -> None:
        """Raise a RuntimeError if a tensor that the step reads was written to since."""
        for call in self.calls:
            call.check_unmodified()
        for name, tensor, version in self._read:
            if version_of(tensor) != version:
                raise RuntimeError(
                    f"{name} of a reversible block was modified in place between its forward and its backward pass, "
                    "which computes with it again; change it after the backward pass"
                )
        # Those that autograd keeps, it looks after.
        if any(version_of(arg) != version for arg, version in zip(self.tensors, self._versions, strict=False)):
            raise RuntimeError(
                "an argument of a reversible block was modified in place between its forward and its backward pass, "
                "which computes with it again; give the block a copy"
            )


@dataclass
class Walk:
    """A backward pass on its way through the streams: `(v, w)` is the pair where it stands."""

    task: int
    """Tells backward passes apart."""
    done: int
    """Steps that are yet to be taken back."""
    v: Tensor
    w: Tensor
    dv: Tensor | None = None
    dw: Tensor | None = None
    """The gradients of the pair, as far as they are known to the step behind."""
    sent: Tensor | None = None
    """Their sum, which that step has handed on."""
    version: int = 0
    """Of `sent`, then."""


class Streams:
    """A pair `(u, v)` of fixed-point numbers.

    Args:
        u: integers, owned by this.
        v: likewise; another tensor.
        format: of both.
        dtype: of what is read out.
        chain: whose streams they are.
        starts_equal: both are the same, so that it can be seen whether they come back.
    """

    def __init__(
        self,
        u: Tensor,
        v: Tensor,
        *,
        format: FixedPoint,
        dtype: torch.dtype,
        chain: Settings,
        starts_equal: bool = False,
    ) -> None:
        self.starts_equal = starts_equal
        self.format, self.dtype, self.chain = format, dtype, chain
        self.coefficients = chain.coefficients
        self.pair: tuple[Tensor, Tensor] | None = (u, v)
        self.steps: list[Step] = []
        self.is_broken = False
        """A step has failed half-way."""
        self.left: Link | None = None
        """To the pair as it went on without a graph, into a re-entrant checkpoint."""
        self._walk: Walk | None = None
        for watcher in _watchers:
            watcher.append(weakref.ref(self))

    @staticmethod
    def start(x: Tensor, format: FixedPoint, *, chain: Settings) -> Streams:
        """Both begin with `x`."""
        steps = format.steps(x.detach())
        u = format.integers(steps, magnitude(steps))
        return Streams(u, u.clone(), format=format, dtype=x.dtype, chain=chain, starts_equal=True)

    @staticmethod
    def of(pair: Pair, *, dtype: torch.dtype, chain: Settings) -> Streams:
        """That go on from `pair`."""
        u, v, format = pair.u.steps, pair.v.steps, pair.format
        assert u is not None and v is not None and format is not None
        return Streams(u.clone(), v.clone(), format=format, dtype=dtype, chain=chain)

    @property
    def held_bytes(self) -> int:
        """In memory for the backward pass, but for what autograd knows of."""
        kept = [call.dropped for step in self.steps for call in step.calls if call.dropped is not None]
        return sum(tensor.nbytes for tensor in (*(self.pair or ()), *kept))

    def like(self, stream: Tensor) -> Tensor:
        """A tensor like a stream's values, without any."""
        return torch.empty((), dtype=self.format.values, device=stream.device).expand(stream.shape)

    # Forward

    def run(self, step: Step, u: Tensor | None, v: Tensor, *, args: Sequence[object], closing: bool) -> Tensor:
        """Run the next step; returns what is read out behind it.

        Args:
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
        keep = graph and closing and not self.steps
        result: Tensor = _Run.apply(self, step, graph, keep, u, v, *given, *step.parameters)
        return result

    def advance(self, step: Step, *, graph: bool) -> None:
        """Move the pair on; see `run`."""
        self.is_broken = True
        largest = self._add(step)
        self.steps.append(step)
        try:
            self.format.check(largest)
            step.check_effects()
        except (ArithmeticError, SidewaysError, RuntimeError):
            self.steps.pop()
            if self.steps:
                assert self.pair is not None
                with preserved(step.device):
                    self.pair = self._taken_back(step, *self.pair)
                self.is_broken = False
            raise
        if not graph:
            for call in step.calls:
                call.dropped = None
        self.is_broken = False

    def _add(self, step: Step) -> Tensor:
        """Returns the largest magnitude of what was added and of the sums."""
        assert self.pair is not None
        return_freed_memory(step.device)
        u, v = self.pair
        largest = torch.zeros((), dtype=self.format.values, device=u.device)
        state: GeneratorState | None = None
        for call in step.calls:
            state = call.begin(step.device, state)
            w = u
            # Kept without gradients, too, until it is clear that the step need not be taken back.
            call.dropped = self.coefficients.mix(w, v, keep=True)
            if self.coefficients.alpha:
                largest = torch.maximum(largest, magnitude(w))
            for box, f in self._computed(step, call, v):
                steps = self.format.steps(f)
                added = magnitude(steps)
                target = w[box]
                target += self.format.integers(steps, added)
                largest = torch.maximum(largest, torch.maximum(added, magnitude(target)))
            u, v = v, w
        self.pair = (u, v)
        return largest

    def _computed(self, step: Step, call: BranchCall, v: Tensor) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
        """`f(v)` tile by tile, without a graph."""
        with _graph_for(call), entered(step.autocast):
            prepared = tuple(tensor.detach() for tensor in call.prepare(self.like(v).to(step.dtype)))
        for tile in call.tiles:
            with _graph_for(call) as graph, entered(step.autocast):
                x = self.format.read(v[tile.read]).to(step.dtype).requires_grad_(graph)
                args = step.filled(step.leaves(step.learning) if graph else step.tensors)
                f = call.compute(x, prepared, tile, args).detach()
            yield tile.write, f

    def leave(self, y: Tensor) -> Pair:
        """The pair as plain autograd has it; no step will follow.

        Args:
            y: what was read out here.
        """
        assert self.pair is not None
        u, v = self.pair
        if torch.is_grad_enabled() and y.requires_grad:
            first, second = _Leave.apply(self, y)
            return Pair(Stream(first, u.clone()), Stream(second, v.clone()), self.format)
        if y.requires_grad:  # the steps before it will be taken back
            u, v = u.clone(), v.clone()
        else:
            self.pair = None
        return Pair(Stream(self.format.read(u), u), Stream(self.format.read(v), v), self.format)

    # Backward

    def walk(self, done: int) -> Walk:
        """Where the present backward pass stands, with the first `done` steps to be taken back.

        Raises:
            RuntimeError: another backward pass has been here, and the graph was not retained.
        """
        task = torch._C._current_graph_task_id()
        if self._walk is None or self._walk.task != task:
            if self.pair is None:
                raise RuntimeError(
                    "the streams of a reversible chain are used up by the first backward pass through them; "
                    "give it retain_graph=True to go through them again"
                )
            v, w = self.pair
            if torch._C._autograd._get_current_graph_task_keep_graph():
                v, w = v.clone(), w.clone()  # a graph that is kept will be walked again, from the same pair
            else:
                self.pair = None
            self._walk = Walk(task, len(self.steps), v, w)
        walk = self._walk
        while walk.done > done:  # the loss is of what a step in the middle returned
            with self._replaying(self.steps[walk.done - 1]):
                walk.v, walk.w = self._taken_back(self.steps[walk.done - 1], walk.v, walk.w)
            walk.done -= 1
        return walk

    def finish(self, walk: Walk) -> None:
        """The walk has reached the start, where both streams were the same."""
        self._walk = None
        if self.starts_equal:
            error = _difference(walk.v, walk.w)
            known = self.chain.reconstruction_error
            self.chain.reconstruction_error = error if known is None else torch.maximum(known, error)

    @contextmanager
    def _replaying(self, step: Step) -> Iterator[None]:
        """Inside, the blocks are what they were in the forward pass, and random numbers are nobody's."""
        with preserved(step.device), restored(step.guards):
            yield

    def _taken_back(self, step: Step, v: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """The pair before a step, without gradients, for that behind it."""
        for call in reversed(step.calls):
            with call.replayed():
                for box, f in self._computed(step, call, v):
                    steps = self.format.steps(f)
                    w[box] -= self.format.integers(steps, magnitude(steps))
            self.coefficients.unmix(w, v, call.dropped)
            v, w = w, v
        return v, w

    def undo(
        self, step: Step, walk: Walk, dv: Tensor, dw: Tensor, *, leaves: Sequence[Tensor], first: int, x_needs: bool
    ) -> tuple[Tensor, Tensor, list[Tensor | None], dict[int, Tensor]]:
        """Take a step back, with gradients.

        Args:
            step: that `walk` stands behind.
            walk: moved.
            dv: gradient of the first stream; changed.
            dw: of the second; changed.
            leaves: the tensors among the arguments, on which the branches run.
            first: no branch before this one needs a gradient, unless the step's input does.
            x_needs: whether that does.

        Returns:
            The gradients of the streams before the step, of `leaves`, and of parameters by their identities.
        """
        of_args: list[Tensor | None] = [None] * len(leaves)
        of_parameters: dict[int, Tensor] = {}
        for index in reversed(range(len(step.calls))):
            return_freed_memory(step.device)
            call = step.calls[index]
            with call.replayed() as parameters:
                gradients = Gradients(
                    call,
                    self.like(walk.v).to(step.dtype),
                    args=step.filled(leaves),
                    leaves=leaves,
                    parameters=parameters,
                    autocast=step.autocast,
                )
                for tile in call.tiles:
                    x = self.format.read(walk.v[tile.read]).to(step.dtype).requires_grad_(index > first or x_needs)
                    f, dx = gradients.tile(x, tile, dw)
                    if dx is not None:
                        dv[tile.read] += dx
                    steps = self.format.steps(f)
                    walk.w[tile.write] -= self.format.integers(steps, magnitude(steps))
                    del x, f, dx, steps
                sums = gradients.sums()
            of_args = [_sum(a, b) for a, b in zip(of_args, sums[: len(leaves)], strict=True)]
            for parameter, grad in zip(trainable(call.parameters), sums[len(leaves) :], strict=True):
                if grad is not None:
                    known = of_parameters.get(id(parameter))
                    of_parameters[id(parameter)] = grad if known is None else known + grad
            self.coefficients.unmix(walk.w, walk.v, call.dropped)
            self.coefficients.add_gradients(dv, dw)
            walk.v, walk.w = walk.w, walk.v
            dv, dw = dw, dv
        walk.done -= 1
        return dv, dw, of_args, of_parameters


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _difference(v: Tensor, w: Tensor) -> Tensor:
    """The largest difference of two streams relative to the largest value, part by part: no other stream fits in."""
    zero = torch.zeros((), dtype=torch.float64, device=v.device)
    difference = largest = zero
    for a, b in zip(torch.split(v.flatten(), 2**20), torch.split(w.flatten(), 2**20), strict=True):
        if a.numel():
            difference = torch.maximum(difference, (a - b).abs_().amax())
            largest = torch.maximum(largest, a.abs().amax())
    return difference / largest.clamp(min=1)


@contextmanager
def restored(guards: Sequence[Guard]) -> Iterator[None]:
    with ExitStack() as stack:
        for guard in guards:
            if not guard.holds():
                stack.enter_context(guard.restored())
        yield


@contextmanager
def _graph_for(call: BranchCall) -> Iterator[bool]:
    """Yields whether the branch computes with a graph although nobody needs it."""
    if not call.branch.needs_graph:
        with torch.no_grad():
            yield False
        return
    with torch.enable_grad(), saving_unseen():
        yield True


# In the graph


class _Run(torch.autograd.Function):
    """A step. Its gradients are found by taking it back."""

    @staticmethod
    def forward(
        ctx: Any, streams: Streams, step: Step, graph: bool, keep: bool, u: Tensor | None, v: Tensor, *tensors: Tensor
    ) -> Tensor:
        """`tensors`: those among the arguments, then the parameters."""
        ctx.set_materialize_grads(False)
        streams.advance(step, graph=graph)
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
        *(grad if grad is None else grad.detach().requires_grad_() for grad in found)
    )
    return result


def _backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
    streams: Streams = ctx.streams
    step: Step = ctx.step
    step.check_unmodified()
    u_needs, v_needs, *needs = ctx.needs_input_grad[4:]
    walk = _unpacked(ctx, step) if ctx.kept else streams.walk(ctx.index + 1)
    dv, dw = _received(walk, dy, streams, like=walk.v)
    count, x_needs = len(step.tensors), u_needs or v_needs
    learning = [index for index, call in enumerate(step.calls) if trainable(call.parameters)]
    first = 0 if x_needs or any(needs[:count]) else learning[0]  # nothing before it needs a gradient
    with streams._replaying(step):
        du, dv, of_args, found = streams.undo(
            step, walk, dv, dw, leaves=step.leaves(needs[:count]), first=first, x_needs=x_needs
        )
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
    if dy.data_ptr() != sent.data_ptr() or version_of(dy) != walk.version:
        rest = dy.to(values) - (dv + dw).to(dy.dtype).to(values)
        dv.add_(rest, alpha=shares[0])
        dw.add_(rest, alpha=shares[1])
    return dv, dw


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


# For who counts bytes

_watchers: list[list[weakref.ref[Streams]]] = []


@contextmanager
def count_held_bytes() -> Iterator[list[int]]:
    """Count in the yielded list's only entry, on leaving, what streams that were made inside hold in memory."""
    made: list[weakref.ref[Streams]] = []
    total = [0]
    _watchers.append(made)
    try:
        yield total
    finally:
        _watchers.remove(made)
        living = [streams for reference in made if (streams := reference()) is not None]
        total[0] = sum(streams.held_bytes for streams in living)
