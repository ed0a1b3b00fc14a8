"""What stands in the instances of a rewired network as `forward`.

The module tree stays what it was and is the only truth: a block that is replaced, hooked, or called on its own is
whatever it is then.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.reversible.blocks import Split, split_between, split_block
from re2tal.reversible.chain import Chain, Member, reason_of_hooks
from re2tal.reversible.checkpointed import run_checkpointed
from re2tal.reversible.guards import Guard, Key, Watch, has_global_hooks, is_hooked
from re2tal.reversible.patched import Patched, patched
from re2tal.reversible.storage import Storage
from re2tal.reversible.stored import Fallbacks
from re2tal.reversible.tiles import Mode, TileSize
from re2tal.reversible.tracers import is_exported, is_observed_by_a_compiler
from re2tal.reversible.tracing import BlockSplit, CallArguments, examined, record, refuse_objects, split
from re2tal.reversible.trees import Ref

__all__ = ["PatchedBetween", "PatchedBlock", "PatchedSequential", "blocks_in"]

_OUTSIDE = (
    "it cannot be split into branches as it is now, so it stands outside of its chain: with other coefficients than "
    "alpha=1, beta=0 the network computes another function than it did"
)
_MOST_SPLITS = 64
"""Kept for a block; each is for another kind of call."""


class PatchedBlock(Patched):
    """A residual block that belongs to a chain.

    A block may compute in other ways for other arguments, shapes or training modes, or when it was changed, so it is
    traced and split once for each kind of call that it meets.

    Args:
        block: nothing of it is changed.
        chain: it belongs to.
        name: of the block in its network.
    """

    def __init__(self, block: nn.Module, chain: Chain, *, name: str) -> None:
        super().__init__(block)
        self.chain, self.watch = chain, Watch(block)
        self.fallbacks = Fallbacks(name, type(block).__name__)
        self._splits: dict[tuple[Key, Hashable, bool], BlockSplit | str] = {}
        self._known: dict[Hashable, Split | None] = {}

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the block returns, by its branches where it has any."""
        given = CallArguments.of(args, kwargs)
        if given is None or given.stream.numel() == 0:  # there is nothing to add to, or nothing at all
            return self.own()(*args, **kwargs)
        guard, key = self.watch.guard()
        found = self._known_split(key, args, kwargs) or self._split_for(given, guard, key)
        if isinstance(found, str):
            with self._told(f"{found}; {_OUTSIDE}"):
                return self.own()(*args, **kwargs)
        member = self._member(found, guard)
        with self._told(member.stored):
            x = found.entered(self.module, given.stream, given.further)
            y = self.chain.run(x, [member], given.further)
            return found.returned(self.module, y, given.further)

    def _told(self, reason: str | None) -> AbstractContextManager[None]:
        return self.fallbacks.told(reason) if reason and self.chain.mode == "reversible" else nullcontext()

    def member_for(self, x: Tensor) -> Member | None:
        """The block in a call with a stream like `x`; None if it has to be called on its own."""
        if is_hooked(self.module):
            return None
        guard, key = self.watch.guard()
        given = CallArguments.of((x,), {})
        found = self._known_split(key, (x,), {}) or (self._lookup(key, given) if given is not None else None)
        if isinstance(found, BlockSplit) and found.whole and found.output == Ref(0):
            member = self._member(found, guard)
            return member if member.stored is None else None
        return None

    def _member(self, found: BlockSplit, guard: Guard) -> Member:
        return Member(found.branches, guard, self.fallbacks, found.stored or reason_of_hooks(guard))

    def _known_split(self, key: Key, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BlockSplit | None:
        """How a block of a known class computes such a call; None if it has to be traced."""
        if key not in self._known:
            self._known[key] = split_block(self.module)
        known = self._known[key]
        if known is None or not known.branches or not known.exact or has_global_hooks():
            return None
        output = known.output(self.module, args, kwargs)
        return None if output is None else BlockSplit(known.branches, output, any_shape=True)

    @property
    def may_equal_original(self) -> bool:
        """Whether alpha=1, beta=0 gives the block's own function, in the calls that it has met."""
        found = [*self._known.values(), *self._splits.values()]
        return not any(
            branch.ends_in_activation
            for split in found
            if isinstance(split, Split | BlockSplit)
            for branch in split.branches
        )

    def _split_for(self, given: CallArguments, guard: Guard, key: Key) -> BlockSplit | str:
        """How the block computes a call of this kind, or why it cannot be split."""
        found = self._lookup(key, given)
        if found is None:
            found = self._traced(given)
            if not isinstance(found, str):
                self.watch.ignored |= found.ignored
            self.remember(given, found)
        if not isinstance(found, str):
            hooked = [name for name in found.looked_into if name in guard.hooked]
            if hooked or (has_global_hooks() and len(found.looked_into) > 1):
                return f"{hooked[0] if hooked else 'a module'}, whose additions are the block's, has hooks"
        return found

    def _lookup(self, key: Key, given: CallArguments) -> BlockSplit | str | None:
        """What is known of such calls: with gradients, or, where none are taken, also what was not compared in them."""
        takes_gradients = torch.is_grad_enabled() and not is_exported()
        for gradients in (True, False)[: 1 if takes_gradients else 2]:
            for shapes in (False, True):
                kind = _kind(given, shapes=shapes)
                if (found := self._splits.get((key, kind, gradients))) is not None:
                    return found
                if is_exported():  # which replaces functions among the globals
                    same = ((key[0], kind, gradients) == (k[0], *rest) for k, *rest in self._splits)
                    if (found := next(compress(self._splits.values(), same), None)) is not None:
                        return found
        return None

    def remember(self, given: CallArguments, found: BlockSplit | str) -> None:
        """Use `found` for calls of this kind, with the block as it is now."""
        while len(self._splits) >= _MOST_SPLITS:
            del self._splits[next(iter(self._splits))]
        any_shape = not isinstance(found, str) and found.any_shape
        self._splits[self.watch.guard()[1], _kind(given, shapes=not any_shape), torch.is_grad_enabled()] = found

    def _traced(self, given: CallArguments) -> BlockSplit | str:
        if is_observed_by_a_compiler():
            raise RuntimeError(
                f"{self.fallbacks.name} ({self.fallbacks.kind}) of a rewired network has not been called like this "
                "yet, and cannot be traced while the network is exported, traced or transformed; call the network once "
                "with this input and in this mode (model.eval()) before, or unrewire it"
            )
        given, block = given.finite(), self.module
        hooked = bool(self.watch.guard()[0].hooked)

        def find() -> BlockSplit:
            refuse_objects((given.args, given.kwargs))
            recording = record(block, lambda: block(*given.args, **given.kwargs), device=given.stream.device)
            return split(recording, next(call for call in recording.calls() if call.module is block))

        with self.removed():
            return examined(block, given, find, hooked=hooked)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_splits": {}, "_known": {}}  # functions of torch cannot be pickled

    def __deepcopy__(self, memo: dict[int, Any]) -> PatchedBlock:
        new = copy.copy(self)
        memo[id(self)] = new
        new.__dict__.update(copy.deepcopy({**self.__dict__, "_known": {}}, memo))
        return new


def _kind(given: CallArguments, *, shapes: bool) -> Hashable:
    """Equal for calls that compute the same way: of any shape, or of one."""
    device = given.stream.device.type
    has_autocast = device != "meta" and torch.is_autocast_enabled(device)
    cast = torch.get_autocast_dtype(device) if has_autocast else None
    return given.key(shapes=shapes), cast


class PatchedSequential(Patched):
    """An `nn.Sequential` whose neighbouring blocks of one chain run as one step, where nobody wants to see between."""

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the last module returns."""
        if len(args) != 1 or kwargs:
            return self.own()(*args, **kwargs)
        (x,) = args
        modules = list(self.module._modules.values())
        place = 0
        while place < len(modules):
            module = modules[place]
            assert module is not None
            members, chain = self._together(modules[place:], x)
            if chain is None:
                x, place = module(x), place + 1
                continue
            place += len(members)
            x = chain.run(x, members, closing=len(members) == chain.length)
        return x

    def _together(self, modules: Sequence[nn.Module | None], x: Any) -> tuple[list[Member], Chain | None]:
        """The blocks from the first on that can run as one step."""
        first = _block_of(modules[0])
        if first is None or not isinstance(x, Tensor) or x.numel() == 0 or has_global_hooks():
            return [], None
        members: list[Member] = []
        for module in modules:
            block = _block_of(module)
            if block is None or block.chain is not first.chain or not x.is_floating_point():
                break
            member = block.member_for(x)
            if member is None:
                break
            members.append(member)
        return members, first.chain if members else None


def _block_of(module: nn.Module | None) -> PatchedBlock | None:
    found = module.__dict__.get("forward") if module is not None else None
    return found if isinstance(found, PatchedBlock) else None


class PatchedBetween(Patched):
    """A stem, or what stands between chains: its input alone is stored, and it is computed again in tiles."""

    def __init__(self, module: nn.Module, *, name: str) -> None:
        super().__init__(module)
        self.watch = Watch(module)
        self.fallbacks = Fallbacks(name, type(module).__name__)
        self.tile_size: TileSize = "auto"
        self.mode: Mode = "reversible"
        self.on_host = False
        self.storage = Storage()
        self._splits: dict[Hashable, Split | None] = {}

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the module returns."""
        guard, key = self.watch.guard()
        if key not in self._splits:
            self._splits[key] = split_between(self.module) or split_block(self.module)
        split = self._splits[key]
        x = args[0] if len(args) == 1 and not kwargs else None
        if is_observed_by_a_compiler() or not isinstance(x, Tensor) or x.numel() == 0:
            return self.own()(*args, **kwargs)
        is_own = self.module.__dict__.get("forward") is self
        if split is None or split.transition is None or not split.exact or not is_own:
            reason = "it was changed, so it is not known how to compute it in tiles"
            with self.fallbacks.told(reason) if self.mode == "reversible" else nullcontext():
                return self.own()(*args, **kwargs)
        mode, size, storage, on_host = self.mode, self.tile_size, self.storage, self.on_host
        return run_checkpointed(split.transition, guard, x, mode=mode, size=size, storage=storage, on_host=on_host)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_splits": {}}


def blocks_in(model: nn.Module) -> list[PatchedBlock]:
    """The blocks in `model` that belong to chains, in order."""
    return [found for found in patched(model) if isinstance(found, PatchedBlock)]
