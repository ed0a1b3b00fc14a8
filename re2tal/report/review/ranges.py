"""Stretches of time as sorted, disjoint pairs: joined, cut and clipped. Pure functions; seconds throughout."""

from collections.abc import Iterable

__all__ = ["Ranges", "cut", "inside", "join"]

Ranges = tuple[tuple[float, float], ...]
"""(start, end) pairs with start < end, sorted; none touches another."""


def join(ranges: Iterable[tuple[float, float]]) -> Ranges:
    """The union of any pairs; what touches becomes one, and what is empty is left out."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def cut(ranges: Ranges, start: float, end: float) -> Ranges:
    """`ranges` without what lies between `start` and `end`."""
    pieces = [(a, min(b, start)) for a, b in ranges] + [(max(a, end), b) for a, b in ranges]
    return join(piece for piece in pieces if piece[0] < piece[1])


def inside(ranges: Ranges, start: float, end: float) -> Ranges:
    """The parts of `ranges` between `start` and `end`."""
    return join((max(a, start), min(b, end)) for a, b in ranges)
