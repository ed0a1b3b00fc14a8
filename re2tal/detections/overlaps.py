"""Which segments overlap, found by sorting instead of by comparing all with all.

N segments, P of them with a range of partners each, Q partners of all together.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Indices", "expand", "partners_iou"]

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_TINY = 1e-7
"""Smallest union: keeps the IoU of two empty segments at 0."""


def expand(first: Indices, last: Indices) -> tuple[Indices, Indices]:
    """Ranges written out: [2, 4) and [7, 8) are 2, 3, 7.

    Args:
        first: (P,) where each range begins.
        last: (P,) where it ends; not before it begins.

    Returns:
        (P,) lengths of the ranges, (Q,) their numbers.
    """
    counts = last - first
    ends = np.cumsum(counts)
    shift = np.repeat(first - (ends - counts), counts)
    return counts, np.arange(len(shift)) + shift


def partners_iou(segments: tuple[Floats, Floats], *, counts: Indices, partners: tuple[Floats, Floats]) -> Floats:
    """IoU of each segment with its partners.

    Args:
        segments: (P,) starts and (P,) ends, in any unit.
        counts: (P,) how many partners each has.
        partners: (Q,) starts and (Q,) ends in the same unit, those of the first segment first.

    Returns:
        (Q,) in [0, 1]; 0 where both are empty.
    """
    starts, ends = np.repeat(segments[0], counts), np.repeat(segments[1], counts)
    overlap = np.minimum(ends, partners[1])
    overlap -= np.maximum(starts, partners[0])
    np.maximum(overlap, 0, out=overlap)
    # Of two segments that overlap, the union is what lies between the first start and the last end.
    union = np.maximum(ends, partners[1], out=ends)
    union -= np.minimum(starts, partners[0], out=starts)
    np.maximum(union, np.float32(_TINY), out=union)
    overlap /= union
    return overlap
