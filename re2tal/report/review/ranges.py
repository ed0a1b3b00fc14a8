"""Stretches of time joined and clipped, to the last bit: what is taken back must leave nothing. Pure functions."""

from collections.abc import Iterable

from re2tal.common.labelled import Stretches

__all__ = ["inside", "join"]


def join(stretches: Iterable[tuple[float, float]]) -> Stretches:
    """The union of any (start, end) pairs; what touches becomes one, and what is empty is left out."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def inside(stretches: Stretches, start: float, end: float) -> Stretches:
    """The parts of `stretches` between `start` and `end`."""
    return join((max(a, start), min(b, end)) for a, b in stretches)
