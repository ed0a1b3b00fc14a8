"""For programs that rehearse a step on tensors without values, to know what it will take.

They ask what the engine is doing, and may have it compute a few cells of a branch instead of all: cells are freed one
after the other, so the largest one decides what is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

from re2tal.reversible.cells import Cell

__all__ = ["computing_a_cell", "few_cells", "is_computing_a_cell", "to_compute"]


class _State(threading.local):
    in_cell = False
    few = False


_state = _State()


@contextmanager
def computing_a_cell() -> Iterator[None]:
    """Around what belongs to one cell of a branch, or to a whole branch."""
    before, _state.in_cell = _state.in_cell, True
    try:
        yield
    finally:
        _state.in_cell = before


def is_computing_a_cell() -> bool:
    """Whether this thread is inside."""
    return _state.in_cell


@contextmanager
def few_cells() -> Iterator[None]:
    """Inside, branches compute their first, largest and last cell; what they return has no meaning."""
    before, _state.few = _state.few, True
    try:
        yield
    finally:
        _state.few = before


def to_compute(cells: Sequence[Cell], shape: tuple[int, ...]) -> Sequence[Cell]:
    """The cells of an input of `shape` that are to be computed."""
    if not _state.few or len(cells) <= 3:
        return cells

    def size(cell: Cell) -> int:
        return prod(len(range(*part.indices(length))) for part, length in zip(cell.read, shape, strict=False))

    return [cells[0], max(cells, key=size), cells[-1]]
