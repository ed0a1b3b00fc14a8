"""For programs that run a step dry, on tensors without values, to know what it will take.

They ask what the engine is doing, and may have it compute a few tiles of a branch instead of all: tiles are freed one
after the other, so the largest one decides what is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

from re2tal.reversible.tiles import Rows, Tile

__all__ = ["computing_a_tile", "few_tiles", "is_computing_a_tile", "to_compute"]


class _State(threading.local):
    in_tile = False
    few = False


_state = _State()


@contextmanager
def computing_a_tile() -> Iterator[None]:
    """Around what belongs to one tile of a branch, or to a whole branch."""
    before, _state.in_tile = _state.in_tile, True
    try:
        yield
    finally:
        _state.in_tile = before


def is_computing_a_tile() -> bool:
    """Whether this thread is inside."""
    return _state.in_tile


@contextmanager
def few_tiles() -> Iterator[None]:
    """Inside, branches compute their first, largest and last tile; what they return has no meaning."""
    before, _state.few = _state.few, True
    try:
        yield
    finally:
        _state.few = before


def to_compute(tiles: Sequence[Tile], shape: tuple[int, ...]) -> Sequence[Tile]:
    """The tiles of an input of `shape` that are to be computed."""
    if not _state.few or len(tiles) <= 3:
        return tiles

    def size(tile: Tile) -> int:
        if isinstance(tile.read, Rows):
            return tile.read.indices.numel()
        return prod(len(range(*part.indices(length))) for part, length in zip(tile.read, shape, strict=False))

    return [tiles[0], max(tiles, key=size), tiles[-1]]
