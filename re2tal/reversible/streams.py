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
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from re2tal.reversible.branch_call import BranchCall, entered, graph_for, trainable
from re2tal.reversible.checks import require_kept
from re2tal.reversible.compiled import BranchCompiler
from re2tal.reversible.conversion import add_result
from re2tal.reversible.dr2net import Coefficients
from re2tal.reversible.fixed_point import FixedPoint, Link, Pair, difference, magnitude
from re2tal.reversible.gradients import Gradients
from re2tal.reversible.guards import restored
from re2tal.reversible.malloc import return_freed_memory
from re2tal.reversible.rng import GeneratorState, preserved
from re2tal.reversible.step import SidewaysError, Step
from re2tal.reversible.storage import Storage, StoredGradients, stored
from re2tal.reversible.tiles import Part, Tile, add_to, part_of

__all__ = ["Streams", "Walk", "count_held_bytes"]


class ChainSettings(Protocol):
    """What the streams want to know of their chain."""

    coefficients: Coefficients
    compiler: BranchCompiler | None
    on_host: bool
    reconstruction_error: Tensor | None
    storage: Storage


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
        found: magnitudes of both, which are yet to be checked.
    """

    def __init__(
        self,
        u: Tensor,
        v: Tensor,
        *,
        format: FixedPoint,
        dtype: torch.dtype,
        chain: ChainSettings,
        starts_equal: bool = False,
        found: Sequence[Tensor] = (),
    ) -> None:
        self.starts_equal, self._found = starts_equal, found
        self.format, self.dtype, self.chain = format, dtype, chain
        self.coefficients, self.storage = chain.coefficients, chain.storage
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
    def start(x: Tensor, format: FixedPoint, *, chain: ChainSettings) -> Streams:
        """Both begin with `x`."""
        steps = format.steps(x.detach())
        found = magnitude(steps)
        u = format.integers(steps)
        del steps
        return Streams(u, u.clone(), format=format, dtype=x.dtype, chain=chain, starts_equal=True, found=found)

    @staticmethod
    def of(pair: Pair, *, dtype: torch.dtype, chain: ChainSettings) -> Streams:
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

    def advance(self, step: Step, *, parts: Sequence[Step], graph: bool, x_needs: bool) -> None:
        """Move the pair on; see `run_step`.

        Args:
            step: the next.
            parts: of it, which the backward pass will take back one by one.
            graph: there may be a backward pass.
            x_needs: whether what comes before the step needs a gradient.
        """
        self.is_broken = True
        found = self._add(step, x_needs=x_needs if graph else None)
        try:
            require_kept(self.format, found)
            step.check_effects()
        except (ArithmeticError, SidewaysError, RuntimeError):
            if self.steps:
                assert self.pair is not None
                with preserved(*step.devices):
                    self.pair = self._taken_back(step, *self.pair)
                self.is_broken = False
            raise
        self.steps += parts
        if not graph:
            for call in step.calls:
                call.dropped = None
        self.is_broken = False

    def _add(self, step: Step, *, x_needs: bool | None) -> list[Tensor]:
        """Returns the magnitudes of what was added and of the sums; without a backward pass `x_needs` is None."""
        assert self.pair is not None
        u, v = self.pair
        found, self._found = [*self._found], ()
        state: GeneratorState | None = None
        before = self.num_branches(len(self.steps))
        for index, call in enumerate(step.calls):
            state = call.begin(state)
            what = "nothing" if x_needs is None else self.storage.of(before + index)
            w = u
            # Kept without gradients, too, until it is clear that the step need not be taken back.
            call.dropped = self.coefficients.mix(w, v, keep=True)
            if self.coefficients.alpha:
                found += magnitude(w)
            if what == "inputs":
                call.input = v.clone()
            if what == "activations":
                results = self._stored(
                    step, call, v, x_needs=bool(x_needs) or index > step.first(x_needs=bool(x_needs))
                )
            else:
                results = self._computed(step, call, v)
            added: list[Tensor] = []
            with closing(results):
                for part, f in results:
                    added += self._add_result(w, part, f)
                    if added and w.is_cpu:  # small tensors of every tile would keep the heap from using its holes again
                        added = magnitude(torch.stack(added))
                    del f  # before the next tile is computed
            found += [*added, *magnitude(w)]
            u, v = v, w
        self.pair = (u, v)
        return found

    def _computed(self, step: Step, call: BranchCall, v: Tensor) -> Generator[tuple[Part, Tensor]]:
        """`f(v)` tile by tile, without a graph."""
        with graph_for(call), entered(step.autocast):
            found = call.prepare(self.like(v).to(step.dtype))
            prepared = tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in found)
        for tile in call.tiles:
            with graph_for(call) as graph, entered(step.autocast):
                x = self.format.read(part_of(v, tile.read)).to(step.dtype).requires_grad_(graph)
                args = step.filled(step.leaves(step.learning) if graph else step.tensors)
                f = call.compute(x, prepared, tile, args).detach()
            del x
            yield tile.write, f
            del f

    def _stored(self, step: Step, call: BranchCall, v: Tensor, *, x_needs: bool) -> Generator[tuple[Part, Tensor]]:
        """`f(v)` tile by tile, with graphs that stay."""
        leaves = step.leaves(step.learning)
        like = self.like(v).to(step.dtype)
        with stored(call, like, args=step.filled(leaves), leaves=leaves, autocast=step.autocast) as gradients:
            for tile in call.tiles:
                yield tile.write, gradients.computed(self._read(v, tile, step).requires_grad_(x_needs), tile)

    def _read(self, v: Tensor, tile: Tile, step: Step) -> Tensor:
        """What a branch is given."""
        return self.format.read(part_of(v, tile.read)).to(step.dtype)

    def num_branches(self, steps: int) -> int:
        """In the first so many steps."""
        return sum(len(step.calls) for step in self.steps[:steps])

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
            if not torch._C._autograd._get_current_graph_task_keep_graph():
                self.pair = None
            self.begin(v, w)
        walk = self._walk
        assert walk is not None
        while walk.done > done:  # the loss is of what a step in the middle returned
            with self.replaying(self.steps[walk.done - 1]):
                walk.v, walk.w = self._taken_back(self.steps[walk.done - 1], walk.v, walk.w)
            walk.done -= 1
        return walk

    def begin(self, v: Tensor, w: Tensor) -> Walk:
        """A walk from the end, where the pair is `(v, w)`."""
        if torch._C._autograd._get_current_graph_task_keep_graph():
            v, w = v.clone(), w.clone()  # a graph that is kept will be walked again, from the same pair
        self._walk = Walk(torch._C._current_graph_task_id(), len(self.steps), v, w)
        return self._walk

    def stop(self) -> None:
        """Nothing before needs a gradient, so the walk need not reach the start."""
        self._walk = None

    def finish(self, walk: Walk) -> None:
        """The walk has reached the start, where both streams were the same."""
        self._walk = None
        if self.starts_equal and not self.storage.branches:
            error = difference(walk.v, walk.w)
            known = self.chain.reconstruction_error
            self.chain.reconstruction_error = error if known is None else torch.maximum(known, error)

    @contextmanager
    def replaying(self, step: Step) -> Iterator[None]:
        """Inside, the blocks are what they were in the forward pass, and random numbers are nobody's."""
        with preserved(*step.devices), restored(step.guards):
            yield

    def _taken_back(self, step: Step, v: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """The pair before a step, without gradients, for that behind it."""
        for call in reversed(step.calls):
            with call.replayed():
                for part, f in self._computed(step, call, v):
                    self._add_result(w, part, f, sign=-1)
            self.coefficients.unmix(w, v, call.dropped)
            v, w = w, v
        return v, w

    def undo(
        self, step: Step, walk: Walk, dv: Tensor, dw: Tensor, *, leaves: Sequence[Tensor], x_needs: bool
    ) -> tuple[Tensor, Tensor, list[Tensor | None], dict[int, Tensor]]:
        """Take a step back, with gradients.

        Args:
            step: that `walk` stands behind.
            walk: moved.
            dv: gradient of the first stream; changed.
            dw: of the second; changed.
            leaves: the tensors among the arguments, on which the branches run.
            x_needs: whether the step's input needs a gradient.

        Returns:
            The gradients of the streams before the step, of `leaves`, and of parameters by their identities.
        """
        of_args: list[Tensor | None] = [None] * len(leaves)
        of_parameters: dict[int, Tensor] = {}
        first = step.first(x_needs=x_needs)
        retain = torch._C._autograd._get_current_graph_task_keep_graph()
        before = self.num_branches(walk.done - 1)
        for index in reversed(range(len(step.calls))):
            if not self.storage.activations:  # else there is enough
                return_freed_memory(walk.v)
            call = step.calls[index]
            # Where nothing is stored, down to the start, to see whether both streams come back.
            is_recovered = not self.storage.branches or before + index > self.storage.branches
            if isinstance(call.graph, StoredGradients):
                sums = call.graph.backward(dw, dv, retain=retain)
            else:
                needs = x_needs or index > first
                sums = self._computed_again(
                    step, call, walk, dv, dw, leaves=leaves, x_needs=needs, is_recovered=is_recovered
                )
            if not retain:
                call.graph = call.input = None
            of_args = [_sum(a, b) for a, b in zip(of_args, sums[: len(leaves)], strict=True)]
            for parameter, grad in zip(trainable(call.parameters), sums[len(leaves) :], strict=True):
                if grad is not None:
                    known = of_parameters.get(id(parameter))
                    of_parameters[id(parameter)] = grad if known is None else known + grad
            if is_recovered:
                self.coefficients.unmix(walk.w, walk.v, call.dropped)
            self.coefficients.add_gradients(dv, dw)
            walk.v, walk.w = walk.w, walk.v
            dv, dw = dw, dv
        walk.done -= 1
        return dv, dw, of_args, of_parameters

    def _computed_again(
        self,
        step: Step,
        call: BranchCall,
        walk: Walk,
        dv: Tensor,
        dw: Tensor,
        *,
        leaves: Sequence[Tensor],
        x_needs: bool,
        is_recovered: bool,
    ) -> list[Tensor | None]:
        """Compute a branch again and differentiate it: adds to `dv`, takes what the branch gives from `walk.w` unless
        nobody needs that, and returns the gradients of arguments and parameters."""
        v = walk.v if call.input is None else call.input
        with call.replayed() as parameters:
            gradients = Gradients(
                call,
                self.like(v).to(step.dtype),
                args=step.filled(leaves),
                leaves=leaves,
                parameters=parameters,
                autocast=step.autocast,
            )
            for tile in call.tiles:
                use = partial(self._add_result, walk.w, tile.write, sign=-1) if is_recovered else None
                dx = gradients.tile(self._read(v, tile, step).requires_grad_(x_needs), tile, dw, use=use)
                if dx is not None:
                    add_to(dv, tile.read, dx)
                del dx
            return gradients.sums()

    def _add_result(self, w: Tensor, part: Part, f: Tensor, *, sign: int = 1) -> list[Tensor]:
        return add_result(w, part, f, format=self.format, compiler=self.chain.compiler, sign=sign)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


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
