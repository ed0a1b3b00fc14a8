"""For programs that look at branches while they run, forward and when they are computed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from re2tal.reversible.branch import Branch

__all__ = ["Observer", "observed_by", "observers"]


class Observer(Protocol):
    """What is told of a branch, tile by tile if it is computed so."""

    def begins(self, branch: Branch, x: Tensor) -> None:
        """It is about to be computed of `x`."""

    def ended(self, branch: Branch, f: Tensor) -> None:
        """It made `f` of that."""


_present: list[Observer] = []
"""Not one for each thread: accelerators run backward passes in threads of their own."""


def observers() -> tuple[Observer, ...]:
    """Those that are to be told."""
    return tuple(_present)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Inside, `observer` is told of every branch."""
    _present.append(observer)
    try:
        yield
    finally:
        _present.remove(observer)
