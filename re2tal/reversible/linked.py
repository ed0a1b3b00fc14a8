"""The `forward` of a block that belongs to a chain."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from torch import nn

from re2tal.reversible.automatic.given import Given
from re2tal.reversible.automatic.recording import record
from re2tal.reversible.automatic.residual import Refused
from re2tal.reversible.automatic.splitting import BlockSplit, check, split
from re2tal.reversible.branch import Branch
from re2tal.reversible.stepwise import StepwiseChain

__all__ = ["LinkedBlock", "kind_of_call", "link", "linked", "own_forward", "unlink"]

_MOST_SPLITS = 64
"""Kept for a block; each is for another kind of call."""


class LinkedBlock:
    """Stands in the instance as `block.forward`.

    A block may compute in other ways for other arguments, shapes or training modes, so it is traced and split once for
    each kind of call that it meets.

    Args:
        block: the original; nothing of it is changed.
        chain: it belongs to.
        branches: if they are known without tracing, for calls with a tensor alone.
    """

    def __init__(self, block: nn.Module, chain: StepwiseChain, *, branches: tuple[Branch, ...] = ()) -> None:
        self.block = block
        self.chain = chain
        self.branches = branches
        self.replaced: Callable[..., Any] | None = block.__dict__.get("forward")
        self._splits: dict[Hashable, BlockSplit] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.branches and not kwargs and len(args) == 1:
            return self.chain.step(args[0], self.branches, ())
        given = Given.of(args, kwargs)
        if given is None:
            raise ValueError(f"a {type(self.block).__name__} of a reversible chain is called without a tensor")
        found = self.split_for(given)
        x = found.entered(self.block, given.stream, given.further)
        y = self.chain.step(x, found.branches, given.further)
        return found.returned(self.block, y, given.further)

    def split_for(self, given: Given) -> BlockSplit:
        """How the block computes a call of this kind.

        Raises:
            ValueError: not as a residual block.
        """
        found = self._splits.get(kind_of_call(self.block, given, shapes=False))
        if found is None:
            found = self._splits.get(kind_of_call(self.block, given, shapes=True))
        if found is None:
            found = self._trace(given)
            self.remember(kind_of_call(self.block, given, shapes=not found.any_shape), found)
        return found

    def remember(self, kind: Hashable, found: BlockSplit) -> None:
        """Use `found` for calls of this kind."""
        while len(self._splits) >= _MOST_SPLITS:
            del self._splits[next(iter(self._splits))]
        self._splits[kind] = found

    def _trace(self, given: Given) -> BlockSplit:
        forward = own_forward(self.block)
        self.block.__dict__["forward"] = forward
        # Hooks (of FSDP2, for one) belong to the call that is under way.
        hooks = {name: self.block.__dict__[name] for name in ("_forward_pre_hooks", "_forward_hooks")}
        self.block.__dict__.update((name, OrderedDict()) for name in hooks)
        try:
            recording = record(self.block, lambda: self.block(*given.args, **given.kwargs), device=given.stream.device)
            call = next(call for call in recording.calls() if call.module is self.block)
            return check(self.block, split(recording, call), given, forward=forward, gradients=False)
        except Refused as reason:
            raise ValueError(
                f"a {type(self.block).__name__} of a reversible chain cannot be called like this: {reason}; call the "
                "network as in the example it was rewired with, or unrewire it"
            ) from reason
        finally:
            self.block.__dict__.update(hooks)
            self.block.__dict__["forward"] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> LinkedBlock:
        new = copy.copy(self)
        memo[id(self)] = new
        new.block, new.chain, new.branches = copy.deepcopy((self.block, self.chain, self.branches), memo)
        new._splits = copy.deepcopy(self._splits, memo)
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_splits": {}}  # functions of torch cannot be pickled; tracing finds them again


def kind_of_call(block: nn.Module, given: Given, *, shapes: bool) -> Hashable:
    """Equal for calls that compute the same way: of any shape, or of one."""
    return tuple(module.training for module in block.modules()), given.key(shapes=shapes)


def own_forward(block: nn.Module) -> Callable[..., Any]:
    """What the block itself computes, whether or not it is in a chain."""
    present = block.__dict__.get("forward")
    if isinstance(present, LinkedBlock):
        present = present.replaced
    forward: Callable[..., Any] = present or type(block).forward.__get__(block)
    return forward


def link(block: nn.Module, chain: StepwiseChain, *, branches: tuple[Branch, ...] = ()) -> LinkedBlock:
    """Make `block` part of a chain."""
    new = LinkedBlock(block, chain, branches=branches)
    block.__dict__["forward"] = new
    return new


def unlink(block: nn.Module) -> None:
    """Give a linked block its own forward back."""
    present = block.__dict__["forward"]
    assert isinstance(present, LinkedBlock)
    if present.replaced is None:
        del block.__dict__["forward"]
    else:
        block.__dict__["forward"] = present.replaced


def linked(model: nn.Module) -> Iterator[LinkedBlock]:
    """Those of the blocks in `model`, in order."""
    for module in model.modules():
        if isinstance(found := module.__dict__.get("forward"), LinkedBlock):
            yield found
