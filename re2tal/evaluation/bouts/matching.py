"""Which bout of one observer is which of the other: as many pairs as there can be, each bout in one of them.

Both sides hold bouts of one class, in the order of time and without overlap.

Pairs are visited in the order of the first side, then of the second, and taken if both are free. That gives the largest
number of pairs. Let (i, j) be the first possible pair. If a best choice has neither (i, j') nor (i', j), or one of them
alone, then (i, j) can be added or take its place. Both at once, with i < i' and j < j', can only be

* by overlap: never, since i overlaps j' and i' overlaps j only if one side overlaps itself;
* by tolerance: where (i', j') is possible too, so that (i, j) and (i', j') take their place. For the bouts of either
  side are ordered by their starts and by their ends, and so those near enough to i' reach as far as those near to i.
"""

from collections.abc import Iterable, Iterator

import numpy as np

__all__ = ["match_by_overlap", "match_by_tolerance"]

_ROUNDING = 1e-9
"""Seconds by which a difference may pass the tolerance: times are written as decimals."""


def match_by_tolerance(a: np.ndarray, b: np.ndarray, *, tolerance: float) -> list[tuple[int, int]]:
    """Pairs of bouts (N, 2) and (M, 2) whose starts and whose ends lie at most `tolerance` seconds apart."""
    reach = tolerance + _ROUNDING
    first = np.searchsorted(b[:, 0], a[:, 0] - reach)
    last = np.searchsorted(b[:, 0], a[:, 0] + reach, side="right")
    near = (
        (row, other)
        for row, (low, high) in enumerate(zip(first, last, strict=True))
        for other in range(low, high)
        if abs(a[row, 1] - b[other, 1]) <= reach
    )
    return list(_free(near))


def match_by_overlap(a: np.ndarray, b: np.ndarray, *, tiou: float) -> list[tuple[int, int]]:
    """Pairs of bouts (N, 2) and (M, 2) with at least this temporal IoU; point events have none."""
    first = np.searchsorted(b[:, 1], a[:, 0], side="right")
    last = np.searchsorted(b[:, 0], a[:, 1])
    overlapping = (
        (row, other)
        for row, (low, high) in enumerate(zip(first, last, strict=True))
        for other in range(low, high)
        if _iou(a[row], b[other]) >= tiou
    )
    return list(_free(overlapping))


def _free(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The pairs whose sides are not in an earlier pair."""
    ours: set[int] = set()
    theirs: set[int] = set()
    for row, other in pairs:
        if row not in ours and other not in theirs:
            ours.add(row)
            theirs.add(other)
            yield row, other


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    intersection = min(a[1], b[1]) - max(a[0], b[0])
    union = max(a[1], b[1]) - min(a[0], b[0])
    return float(intersection / union) if union > 0 else 0.0
