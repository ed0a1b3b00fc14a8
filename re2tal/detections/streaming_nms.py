"""Soft-NMS of a stream: detections that nothing to come can change any more are final.

Soft-NMS picks the best segment, lowers those that overlap it, and again. Scores only fall, and only by picks that
overlap. So a segment that is better than all that it overlaps will be picked next among them, with the score it has,
unless a later window adds one that overlaps it. Later windows begin later: all they find starts after some time, and
what ends before that time is safe from them. Hence the rule, which needs no whole video:

    a segment is final if it ends before that time and is better than all it overlaps that are not final themselves;
    it then lowers those, and again.

What is picked so is what soft-NMS over the whole video picks, with the same score. Two things can break that, and both
are counted: a network may place a segment so far before its window that it overlaps a final one it is better than
("late"); and a segment that waits for a better one, which waits for a better one, may have to be written when its time
is up ("unsettled").

N candidates, M of them final. A level is the logarithm of a score.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from re2tal.common.types import Detections
from re2tal.detections.config import NmsConfig
from re2tal.detections.nms import vote
from re2tal.detections.overlaps import Floats, Indices, partners_iou
from re2tal.detections.suppression import penalties_of

__all__ = ["Candidates", "FinalDetections", "StreamingNms", "pick"]

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Segments of a stream and what is left of their scores."""

    segments: Floats
    """(N, 2) in seconds."""
    labels: Indices
    """(N,)"""
    first_levels: Doubles
    """(N,) as found."""
    levels: Doubles
    """(N,) as lowered by the picks that are final; where those are kept as candidates, with which they were picked."""
    found_at: Doubles
    """(N,) seconds: where the window ends that each was found in."""

    @classmethod
    def of(cls, window: Detections, *, end_seconds: float) -> Self:
        """What was found in a window that ends at `end_seconds`."""
        scores = window.scores.double().numpy()
        levels = np.log(scores, out=np.full(len(scores), -np.inf), where=scores > 0)
        return cls(
            segments=window.segments.float().numpy(),
            labels=window.labels.numpy(),
            first_levels=levels,
            levels=levels,
            found_at=np.full(len(levels), end_seconds),
        )

    @classmethod
    def none(cls) -> Self:
        """Not one."""
        empty = np.zeros(0)
        segments, labels = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
        return cls(segments=segments, labels=labels, first_levels=empty, levels=empty, found_at=empty)

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, which: Indices | Flags) -> Self:
        return replace(self, **{name: values[which] for name, values in vars(self).items()})

    def __add__(self, other: Self) -> Self:
        return replace(self, **{name: np.concatenate((own, vars(other)[name])) for name, own in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class FinalDetections:
    """What is written and never changed again."""

    detections: Detections
    settled: Flags
    """(M,) False where the time was up before nothing could change it."""


def pick(candidates: Candidates, *, until: float, floor: float, config: NmsConfig) -> tuple[Doubles, Doubles]:
    """Soft-NMS as far as nothing that starts at `until` or later can change it.

    Args:
        candidates: of which none is picked yet.
        until: seconds; infinity: as if nothing came any more, which is soft-NMS.
        floor: the lowest level that is ever picked.
        config: of the suppression.

    Returns:
        (N,) levels at which candidates are picked, minus infinity for those that are not;
        (N,) levels of the others, lowered by the picks.
    """
    picked, levels = np.full(len(candidates), -np.inf), candidates.levels.copy()
    keys = (candidates.segments[:, 1], candidates.segments[:, 0])
    order = np.lexsort((*keys, candidates.labels) if config.per_class else keys)  # of equal scores the first goes first
    groups = candidates.labels[order] if config.per_class else np.zeros(len(order), np.int64)
    for group in np.split(order, np.flatnonzero(np.diff(groups)) + 1) if len(order) else ():
        segments, own = candidates.segments[group], levels[group]
        left, waiting = np.ones(len(group), bool), np.zeros(len(group), bool)
        while own[place := int(np.where(left, own, -np.inf).argmax())] >= floor and left[place]:
            left[place] = False
            others = overlapping(segments, segments[place])
            if segments[place, 1] > until or waiting[others].any():
                waiting[place] = True
                continue
            picked[group[place]] = own[place]
            others = others[left[others]]
            own[others] -= penalties(segments[place], segments[others], config=config)
        levels[group] = own
    return picked, levels


def overlapping(segments: Floats, segment: Floats) -> Indices:
    """Which of (N, 2) segments have more than a point in common with one (2,)."""
    return np.flatnonzero((segments[:, 0] < segment[1]) & (segments[:, 1] > segment[0]))


def penalties(segment: Floats, others: Floats, *, config: NmsConfig) -> Floats:
    """(N,) by how much a picked segment (2,) lowers the levels of (N, 2) others."""
    counts = np.array([len(others)])
    iou = partners_iou((segment[:1], segment[1:]), counts=counts, partners=(others[:, 0], others[:, 1]))
    return penalties_of(iou, config=config, lengths=np.full(len(others), segment[1] - segment[0], np.float32))


class StreamingNms:
    """Takes the detections of windows in order and gives those that are final.

    Memory is that of the candidates of the latest windows, whatever the length of the stream. Of `config.max_segments`
    nothing is known before a stream ends; it is left to the caller.

    Args:
        config: of the suppression.
        min_score: final detections below it are left out; the higher it is, the fewer others a detection waits for.
        lookback_seconds: how far before its own beginning a window may place a segment without being late.
        horizon_seconds: how long after it is safe from later windows a detection waits for better ones.
        window_seconds: length of a window.
    """

    def __init__(
        self,
        config: NmsConfig,
        *,
        min_score: float,
        lookback_seconds: float,
        horizon_seconds: float,
        window_seconds: float,
    ) -> None:
        self._config = config
        self._min_score = min_score
        least = np.float64(np.float32(config.min_score))
        # A little below, since scores are rounded: `_final` decides.
        self._floor = float(np.log(max(least, min_score * (1 - 1e-6))))
        self._lookback = lookback_seconds
        self._horizon = horizon_seconds
        self._keep = lookback_seconds + horizon_seconds + 2 * window_seconds
        self._settled_until = self._kept_from = -np.inf
        self._open = self._written = self._voters = Candidates.none()
        self.num_late = 0
        """Candidates that would have been picked before a detection that was final already."""
        self.num_unsettled = 0
        """Candidates that could not wait any longer."""

    def __len__(self) -> int:
        """Candidates in memory."""
        return len(self._open) + len(self._written) + len(self._voters)

    def add(self, window: Detections, *, end_seconds: float) -> None:
        """Add what was found in the next window (see `detect_window`), which ends at `end_seconds`.

        Raises:
            ValueError: a segment is not finite: the network's weights are probably broken.
        """
        if not bool(window.segments.isfinite().all()):
            raise ValueError(
                f"segments must be finite, got NaN or infinity in {window.video_id!r}; the network's weights are "
                "probably broken: take an earlier checkpoint"
            )
        found = Candidates.of(window, end_seconds=end_seconds)
        if self._config.voting_tiou is not None:
            self._voters += found
        found = found[found.levels >= self._floor]
        late = found.segments[:, 0] < self._settled_until
        self._open += found[~late] + self._lowered_by_written(found[late])

    def settle(self, next_window_seconds: float, *, now: float) -> FinalDetections:
        """What has become final, given that no later window begins before `next_window_seconds`.

        Args:
            next_window_seconds: see there.
            now: the end of what has been seen of the stream.
        """
        until = self._settled_until = max(next_window_seconds - self._lookback, self._settled_until)
        picked, levels = pick(self._open, until=until, floor=self._floor, config=self._config)
        final = self._write(picked)
        self._open = replace(self._open, levels=levels)[np.isneginf(picked) & (levels >= self._floor)]
        overdue = np.minimum(self._open.segments[:, 1], self._open.found_at) <= until - self._horizon
        due = self._write_overdue(overdue, now=now) if overdue.any() else []
        self._forget(until - self._keep)
        return self._final(final, due)

    def finish(self, duration_seconds: float) -> FinalDetections:
        """Everything that is left of a stream that ends at `duration_seconds`; nothing may follow."""
        cut = self._open.segments[:, 1] > duration_seconds
        self._open = _cut_to(self._open, duration_seconds)
        self._voters = _cut_to(self._voters, duration_seconds)
        # They overlap what is written by another share now.
        known = cut & (self._open.segments[:, 0] >= self._kept_from)
        self.num_late += int((cut & ~known).sum())
        anew = replace(self._open, levels=self._open.first_levels)[known]
        self._open = self._open[~known] + self._lowered_by_written(anew)
        picked, _ = pick(self._open, until=np.inf, floor=self._floor, config=self._config)
        final = self._final(self._write(picked), [])
        self._open = self._written = self._voters = Candidates.none()
        return final

    def move_origin(self, seconds: float) -> None:
        """Count times from `seconds` later on: single precision gets coarse after some hours."""
        self._open, self._written, self._voters = (
            replace(held, segments=held.segments - np.float32(seconds), found_at=held.found_at - seconds)
            for held in (self._open, self._written, self._voters)
        )
        self._settled_until -= seconds
        self._kept_from -= seconds

    def _write_overdue(self, overdue: Flags, *, now: float) -> list[Candidates]:
        """Pick the overdue ones as if nothing came any more."""
        picked, _ = pick(self._open, until=np.inf, floor=self._floor, config=self._config)
        self.num_unsettled += int(overdue.sum())
        levels = self._open.levels.copy()
        chosen = np.flatnonzero(overdue & (picked > -np.inf))
        for place in chosen:
            same = self._open.labels == self._open.labels[place] if self._config.per_class else True
            others = overlapping(self._open.segments, self._open.segments[place])
            others = others[(np.broadcast_to(same, len(levels)) & ~overdue & (picked <= picked[place]))[others]]
            lowering = penalties(self._open.segments[place], self._open.segments[others], config=self._config)
            levels[others] -= lowering
        written = _cut_to(replace(self._open, levels=picked)[chosen], now)
        self._written += written
        self._open = replace(self._open, levels=levels)[~overdue & (levels >= self._floor)]
        return [written]

    def _write(self, picked: Doubles) -> Candidates:
        """Remember the picks for those that come late."""
        final = replace(self._open, levels=picked)[picked > -np.inf]
        self._written += final
        return final

    def _lowered_by_written(self, late: Candidates) -> Candidates:
        """Candidates that overlap what is written, lowered by it where it goes first; where not, it is too late."""
        levels = late.levels.copy()
        too_late = late.segments[:, 0] < self._kept_from
        written = self._written[self._written.segments[:, 1] > late.segments[:, 0].min(initial=np.inf)]
        for place in np.argsort(-written.levels, kind="stable"):
            segment, level = written.segments[place], written.levels[place]
            others = overlapping(late.segments, segment)
            if self._config.per_class:
                others = others[late.labels[others] == written.labels[place]]
            is_first = levels[others] >= level
            too_late[others[is_first]] = True
            others = others[~is_first]
            levels[others] -= penalties(segment, late.segments[others], config=self._config)
        self.num_late += int((too_late & (levels >= self._floor)).sum())
        return replace(late, levels=levels)[levels >= self._floor]

    def _forget(self, before: float) -> None:
        self._kept_from = max(before, self._kept_from)
        self._written = self._written[self._written.segments[:, 1] > self._kept_from]
        votes_until = np.minimum(self._voters.segments[:, 1], self._voters.found_at)
        self._voters = self._voters[votes_until > self._kept_from]

    def _final(self, settled: Candidates, unsettled: list[Candidates]) -> FinalDetections:
        is_settled = np.arange(len(settled) + sum(map(len, unsettled))) < len(settled)
        for more in unsettled:
            settled += more
        scores = np.exp(settled.levels).astype(np.float32)
        order = np.lexsort((settled.segments[:, 0], -scores))
        order = order[scores[order].astype(np.float64) >= self._min_score]
        segments = settled.segments[order]
        if self._config.voting_tiou is not None:
            votes = np.exp(self._voters.first_levels).astype(np.float32)
            segments = vote(segments, candidates=self._voters.segments, scores=votes, tiou=self._config.voting_tiou)
        found = Detections(
            video_id="",
            segments=torch.from_numpy(segments),
            scores=torch.from_numpy(scores[order]),
            labels=torch.from_numpy(settled.labels[order]),
        )
        return FinalDetections(detections=found, settled=is_settled[order])


def _cut_to(candidates: Candidates, end_seconds: float) -> Candidates:
    """Segments clamped to the end of the stream, as `TimeGrid` clamps to that of a video."""
    return replace(candidates, segments=np.minimum(candidates.segments, np.float32(end_seconds)))
