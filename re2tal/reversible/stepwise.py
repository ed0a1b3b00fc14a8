"""Reversible chains whose blocks are called one after the other by code that knows nothing of them.

A transformer's forward loops over its layers, passes masks to each, skips some at random, and collects what they
return. So no block is replaced; only its `forward` is. What it returns is what a chain that ended here would give, what
is read out of both streams, and carries the streams along; the next block of the chain, given this very tensor, goes on
with them. A tensor that was changed on the way, or comes from elsewhere, starts new streams.

The graph has two tokens between one block and the next that stand for the streams and hold no memory. Streams
themselves are in memory once, and each block takes its own branches back in the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from re2tal.reversible.branch import Branch, trainable
from re2tal.reversible.cells import CellSize, most_bytes
from re2tal.reversible.grid import Grid, GridOverflowError, GridStream, add_on_grid, put_on_grid
from re2tal.reversible.rng import GeneratorState
from re2tal.reversible.streams import BlockCall, Settings, Streams, put_back

__all__ = ["StepwiseChain"]

Mode = Literal["store", "reversible"]


class StepwiseChain(Settings):
    """What the blocks of one chain have in common.

    They compute what a `ReversibleChain` of the same branches computes; `mode`, `coefficients`, `headroom`, `cell_size`
    and `reconstruction_error` are as there.
    """

    def __init__(self, blocks: Sequence[nn.Module], *, mode: Mode = "reversible") -> None:
        self.blocks = tuple(blocks)
        self.mode = mode
        self.cell_size: CellSize = "auto"

    @property
    def mode(self) -> Mode:
        """How the chain is differentiated."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
        self._mode: Mode = mode

    def step(self, x: Tensor, branches: Sequence[Branch], args: Sequence[Tensor]) -> Tensor:
        """Add the next branches to the streams that `x` carries, or to new ones.

        Args:
            x: what the block before returned, or the start of the chain.
            branches: of a block.
            args: for every branch; they may need gradients.

        Returns:
            What is read out of both streams, of the shape of `x`.
        """
        call = BlockCall.plan(branches, x, args, limit=most_bytes(self.cell_size, x.device))
        place = _place_of(x)
        match self.mode:
            case "store":
                if not (isinstance(place, _StoredPlace) and place.continues(x, self)):
                    place = _StoredPlace.start(x, self)
            case "reversible":
                if not (isinstance(place, _Place) and place.continues(x, self)):
                    place = _Place(Streams(x, self), 0, x, x, 0)
            case _:
                assert_never(self.mode)
        return place.step(x, call, args)


def _place_of(x: Tensor) -> object:
    """Where on the streams `x` stands, or what it is a view of, as a whole: FSDP2 gives such views to every block."""
    base = x._base
    if base is not None and (base.shape, base.stride(), base.dtype) == (x.shape, x.stride(), x.dtype):
        return getattr(x, "_re2tal_place", getattr(base, "_re2tal_place", None))
    return getattr(x, "_re2tal_place", None)


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version


@dataclass(frozen=True)
class _Place:
    """Where on the streams a tensor stands that a block has returned; the tensor carries it."""

    streams: Streams
    done: int
    """Blocks before it."""
    u: Tensor
    v: Tensor
    """The tokens; at the start, the input itself."""
    version: int
    """Of the tensor when it was returned."""

    def continues(self, x: Tensor, chain: StepwiseChain) -> bool:
        """Whether the streams still are where they were when `x` was returned, and `x` what it was."""
        here = self.done == len(self.streams.calls) and self.streams.pair is not None
        return here and self.streams.settings is chain and self.version == _version(x)

    def step(self, x: Tensor, call: BlockCall, args: Sequence[Tensor]) -> Tensor:
        parameters = trainable(slot for group in call.slots for slot in group)
        # Hooks of a view wait for its gradient, although the streams carry all of it: it is none.
        view = None if hasattr(x, "_re2tal_place") or x is self.u else x
        y, u, v = _Reversible.apply(self.streams, call, view, self.u, self.v, *args, *parameters)
        y._re2tal_place = _Place(self.streams, self.done + 1, u, v, _version(y))
        result: Tensor = y
        return result


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, streams: Streams, call: BlockCall, view: Tensor | None, u: Tensor, v: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`tensors`: the arguments, then the parameters."""
        ctx.set_materialize_grads(False)
        mean = streams.advance(call)
        ctx.streams, ctx.done = streams, len(streams.calls)
        ctx.parameters = [id(tensor) for tensor in tensors[len(call.args) :]]
        u, v = (torch.empty((), dtype=streams.grid.values, device=mean.device).expand(mean.shape) for _ in range(2))
        return mean, u, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, du: Tensor | None, dv: Tensor | None) -> tuple[Tensor | None, ...]:
        streams: Streams = ctx.streams
        call = streams.calls[ctx.done - 1]
        call.unmodified.check()
        u_needs, v_needs, *needs = ctx.needs_input_grad[3:]
        x_needs = u_needs or v_needs
        shares = streams.coefficients.shares
        before, after = (_owned(g, dy, streams.like, share) for g, share in zip((du, dv), shares, strict=True))
        walk = streams.walk()
        leaves = [arg.detach().requires_grad_(need) for arg, need in zip(call.args, needs, strict=False)]
        learning = [index for index, slots in enumerate(call.slots) if trainable(slots)]
        first = 0 if x_needs or any(needs[: len(leaves)]) else learning[0]  # nothing before it needs a gradient
        state = GeneratorState.snapshot(before.device)
        try:
            while walk.done > ctx.done:  # the loss is of what a block in the middle returned
                streams.rewind(walk)
            before, after, of_args, found = streams.undo(
                walk, before, after, leaves=leaves, first=first, x_needs=x_needs
            )
        finally:
            state.restore()
        if walk.done == 0:
            streams.finish()
            before, after = before.to(streams.dtype), after.to(streams.dtype)
        of_streams = (before, after) if x_needs else (None, None)
        return None, None, None, *of_streams, *of_args, *(found.get(key) for key in ctx.parameters)


def _owned(gradient: Tensor | None, dy: Tensor | None, like: Tensor, share: float) -> Tensor:
    """The gradient of a stream, in memory that nobody else sees; `dy` is that of what is read out, `share` of it."""
    if dy is None:
        return torch.zeros(like.shape, dtype=like.dtype, device=like.device) if gradient is None else gradient
    part = dy.to(like.dtype, copy=True, memory_format=torch.contiguous_format).mul_(share)
    return part if gradient is None else gradient.add_(part)


# Stored


class _Stored:
    """A forward pass in mode "store": plain autograd through the same computation."""

    def __init__(self, x: Tensor, chain: StepwiseChain) -> None:
        self.chain = chain
        self.coefficients = chain.coefficients
        self.grid = Grid.around(x, headroom=chain.headroom)
        self.start = put_on_grid(x, self.grid)
        self.dtype = x.dtype
        self.calls: list[tuple[BlockCall, list[Tensor]]] = []

    def add(self, u: GridStream, v: GridStream, call: BlockCall, args: list[Tensor]) -> tuple[GridStream, GridStream]:
        for evaluation in call.evaluations:
            u, v = v, add_on_grid(u, v, evaluation.with_graph(v.values, args), self.grid, self.coefficients)
        return u, v

    def start_again(self, error: GridOverflowError, statistics: Any) -> tuple[GridStream, GridStream]:
        """On a coarser grid, as if nothing had happened."""
        *before, last = self.calls
        while True:
            self.chain.raise_headroom(self.start.values, error)
            self.grid = Grid(self.grid.bits - 4, self.grid.values)
            try:
                self.start = u = v = put_on_grid(self.start.values, self.grid)
                for call, args in before:
                    call.states[0].restore()
                    changed = call.statistics()
                    u, v = self.add(u, v, call, args)
                    put_back(changed)
                last[0].states[0].restore()
                put_back(statistics)
                return self.add(u, v, *last)
            except GridOverflowError as again:
                error = again


@dataclass(frozen=True)
class _StoredPlace:
    """As `_Place`."""

    stored: _Stored
    done: int
    u: GridStream
    v: GridStream
    version: int

    @staticmethod
    def start(x: Tensor, chain: StepwiseChain) -> _StoredPlace:
        stored = _Stored(x, chain)
        return _StoredPlace(stored, 0, stored.start, stored.start, 0)

    def continues(self, x: Tensor, chain: StepwiseChain) -> bool:
        here = self.done == len(self.stored.calls)
        return here and self.stored.chain is chain and self.version == _version(x)

    def step(self, x: Tensor, call: BlockCall, args: Sequence[Tensor]) -> Tensor:
        call.states = [GeneratorState.snapshot(self.u.values.device)]
        statistics = call.statistics()
        self.stored.calls.append((call, list(args)))
        try:
            u, v = self.stored.add(self.u, self.v, call, list(args))
        except GridOverflowError as error:
            u, v = self.stored.start_again(error, statistics)
        y = self.stored.coefficients.read_out(u.values, v.values).to(self.stored.dtype)
        y._re2tal_place = _StoredPlace(self.stored, self.done + 1, u, v, _version(y))  # type: ignore[attr-defined]
        return y
