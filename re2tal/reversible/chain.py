"""What the blocks of one chain have in common, and how a step of theirs is run: reversibly, or stored."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import get_args

import torch
from torch import Tensor, nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.branch_call import BranchCall, branch_dtype, version_of
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
from re2tal.reversible.stored import Fallbacks
from re2tal.reversible.streams import SidewaysError, Step, Streams
from re2tal.reversible.tiles import Mode, TileSize, check_tile_size, most_bytes
from re2tal.reversible.tracing.effects import Effects, effects_of

__all__ = ["Chain", "Member", "ReversibleChain", "hooks_speak_against", "is_observed_by_a_compiler"]


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

    Attributes:
        coefficients: alpha and beta; Re2TAL's unless `set_coefficients` changes them.
        headroom: the streams may grow to `2 ** headroom` times the largest value of the input. Grows by itself when
            that is not enough.
        reconstruction_error: after a backward pass, the largest difference between the two recovered streams at the
            start of the chain, where they must be equal, relative to the largest value there; a scalar tensor.
            None before, and where nothing is recovered.
    """

    def __init__(self, *, mode: Mode = "reversible", tile_size: TileSize = "auto") -> None:
        check_tile_size(tile_size)
        self.mode = mode
        self.tile_size = tile_size
        self.coefficients = Coefficients()
        self.headroom = 8
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
        limit = None if stored is not None else most_bytes(self.tile_size, x.device)
        known = recomputed(x, self)
        place = _place_of(x, self) if known is None else known.place(x)
        link = None if known is None else known.link
        if known is None and may_be_recomputed(x) and not (closing and place is None):
            if isinstance(place, Streams):
                place.left = Link(crosses_passes=True)
                carried = Carried(self, place.leave(x), 0, version_of(x), place.left)
                _carry(x, carried)
                place = carried.place
            link = remember(x, self)
        branches = [branch for member in members for branch in member.branches]
        calls = [
            BranchCall(branch, member.guard, tuple(x.shape), args=bool(args), limit=limit)
            for member in members
            for branch in member.branches
        ]
        step = Step(calls, args, dtype=branch_dtype(x, branches), device=x.device)
        by_autograd = stored is not None or self.mode == "store" or link is not None
        while True:
            try:
                if by_autograd or (isinstance(place, Pair) and place.format is None):
                    return self._stored(x, place, step, args, may_repeat=stored is None, link=link)
                return self._reversible(x, place, step, args, closing=closing)
            except StreamOverflowError as error:
                step.put_back()
                self._raise_headroom(x, error)
                if place is not None:
                    pair = place.leave(x) if isinstance(place, Streams) else place
                    place = _coarser(pair)
            except NonFiniteStreamError:
                # No integer stands for that; plain autograd in floating point carries it where it belongs.
                step.put_back()
                pair = Pair.start(x, None) if place is None else place.leave(x) if isinstance(place, Streams) else place
                place = pair.recast(None)
            except SidewaysError as error:
                step.put_back()
                place = place.leave(x) if isinstance(place, Streams) else place
                with ExitStack() as stack:
                    for member in members:
                        stack.enter_context(member.fallbacks.told(str(error)))
                    return self._stored(x, place, step, args, may_repeat=False)

    def _reversible(
        self, x: Tensor, place: Streams | Pair | None, step: Step, args: Sequence[object], *, closing: bool
    ) -> Tensor:
        u, v = None, x
        if place is None:
            self.reconstruction_error = self.reconstruction_error if not torch.is_grad_enabled() else None
            place = Streams.start(x, FixedPoint.around(x, headroom=self.headroom), chain=self)
        elif isinstance(place, Pair):
            u, v = place.u.values, place.v.values
            place = Streams.of(place, dtype=x.dtype, chain=self)
        y = place.run(step, u, v, args=args, closing=closing)
        if place.pair is not None:
            _carry(y, Carried(self, place, len(place.steps), version_of(y)))
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
        pair = place.leave(x) if isinstance(place, Streams) else place
        for call in step.calls:
            call.begin(step.device)
            f = call.with_graph(pair.v.values.to(step.dtype), args)
            pair = add(pair, f, self.coefficients) if may_repeat else self._added(pair, f)
        link = link or Link()
        y = link.read_out(pair, x.dtype, self.coefficients)
        _carry(y, Carried(self, pair, 0, version_of(y), link))
        return y

    def _added(self, pair: Pair, f: Tensor) -> Pair:
        """The sum in whatever format holds it, where the branch cannot be run again: its hooks have been called."""
        while True:
            try:
                return add(pair, f, self.coefficients)
            except StreamOverflowError as error:
                self._raise_headroom(pair.v.values, error)
                pair = _coarser(pair)
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
        _carry(y, Carried(self, pair, 0, 0))
        return y

    def _raise_headroom(self, x: Tensor, error: StreamOverflowError) -> None:
        if self.headroom >= most_headroom(x.dtype):
            raise StreamOverflowError(
                f"streams grow to more than 2 ** {self.headroom} times the chain's input ({error}); lower the "
                "learning rate if they grew in training, or run the chain in float64"
            ) from error
        self.headroom += 4


def _coarser(pair: Pair) -> Pair:
    assert pair.format is not None
    return pair.recast(FixedPoint(pair.format.bits - 4, pair.format.values))


@dataclass(frozen=True)
class Carried:
    """What a tensor that a block has returned carries along."""

    chain: Chain
    place: Streams | Pair
    done: int
    """Steps of the streams before it."""
    version: int
    """Of the tensor when it was returned."""
    link: Link | None = None
    """Between a stored pair and the tensor."""

    def pair(self, x: Tensor) -> Pair:
        """The stored pair, with `x` in the graph where the tensor was."""
        assert isinstance(self.place, Pair)
        return self.place if self.link is None else self.link.go_on(self.place, x)


def _carry(y: Tensor, carried: Carried) -> None:
    y._re2tal_carried = carried  # type: ignore[attr-defined]


def _place_of(x: Tensor, chain: Chain) -> Streams | Pair | None:
    """The streams that `x` carries for `chain`, if they still are where they were when it was returned.

    FSDP2 gives views of the whole tensor to every block.
    """
    carried = getattr(x, "_re2tal_carried", None)
    base = x._base
    if (
        carried is None
        and base is not None
        and (base.shape, base.stride(), base.dtype) == (x.shape, x.stride(), x.dtype)
    ):
        carried = getattr(base, "_re2tal_carried", None)
    if not isinstance(carried, Carried) or carried.chain is not chain or carried.version != version_of(x):
        return None
    place = carried.place
    if isinstance(place, Pair):
        return carried.pair(x)
    if place.is_broken:
        raise RuntimeError(
            "a block of this reversible chain has failed in this forward pass, and its streams with it; run the "
            "network from its input again"
        )
    return place if place.pair is not None and carried.done == len(place.steps) else None


# Re-entrant checkpoints
#
# They run a block without gradients, and again in the backward pass, in a pass of its own, on a detached copy of its
# input. That copy carries nothing; but it shares memory with the input, which the checkpoint has kept.


@dataclass(frozen=True)
class _Kept:
    """Of a call that may have been such a block's."""

    chain: Chain
    x: weakref.ref[Tensor]
    version: int
    carried: Carried | None
    link: Link
    """Of what it returned."""

    def place(self, x: Tensor) -> Pair | None:
        """Where the call began, for `x` in the place of its input."""
        return None if self.carried is None else self.carried.pair(x)


_kept: dict[int, _Kept] = {}
"""By the addresses of the inputs, as long as these live."""


def may_be_recomputed(x: Tensor) -> bool:
    """Whether this looks like the forward pass of a re-entrant checkpoint."""
    return not torch.is_grad_enabled() and x.requires_grad and not x.is_inference()


def remember(x: Tensor, chain: Chain) -> Link:
    """Note what the call with `x` has begun with; returns the link of what it will return."""
    carried = getattr(x, "_re2tal_carried", None)
    if not (isinstance(carried, Carried) and carried.chain is chain and isinstance(carried.place, Pair)):
        carried = None
    if carried is not None and carried.link is not None:
        carried.link.crosses_passes = True
    address, link = x.data_ptr(), Link(crosses_passes=True)
    _kept[address] = _Kept(chain, weakref.ref(x, lambda _: _kept.pop(address, None)), x._version, carried, link)
    return link


def recomputed(x: Tensor, chain: Chain) -> _Kept | None:
    """The call that a backward pass runs again, if it does."""
    if torch._C._current_graph_task_id() == -1 or not torch.is_grad_enabled():
        return None
    kept = _kept.get(x.data_ptr())
    before = kept.x() if kept is not None else None
    if kept is None or before is None or kept.chain is not chain or before.shape != x.shape:
        return None
    return kept if kept.version == x._version == before._version else None


def is_observed_by_a_compiler() -> bool:
    """Whether somebody traces all operations, or transforms them: no value can be looked at then."""
    return (
        torch.compiler.is_exporting()
        or torch.jit.is_tracing()
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


class ReversibleChain(nn.Module):
    """Residual branches f1..fn on two streams that can be recomputed from their last pair.

        start     u = v = x
        forward   (u, v) -> (v, beta * u + alpha * v + f(v))
        inverse   (v, w) -> ((w - alpha * v - f(v)) / beta, v)
        read-out  (beta * u + v) / (1 + beta)

    With alpha = 0, beta = 1: Zhao et al., "Re2TAL: Rewiring Pretrained Video Backbones for Reversible Temporal Action
    Localization", CVPR 2023, section 3. No parameter is added; gradients are those of plain backpropagation through the
    same computation.

    Args:
        branches: each a `Branch`, or a module that maps a tensor to one of the same shape. They become children
            "0", "1", ... unless `blocks` is given.
        blocks: the modules to register as children instead, under the names they shall have in the state dict
            (residual blocks of which several branches are parts).
        tile_size: what a tile of a branch may take in training, about, in bytes; None computes whole branches.
        mode: see `Chain`.

    Attributes:
        chain: the settings and the state of the chain.
    """

    def __init__(
        self,
        branches: Iterable[Branch | nn.Module],
        *,
        blocks: Mapping[str, nn.Module] | None = None,
        mode: Mode = "reversible",
        tile_size: TileSize = "auto",
    ) -> None:
        super().__init__()
        self.branches = tuple(branch if isinstance(branch, Branch) else Branch(branch) for branch in branches)
        if not self.branches:
            raise ValueError("a reversible chain needs at least one branch, got none")
        if blocks is None:
            blocks = {str(index): branch.owner for index, branch in enumerate(self.branches)}
        for name, block in blocks.items():
            self.add_module(name, block)
        self.chain = Chain(mode=mode, tile_size=tile_size)
        self._examined = ExaminedBranches()

    def forward(self, x: Tensor, *args: object) -> Tensor:
        """(...) -> (...) of the same shape; `args` (masks, position codes) go to every branch as they are.

        Raises:
            ValueError: a branch changed the shape, so the streams cannot be added.
        """
        if x.numel() == 0:
            return self.chain.floating(x, self.branches, args)
        names = {module: name for name, module in self.named_modules()}
        members = [
            self._examined.member(b, x, args, name=names.get(b.owner, str(n))) for n, b in enumerate(self.branches)
        ]
        return self.chain.run(x, members, args, closing=True)

    def extra_repr(self) -> str:
        return f"branches={len(self.branches)}, mode={self.chain.mode!r}"


class ExaminedBranches:
    """What is known of branches that were given as modules, as long as these are what they were when it was found."""

    def __init__(self) -> None:
        self._guards: dict[int, Guard] = {}
        self._effects: dict[tuple[int, Hashable], Effects] = {}
        self._fallbacks: dict[int, Fallbacks] = {}

    def member(self, branch: Branch, x: Tensor, args: Sequence[object], *, name: str) -> Member:
        """The branch in a call."""
        place = id(branch)
        if place not in self._fallbacks:
            self._fallbacks[place] = Fallbacks(name, type(branch.owner).__name__)
        fallbacks = self._fallbacks[place]
        guard = self._guards.get(place)
        if guard is None or not guard.holds():
            new = Guard(branch.owner, ignored=guard.ignored if guard is not None else frozenset())
            new.moving = guard.moving if guard is not None else new.moving
            guard = self._guards[place] = new
        if is_observed_by_a_compiler():
            return Member([branch], guard, fallbacks)
        key = place, (guard.key(), torch.is_grad_enabled())
        effects = self._effects.get(key)
        if effects is None:
            branch.check_gathered()
            effects = self._effects[key] = _examined(branch, x, args)
            if effects.ignored - guard.ignored:
                self._guards[place] = Guard(branch.owner, ignored=guard.ignored | effects.ignored)
                guard = self._guards[place]
                self._effects[place, (guard.key(), torch.is_grad_enabled())] = effects
        return Member([branch], guard, fallbacks, effects.stored or hooks_speak_against(branch.owner))

    def __deepcopy__(self, memo: object) -> ExaminedBranches:
        return ExaminedBranches()

    def __getstate__(self) -> dict[str, object]:
        return dict.fromkeys(self.__dict__, {})


def _examined(branch: Branch, x: Tensor, args: Sequence[object]) -> Effects:
    tensors = [arg for arg in args if isinstance(arg, Tensor)]

    def function(x: Tensor, further: list[Tensor]) -> Tensor:
        rest = iter(further)
        return branch(x, *(next(rest) if isinstance(arg, Tensor) else arg for arg in args))

    return effects_of(branch.owner, function, x, tensors)


def hooks_speak_against(root: nn.Module, *, inside: bool = False) -> str | None:
    """Why the hooks of modules in `root` forbid to run it again; of `inside` of it alone, where its own run around."""
    if has_global_hooks():
        return "hooks are registered for all modules, which may keep tensors"
    hooked = (
        name or type(root).__name__
        for name, module in root.named_modules()
        if is_hooked(module) and not (inside and module is root)
    )
    name = next(hooked, None)
    return None if name is None else f"{name} has hooks, which may keep tensors"
