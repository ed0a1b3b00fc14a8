"""The two streams of one forward pass, moved on block by block and taken back block by block."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from re2tal.reversible.branch import Branch, Slot, Unmodified, trainable
from re2tal.reversible.coefficients import Coefficients
from re2tal.reversible.cut_branch import CutBranch
from re2tal.reversible.evaluation import Evaluation, Gradients, autocast_contexts, entered
from re2tal.reversible.grid import Grid, GridOverflowError, most_headroom
from re2tal.reversible.recompute import _difference, _magnitude
from re2tal.reversible.rng import GeneratorState, preserved

__all__ = ["BlockCall", "Settings", "Streams", "count_held_bytes", "put_back"]


class Settings:
    """What the blocks of one chain have in common, as far as streams are concerned."""

    coefficients = Coefficients()
    headroom = 8
    reconstruction_error: Tensor | None = None

    def raise_headroom(self, like: Tensor, error: GridOverflowError) -> None:
        """For streams that outgrew their grid.

        Raises:
            GridOverflowError: there is no coarser one.
        """
        if self.headroom >= most_headroom(like):
            raise GridOverflowError(
                f"streams grow to more than 2 ** {self.headroom} times the chain's input ({error}); lower the "
                "learning rate if they grew in training, or run the network in float64"
            ) from error
        self.headroom += 4


@dataclass
class BlockCall:
    """One call of a block: what running its branches again has to know."""

    branches: Sequence[Branch]
    evaluations: list[Evaluation]
    args: list[Tensor]
    """Without their graphs."""
    args_learn: list[bool]
    """Which of them need gradients."""
    autocast: list[torch.autocast]
    slots: list[list[Slot]]
    """For each branch, its parameters."""
    unmodified: Unmodified
    states: list[GeneratorState] = field(default_factory=list)
    """Of the generators, before each branch ran."""
    dropped: list[Tensor | None] = field(default_factory=list)
    """For each branch, what the streams' coefficients dropped."""

    @staticmethod
    def plan(branches: Sequence[Branch], x: Tensor, args: Sequence[Tensor], *, limit: int | None) -> BlockCall:
        """For an input of the shape of `x`, with cells of about `limit` bytes."""
        detached = [arg.detach() for arg in args]
        slots = [branch.parameters() for branch in branches]
        for branch, group in zip(branches, slots, strict=True):
            branch.check_gathered(group)
        return BlockCall(
            branches=branches,
            evaluations=[
                Evaluation.plan(branch, tuple(x.shape), args=bool(args) and _reads_args(branch), limit=limit)
                for branch in branches
            ],
            args=detached,
            args_learn=[arg.requires_grad for arg in args],
            autocast=autocast_contexts(x.device),
            slots=slots,
            unmodified=Unmodified([*trainable(slot for group in slots for slot in group), *detached]),
        )

    def leaves(self, graph: bool) -> list[Tensor]:
        """The arguments, as a branch is given them that computes with a graph or without."""
        if not graph:
            return self.args
        return [arg.detach().requires_grad_(need) for arg, need in zip(self.args, self.args_learn, strict=True)]

    def statistics(self) -> list[tuple[nn.Module, dict[str, Tensor]]]:
        """Copies of the running statistics that the branches change."""
        norms = [norm for branch in self.branches for norm in branch.running_norms()]
        return [(norm, {name: b.clone() for name, b in norm.named_buffers()}) for norm in norms]


def put_back(statistics: list[tuple[nn.Module, dict[str, Tensor]]]) -> None:
    """Undo changes of running statistics."""
    for norm, buffers in statistics:
        for name, buffer in buffers.items():
            norm.get_buffer(name).copy_(buffer)


def _reads_args(branch: Branch) -> bool:
    return not isinstance(branch, CutBranch) or branch.reads_args


@dataclass
class Walk:
    """A backward pass on its way through the streams: `(v, w)` is the pair where it stands."""

    task: int
    """Tells backward passes apart."""
    done: int
    """Calls that are yet to be taken back."""
    v: Tensor
    w: Tensor


class Streams:
    """A pair `(u, v)` on a grid, in memory once, which every branch changes in place as in a `ReversibleChain`.

    Args:
        x: the start of both.
        settings: of the chain.
    """

    def __init__(self, x: Tensor, settings: Settings) -> None:
        self.settings = settings
        self.coefficients = settings.coefficients
        self.grid = Grid.around(x, headroom=settings.headroom)
        start = self.grid.stream(self.grid.steps(x.detach()))
        self.pair: tuple[Tensor, Tensor] | None = (start, start.clone())
        self.like = torch.empty((), dtype=self.grid.values, device=x.device).expand(x.shape)
        self.dtype = x.dtype
        self.calls: list[BlockCall] = []
        self._walk: Walk | None = None
        for watcher in _watchers:
            watcher.append(weakref.ref(self))

    def advance(self, call: BlockCall) -> Tensor:
        """Run the branches of a block, without a graph; returns the mean of the streams, of the type of `x`."""
        statistics = call.statistics()
        self.calls.append(call)
        largest = self._run(call)
        while True:
            try:
                self.grid.check(largest)
                break
            except GridOverflowError as error:
                self.settings.raise_headroom(self.like, error)
                largest = self._start_again(statistics)
        assert self.pair is not None
        u, v = self.pair
        # Whole numbers hide what is not a number; `largest` does not.
        return self.grid.read_out(u, v, self.coefficients).add_(largest * 0).to(self.dtype)

    @property
    def held_bytes(self) -> int:
        """In memory for the backward pass."""
        kept = [tensor for call in self.calls for tensor in call.dropped if tensor is not None]
        return sum(tensor.nbytes for tensor in (*(self.pair or ()), *kept))

    def _run(self, call: BlockCall) -> Tensor:
        """Returns the largest magnitude of a stream, in steps of the grid."""
        assert self.pair is not None
        u, v = self.pair
        largest = torch.maximum(_magnitude(u), _magnitude(v))
        state = call.states[0] if call.states else None
        call.states, call.dropped = [], []
        for evaluation in call.evaluations:
            state = GeneratorState.snapshot(self.like.device, state)
            call.states.append(state)
            w = u
            # Kept without gradients, too: a block that outgrows the grid takes those before it back.
            call.dropped.append(self.coefficients.mix(w, v, keep=True))
            if self.coefficients.alpha:
                largest = torch.maximum(largest, _magnitude(w))
            for box, f in self._pieces(call, evaluation, v):
                steps = self.grid.steps(f)
                target = w[box]
                target += self.grid.stream(steps)
                largest = torch.maximum(largest, torch.maximum(_magnitude(steps), _magnitude(target)))
            u, v = v, w
        self.pair = (u, v)
        return largest

    def _pieces(self, call: BlockCall, evaluation: Evaluation, v: Tensor) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
        """`f(v)` cell by cell, without a graph."""
        with _graph_for(evaluation.branch), entered(call.autocast):
            prepared = tuple(tensor.detach() for tensor in evaluation.prepare(self.like))
        for cell in evaluation.cells:
            with _graph_for(evaluation.branch) as graph, entered(call.autocast):
                x = self.grid.read(v[cell.read]).requires_grad_(graph)
                f = evaluation.compute(x, prepared, cell, call.leaves(graph)).detach()
            yield cell.write, f

    def _start_again(self, statistics: list[tuple[nn.Module, dict[str, Tensor]]]) -> Tensor:
        """Take everything back, and run it on a coarser grid, as if nothing had happened."""
        assert self.pair is not None
        *before, last = self.calls
        with preserved(self.like.device):
            walk = Walk(-1, len(self.calls), *self.pair)
            while walk.done:
                self.rewind(walk)
            if not torch.equal(walk.v, walk.w):
                raise RuntimeError("a branch gave another result when it was computed again, so streams are lost")
            start, self.grid = self.grid.read(walk.v), Grid(self.grid.bits - 4, self.grid.values)
            stream = self.grid.stream(self.grid.steps(start))
            self.pair = (stream, stream.clone())
            largest = _magnitude(stream)
            for call in before:
                changed = call.statistics()
                call.states[0].restore()
                largest = torch.maximum(largest, self._run(call))
                put_back(changed)
            put_back(statistics)
            last.states[0].restore()
            return torch.maximum(largest, self._run(last))

    def walk(self) -> Walk:
        """Where the present backward pass stands.

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
            self._walk = Walk(task, len(self.calls), v, w)
        return self._walk

    def finish(self) -> None:
        """The walk has reached the start."""
        assert self._walk is not None
        self.settings.reconstruction_error = _difference(self._walk.v, self._walk.w)
        self._walk = None

    def rewind(self, walk: Walk) -> None:
        """Take one block back, without gradients: an overflow, or a loss of an earlier block's result, wants that."""
        call = self.calls[walk.done - 1]
        for index in reversed(range(len(call.branches))):
            call.states[index].restore()
            evaluation = call.evaluations[index]
            with evaluation.branch.replayed(call.slots[index]):
                for box, f in self._pieces(call, evaluation, walk.v):
                    walk.w[box] -= self.grid.stream(self.grid.steps(f))
            self.coefficients.unmix(walk.w, walk.v, call.dropped[index])
            walk.v, walk.w = walk.w, walk.v
        walk.done -= 1

    def undo(
        self, walk: Walk, dv: Tensor, dw: Tensor, *, leaves: Sequence[Tensor], first: int, x_needs: bool
    ) -> tuple[Tensor, Tensor, list[Tensor | None], dict[int, Tensor]]:
        """Take one block back, with gradients.

        Args:
            walk: stands behind the block.
            dv: gradient of the first stream; changed.
            dw: of the second; changed.
            leaves: the arguments, on which the branches run.
            first: no branch of the block before this one needs a gradient, unless the block's input does.
            x_needs: whether the input of the block does.

        Returns:
            The gradients of the streams before the block, of the arguments, and of parameters by their identities.
        """
        call = self.calls[walk.done - 1]
        of_args: list[Tensor | None] = [None] * len(leaves)
        of_parameters: dict[int, Tensor] = {}
        for index in reversed(range(len(call.branches))):
            call.states[index].restore()
            slots, evaluation = call.slots[index], call.evaluations[index]
            with evaluation.branch.replayed(slots) as parameters:
                gradients = Gradients(
                    evaluation, self.like, args=leaves, leaves=leaves, parameters=parameters, autocast=call.autocast
                )
                for cell in evaluation.cells:
                    x = self.grid.read(walk.v[cell.read]).requires_grad_(index > first or x_needs)
                    f, dx = gradients.cell(x, cell, dw)
                    if dx is not None:
                        dv[cell.read] += dx
                    walk.w[cell.write] -= self.grid.stream(self.grid.steps(f))
                sums = gradients.sums()
            of_args = [_sum(a, b) for a, b in zip(of_args, sums[: len(leaves)], strict=True)]
            for parameter, grad in zip(trainable(slots), sums[len(leaves) :], strict=True):
                if grad is not None:
                    known = of_parameters.get(id(parameter))
                    of_parameters[id(parameter)] = grad if known is None else known + grad
            self.coefficients.unmix(walk.w, walk.v, call.dropped[index])
            self.coefficients.add_gradients(dv, dw)
            walk.v, walk.w = walk.w, walk.v
            dv, dw = dw, dv
        if self.pair is None:
            call.dropped = []  # nobody will walk here again
        walk.done -= 1
        return dv, dw, of_args, of_parameters


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


@contextmanager
def _graph_for(branch: Branch) -> Iterator[bool]:
    """Yields whether the branch computes with a graph although nobody needs it."""
    wanted = isinstance(branch, CutBranch) and branch.needs_graph
    if not wanted:
        with torch.no_grad():
            yield False
        return
    # Nobody will use what the graph saves, so nobody's hooks should see it.
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(_same, _same):
        yield True


def _same(tensor: Tensor) -> Tensor:
    return tensor


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
