"""What a splitter says of a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from re2tal.reversible.branch import Branch

__all__ = ["Split"]


@dataclass(frozen=True)
class Split:
    """Either the branches of a block that keeps the shape, or how a block that changes it is entered."""

    branches: tuple[Branch, ...] = ()
    """In the order in which the block adds them; empty if the block changes the shape."""
    transition: Callable[[nn.Module, Tensor], Tensor] | None = None
    """For a block that changes the shape: (block, x) -> the start of the streams that follow.
    A module-level function; None to call the block as it is."""
