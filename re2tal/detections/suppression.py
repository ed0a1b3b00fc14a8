"""Soft-NMS without going from one pick to the next.

By definition the best segment is picked, those that overlap it are lowered, and again. But scores only fall, and only
by picks that overlap. So whichever segment is better than all that it overlaps will be picked with the score it has,
whatever is picked elsewhere before: all such segments, of all classes and everywhere in the video, are picked in one
*round*. A video has some dozens of rounds where it has thousands of picks.

To find them, overlapping segments must be compared in pairs, and most pairs are of segments that are nothing yet. So
rounds are made among the best segments alone, a *batch*: those down to some part of the score of the best one left.
No other can come before them. Once they are picked or have fallen out of the batch, their picks lower all others, and
the next batch begins.

A factor is kept as its logarithm, a *penalty*, so that what several picks do to a segment is a sum.

N segments, sorted by group, start and end: who comes first in this order goes first among equal scores. F segments in
the batch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re2tal.detections.config import NmsConfig
from re2tal.detections.overlaps import Floats, Indices, expand, partners_iou

__all__ = ["penalties_of", "suppress"]

Doubles = NDArray[np.float64]

_STEP = np.log(2.5)
"""How far a batch goes below the best score left, in logarithms. (Measured, one core, 2000 segments of 20 classes
and 10,000 of 20: down to 1 / 1.5 4.2 and 8.4 ms, 1 / 2 2.9 and 6.8, 1 / 2.5 2.8 and 7.5, 1 / 3 2.8 and 7.7, 1 / 4 3.2
and 8.5; all in one batch 16 and 80.)"""
_PAIRS, _PAIRS_EACH = 2000, 1
"""Of a batch at most, in all and for each segment that there is: where all overlap, a round has one pick and goes
through all pairs, so that these should not cost much more than what every batch costs, which goes through all
segments."""


def suppress(segments: Floats, *, scores: Floats, groups: Indices, config: NmsConfig) -> tuple[Indices, Doubles]:
    """The best segments and what is left of their scores.

    Args:
        segments: (N, 2) in any unit, sorted by group, start and end.
        scores: (N,) at least `config.min_score`.
        groups: (N,) ascending, from 0 on; segments suppress those of their own group.
        config: see there.

    Returns:
        (M,) which are kept, best first, M <= `config.max_segments`; (M,) their scores.
    """
    line = _Line(segments, groups=groups, config=config)
    levels = np.log(scores.astype(np.float64))
    floor = float(np.log(np.float64(np.float32(config.min_score))))
    picks, of_picks = np.zeros(0, np.int64), np.zeros(0)
    while len(levels) and (best := levels.max()) >= floor:
        if np.count_nonzero(of_picks > best) >= config.max_segments:
            break
        batch = line.batch(levels, lowest=max(best - _STEP, floor))
        picked, of_picked = line.rounds(batch, levels[batch.members])
        picks, of_picks = np.concatenate((picks, picked)), np.concatenate((of_picks, of_picked))
        levels[picked] = -np.inf
        if len(picks) < config.max_segments or levels.max() >= of_picks.min():
            left = np.flatnonzero(levels >= floor)
            levels[left] -= line.penalties(np.sort(picked), left)
    order = np.lexsort((picks, -of_picks))[: config.max_segments]
    return picks[order], np.exp(of_picks[order])


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """The best segments that are left, and what they need to stay ahead of all others."""

    members: Indices
    """(F,) ascending."""
    needed: Doubles
    """(F,) the lowest level of each that is."""
    ranges: tuple[Indices, Indices]
    """Which members each overlaps, see `_Line._ranges`."""


class _Line:
    """All segments on one line, group after group: of each, those after it that it overlaps lie in one range."""

    def __init__(self, segments: Floats, *, groups: Indices, config: NmsConfig) -> None:
        self._config, self._groups = config, groups
        self._starts, self._ends = np.ascontiguousarray(segments.T)
        length = float(self._ends.max()) - float(self._starts.min()) + 1 if len(segments) else 1.0
        shift = groups * length  # float64
        # (N,) of each, the first segment after it that starts after its end.
        self._behind = np.searchsorted(self._starts + shift, self._ends + shift)
        np.maximum(self._behind, np.arange(1, len(segments) + 1), out=self._behind)

    def batch(self, levels: Doubles, *, lowest: float) -> _Batch:
        """The segments from the level `lowest` up, or fewer of them where too many overlap."""
        members = np.flatnonzero(levels >= lowest)
        behind = len(levels)  # of those whose level is just the lowest, who has this number or a higher one is out
        while True:
            first, last = self._ranges(members, members)
            num_pairs = int((last - first).sum())
            share = (_PAIRS + _PAIRS_EACH * len(levels)) / max(num_pairs, 1)
            if share >= 1:
                needed = np.where(members < behind, lowest, np.nextafter(lowest, np.inf))
                return _Batch(members=members, needed=needed, ranges=(first, last))
            of_group = np.unique(self._groups[members], return_counts=True)[1]
            if num_pairs > (of_group * (of_group - 1)).sum() / 4:
                # Half of all pairs overlap: hardly more than one in each group can be picked at once.
                members = _best_of_each(self._groups[members], levels[members], members)
                alone = np.zeros(len(members), np.int64)
                return _Batch(members=members, needed=np.full(len(members), lowest), ranges=(alone, alone))
            members, behind = _best(members, levels[members], count=int(len(members) * share**0.5))
            lowest = float(levels[behind])

    def rounds(self, batch: _Batch, levels: Doubles) -> tuple[Indices, Doubles]:
        """Pick until the batch is empty.

        Args:
            batch: see there.
            levels: (F,) logarithms of the scores of its members.

        Returns:
            The picks and their levels.
        """
        earlier, later, iou = self._pairs(batch.members, batch.members, *batch.ranges)
        penalties = self._penalties(iou, batch.members, earlier)
        # By how much the later one lowers the earlier, where that differs.
        backward = self._penalties(iou, batch.members, later) if self._config.iou_threshold_slope else None
        picks: list[Indices] = []
        picked_levels: list[Doubles] = []
        left = np.ones(len(levels), bool)
        while left.any():
            is_earlier_better = levels.take(earlier) >= levels.take(later)
            worse = np.where(is_earlier_better, later, earlier)
            free = left.copy()
            free[worse] = False
            found = free.nonzero()[0]
            picks.append(found)
            picked_levels.append(levels.take(found))
            if not len(worse):
                break
            lowered = (free.take(earlier) | free.take(later)).nonzero()[0]
            lowering = penalties if backward is None else np.where(is_earlier_better, penalties, backward)
            levels = levels - np.bincount(worse.take(lowered), lowering.take(lowered), len(levels))
            levels[found] = -np.inf
            left = levels >= batch.needed
            stay = (left.take(earlier) & left.take(later)).nonzero()[0]
            earlier, later, penalties = earlier.take(stay), later.take(stay), penalties.take(stay)
            backward = None if backward is None else backward.take(stay)
        return batch.members[np.concatenate(picks)], np.concatenate(picked_levels)

    def penalties(self, picks: Indices, others: Indices) -> Doubles:
        """(O,) by how much the picks lower the levels of other segments; both ascending."""
        picked, later, iou = self._pairs(picks, others, *self._ranges(picks, others))
        found = np.bincount(later, self._penalties(iou, picks, picked), len(others)).astype(np.float64, copy=False)
        earlier, picked, iou = self._pairs(others, picks, *self._ranges(others, picks))
        found += np.bincount(earlier, self._penalties(iou, picks, picked), len(others))
        return found

    def _ranges(self, segments: Indices, others: Indices) -> tuple[Indices, Indices]:
        """Of each segment, which of the others come after it and overlap it: (P,) from and (P,) to, places in `others`.

        Args:
            segments: (P,) ascending.
            others: (O,) ascending.
        """
        before = np.zeros(len(self._behind) + 1, np.int64)  # how many of the others come before each segment
        before[others + 1] = 1
        np.cumsum(before, out=before)
        return before.take(segments + 1), before.take(self._behind.take(segments))

    def _pairs(
        self, segments: Indices, others: Indices, first: Indices, last: Indices
    ) -> tuple[Indices, Indices, Floats]:
        """The pairs of `_ranges`, Q of them: (Q,) places in `segments`, (Q,) places in `others`, (Q,) IoU."""
        counts, places = expand(first, last)
        partners = others.take(places)
        iou = partners_iou(
            (self._starts.take(segments), self._ends.take(segments)),
            counts=counts,
            partners=(self._starts.take(partners), self._ends.take(partners)),
        )
        return np.repeat(np.arange(len(segments)), counts), places, iou

    def _penalties(self, iou: Floats, picks: Indices, places: Indices) -> Floats:
        """(Q,) minus the logarithm of the factor for each pair, of which `picks[places]` lowers the other one."""
        if self._config.iou_threshold == self._config.iou_threshold_slope == 0:
            return penalties_of(iou, config=self._config)
        lengths = self._ends[picks] - self._starts[picks]
        return penalties_of(iou, config=self._config, lengths=lengths[places])


def penalties_of(iou: Floats, *, config: NmsConfig, lengths: Floats | None = None) -> Floats:
    """Minus the logarithms of the factors by which picked segments lower others.

    Args:
        iou: (Q,) of a picked segment and another one.
        config: see there.
        lengths: (Q,) of the picked segments; not needed where no IoU is too small to count.
    """
    match config.decay:
        case "gaussian":
            penalties = iou * iou
            penalties /= np.float32(config.sigma)
        case "linear":
            with np.errstate(divide="ignore"):  # nothing is left of a copy
                penalties = -np.log1p(-iou)
        case "hard":
            penalties = np.where(iou > 0, np.float32(np.inf), np.float32(0))
        case _:
            raise AssertionError(config.decay)
    if lengths is None:
        return penalties
    threshold = np.float32(config.iou_threshold) + np.float32(config.iou_threshold_slope) * lengths
    return np.where(iou >= threshold, penalties, np.float32(0))


def _best(members: Indices, levels: Doubles, *, count: int) -> tuple[Indices, int]:
    """The best `count` of more members, of equal ones the first, ascending; and the best of the others."""
    edge = -np.partition(-levels, count)[count]
    above, level = np.flatnonzero(levels > edge), np.flatnonzero(levels == edge)
    room = count - len(above)
    return members[np.sort(np.concatenate((above, level[:room])))], int(members[level[room]])


def _best_of_each(groups: Indices, levels: Doubles, members: Indices) -> Indices:
    """The best member of each group, of equal ones the first."""
    begin = np.flatnonzero(np.diff(groups, prepend=-1))
    highest = np.maximum.reduceat(levels, begin)
    equal = np.flatnonzero(levels == np.repeat(highest, np.diff(begin, append=len(groups))))
    return members[equal[np.flatnonzero(np.diff(groups[equal], prepend=-1))]]
