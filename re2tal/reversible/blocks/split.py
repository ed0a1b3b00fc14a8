"""What a splitter says of a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from re2tal.reversible.branch import Branch
from re2tal.reversible.trees import Ref

__all__ = ["Foreign", "Split"]

Foreign = Any
"""A module of a library that is not imported; a splitter knows its attributes by the name of its class."""


@dataclass(frozen=True)
class Split:
    """Either the branches of a block that keeps the shape, or how a block that changes it is entered."""

    branches: tuple[Branch, ...] = ()
    """In the order in which the block adds them; empty if the block changes the shape."""
    transition: Branch | None = None
    """For a block that changes the shape: the way into the streams that follow; None to call the block as it is."""
    exact: bool = False
    """The block's modules are what its class has them be, so branches may read their weights, in tiles. Otherwise they
    may only be called."""
    returns: Callable[[Foreign, tuple[Any, ...], dict[str, Any]], object] | None = None
    """For a block that is called with more than its stream, or returns more: (block, positional arguments, keyword
    arguments) -> what it returns, with `Ref(0)` for the stream; None for a call that is not known."""

    def output(self, block: Foreign, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        """What the block returns in a call with these arguments, with `Ref(0)` for the stream; None: not known."""
        if self.returns is not None:
            return self.returns(block, args, kwargs)
        return Ref(0) if len(args) == 1 and not kwargs else None
