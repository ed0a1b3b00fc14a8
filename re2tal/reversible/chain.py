"""What the blocks of one chain have in common, and how a step of theirs is run: reversibly, or stored."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import get_args

import torch
from torch import Tensor

from re2tal.reversible.autograd import leave, run_step
from re2tal.reversible.branch import Branch
from re2tal.reversible.branch_call import BranchCall, branch_dtype, version_of
from re2tal.reversible.carried import Carried, carry, may_be_recomputed, place_of, recomputed, remember
from re2tal.reversible.checks import ask_now
from re2tal.reversible.compiled import BranchCompiler
from re2tal.reversible.dr2net import Coefficients
from re2tal.reversible.fixed_point import (
    FixedPoint,
    Link,
    NonFiniteStreamError,
    Pair,
    StreamOverflowError,
    add,
    most_headroom,
)
from re2tal.reversible.guards import Guard, has_global_hooks, is_hooked
from re2tal.reversible.malloc import return_freed_memory
from re2tal.reversible.step import SidewaysError, Step
from re2tal.reversible.storage import Storage
from re2tal.reversible.stored import Fallbacks
from re2tal.reversible.streams import Streams
from re2tal.reversible.tiles import Mode, TileSize, check_tile_size, most_bytes
from re2tal.reversible.tracers import is_observed_by_a_compiler

__all__ = ["Chain", "Member", "reason_of_hooks"]

_MORE_HEADROOM = 4
"""When it is not enough."""


@dataclass(frozen=True)
class Member:
    """One block in one call."""

    branches: Sequence[Branch]
    guard: Guard
    fallbacks: Fallbacks
    stored: str | None = None
    """Why it is trained by plain autograd; None: it is not."""


class Chain:
    """What the blocks of one chain have in common.

    Args:
        mode: "reversible" saves only the last pair of streams and recomputes; "store" is plain autograd through the
            same computation, to compare with.
        tile_size: what a tile of a branch may take in training, about, in bytes; None computes whole branches.
        length: blocks in it. A step of so many is the whole chain.

    Attributes:
        coefficients: alpha and beta; Re2TAL's unless `set_coefficients` changes them.
        on_host: keep the last pair of streams in the host's memory until the backward pass needs it.
        compiler: of the branches; None: they are computed as they are.
        storage: what is stored in mode "reversible" although it could be computed again; nothing unless it is set.
        headroom: the streams may grow to `2 ** headroom` times the largest value of the input. Grows by itself when
            that is not enough.
        reconstruction_error: after a backward pass, the largest difference between the two recovered streams at the
            start of the chain, where they must be equal, relative to the largest value there; a scalar tensor.
            None before, and where nothing is recovered.
    """

    def __init__(self, *, mode: Mode = "reversible", tile_size: TileSize = "auto", length: int = 1) -> None:
        check_tile_size(tile_size)
        self.length = length
        self.mode = mode
        self.tile_size = tile_size
        self.coefficients = Coefficients()
        self.storage = Storage()
        self.headroom = 8
        self.compiler: BranchCompiler | None = None
        self.on_host = False
        self.reconstruction_error: Tensor | None = None

    @property
    def mode(self) -> Mode:
        """How the chain is differentiated."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
        self._mode: Mode = mode

    def run(
        self, x: Tensor, members: Sequence[Member], args: Sequence[object] = (), *, closing: bool = False
    ) -> Tensor:
        """Add the branches of the next blocks to the streams that `x` carries, or to new ones.

        Args:
            x: what the block before returned, or the start of the chain.
            members: the blocks.
            args: for every branch; tensors among them may need gradients.
            closing: no other block of the chain follows.

        Returns:
            What is read out of both streams, of the shape of `x`.
        """
        if is_observed_by_a_compiler():
            return self.floating(x, [branch for member in members for branch in member.branches], args)
        groups = [list(group) for _, group in groupby(members, key=lambda member: member.stored is not None)]
        for index, group in enumerate(groups):
            x = self._run(x, group, args, closing=closing and index == len(groups) - 1)
        return x

    def _run(self, x: Tensor, members: Sequence[Member], args: Sequence[object], *, closing: bool) -> Tensor:
        stored = next((member.stored for member in members if member.stored is not None), None)
        if stored is not None:
            ask_now()
        limit = None if stored is not None else most_bytes(self.tile_size, x.device)
        known = recomputed(x, self)
        place = place_of(x, self) if known is None else known.place(x)
        link = None if known is None else known.link
        if known is None and may_be_recomputed(x) and not (closing and place is None):
            if isinstance(place, Streams):
                place.left = Link(crosses_passes=True)
                carried = Carried(self, leave(place, x), 0, version_of(x), place.left)
                carry(x, carried)
                place = carried.place
            link = remember(x, self)
        if isinstance(place, Pair) and place.format is None:
            limit = None
        compiler = self.compiler if stored is None else None
        step = _step(x, members, args, limit=limit, compiler=compiler)
        by_autograd = stored is not None or self.mode == "store" or link is not None
        if by_autograd:
            return self._attempts(x, place, step, members, args, repeats=stored is None, link=link)
        return self._attempts(x, place, step, members, args, closing=closing)

    def _attempts(
        self,
        x: Tensor,
        place: Streams | Pair | None,
        step: Step,
        members: Sequence[Member],
        args: Sequence[object],
        *,
        closing: bool | None = None,
        repeats: bool = True,
        link: Link | None = None,
    ) -> Tensor:
        """Run a step: reversibly if `closing` says how, and in another way where that shows that it cannot be."""
        while True:
            try:
                if closing is None or (isinstance(place, Pair) and place.format is None):
                    return self._stored(x, place, step, args, may_repeat=repeats, link=link)
                return self._reversible(x, place, step, args, closing=closing)
            except StreamOverflowError as error:
                step.put_back()
                self._raise_headroom(error, x.device)
                pair = leave(place, x) if isinstance(place, Streams) else place
                place = None if pair is None else self._coarser(pair)
            except NonFiniteStreamError:
                # No integer stands for that; plain autograd in floating point, in whole branches, carries it where it
                # belongs.
                step.put_back()
                step = _step(x, members, args, limit=None)
                pair = leave(place, x) if isinstance(place, Streams) else place
                place = Pair.start(x, None) if pair is None else pair.recast(None)
            except SidewaysError as error:
                step.put_back()
                place = leave(place, x) if isinstance(place, Streams) else place
                with ExitStack() as stack:
                    for member in members:
                        stack.enter_context(member.fallbacks.told(str(error)))
                    return self._stored(x, place, step, args, may_repeat=False)

    def _reversible(
        self, x: Tensor, place: Streams | Pair | None, step: Step, args: Sequence[object], *, closing: bool
    ) -> Tensor:
        u, v = None, x
        if not self.storage.activations:
            return_freed_memory(x)  # before streams are put into its holes
        if place is None:
            self.reconstruction_error = self.reconstruction_error if not torch.is_grad_enabled() else None
            place = Streams.start(x, FixedPoint.around(x, headroom=self.headroom), chain=self)
        elif isinstance(place, Pair):
            u, v = place.u.values, place.v.values
            place = Streams.of(place, dtype=x.dtype, chain=self)
        y = run_step(place, step, u, v, args=args, closing=closing)
        if place.pair is not None:
            carry(y, Carried(self, place, len(place.steps), version_of(y)))
        return y

    def _stored(
        self,
        x: Tensor,
        place: Streams | Pair | None,
        step: Step,
        args: Sequence[object],
        *,
        may_repeat: bool = True,
        link: Link | None = None,
    ) -> Tensor:
        if place is None:
            format = FixedPoint.around(x, headroom=self.headroom)
            place = Pair.start(x, format)
        pair = leave(place, x) if isinstance(place, Streams) else place
        for call in step.calls:
            call.begin()
            f = call.with_graph(pair.v.values.to(step.dtype), args)
            pair = add(pair, f, self.coefficients) if may_repeat else self._added(pair, f)
        link = link or Link()
        y = link.read_out(pair, x.dtype, self.coefficients)
        carry(y, Carried(self, pair, 0, version_of(y), link))
        return y

    def _added(self, pair: Pair, f: Tensor) -> Pair:
        """The sum in whatever format holds it, where the branch cannot be run again: its hooks have been called."""
        while True:
            try:
                return add(pair, f, self.coefficients)
            except StreamOverflowError as error:
                self._raise_headroom(error, f.device)
                pair = self._coarser(pair)
            except NonFiniteStreamError:
                pair = pair.recast(None)

    def floating(self, x: Tensor, branches: Sequence[Branch], args: Sequence[object]) -> Tensor:
        """The function of the chain in plain floating point, for who looks at every operation."""
        carried = getattr(x, "_re2tal_carried", None)
        pair = carried.place if isinstance(carried, Carried) and carried.chain is self else None
        if not isinstance(pair, Pair):
            pair = Pair.start(x, None)
        dtype = branch_dtype(x, branches)
        for branch in branches:
            pair = add(pair, branch(pair.v.values.to(dtype), *args), self.coefficients)
        y = self.coefficients.read_out(pair.u.values, pair.v.values).to(x.dtype)
        if y is x or y is pair.v.values:
            y = y.clone()
        carry(y, Carried(self, pair, 0, 0))
        return y

    def _raise_headroom(self, error: StreamOverflowError, device: torch.device) -> None:
        if isinstance(error.__cause__, StreamOverflowError):
            raise error  # from here
        if self.headroom + _MORE_HEADROOM > most_headroom(device):
            raise StreamOverflowError(
                f"streams grow to more than 2 ** {self.headroom} times the chain's input ({error}), and nothing would "
                "be left of small values; lower the learning rate if they grew in training, or unrewire the network"
            ) from error
        self.headroom += _MORE_HEADROOM

    def _coarser(self, pair: Pair) -> Pair:
        assert pair.format is not None
        return pair.recast(pair.format.coarser(_MORE_HEADROOM, headroom=self.headroom))


def _step(
    x: Tensor,
    members: Sequence[Member],
    args: Sequence[object],
    *,
    limit: int | None,
    compiler: BranchCompiler | None = None,
) -> Step:
    """Of all branches, in tiles of at most `limit` bytes."""
    about = {"args": bool(args), "limit": limit, "device": x.device, "compiler": compiler}
    calls = [
        BranchCall(branch, member.guard, tuple(x.shape), **about)  # type: ignore[arg-type]
        for member in members
        for branch in member.branches
    ]
    return Step(calls, args, dtype=branch_dtype(x, [call.branch for call in calls]), device=x.device)


def reason_of_hooks(guard: Guard, *, with_root: bool = False) -> str | None:
    """Why hooks forbid to run a block again; those of the block itself run around its call, unless it is a branch."""
    if has_global_hooks():
        return "hooks are registered for all modules, which may keep tensors"
    hooked = [*guard.hooked, *([type(guard.root).__name__] if with_root and is_hooked(guard.root) else [])]
    return f"{hooked[0]} has hooks, which may keep tensors" if hooked else None
