"""Bouts of one video, and the stretches in which somebody has looked for them: geometry only.

N bouts of a class, S observed stretches.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Observation", "clipped", "merged", "seconds_between", "seconds_in"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Observation:
    """What was seen in one video."""

    video_id: str
    stretches: np.ndarray
    """(S, 2) float64 in seconds: what was observed; in the order of time, apart from each other."""
    bouts: Mapping[str, np.ndarray]
    """(N, 2) float64 in seconds, by class; in the order of time, without overlap, inside the stretches. A bout that
    ends where it starts is a point event."""
    frame_seconds: float | None = None
    """Length of a frame of the video, where the file tells it."""

    def __repr__(self) -> str:
        return f"Observation({self.video_id!r}, {sum(map(len, self.bouts.values()))} bouts)"

    @property
    def seconds(self) -> float:
        """Observed time."""
        return seconds_in(self.stretches, self.stretches)

    def within(self, stretches: np.ndarray) -> "Observation":
        """What was seen inside of other stretches (S, 2) only."""
        both = clipped(self.stretches, stretches)
        bouts = {label: clipped(bouts, both) for label, bouts in self.bouts.items()}
        return replace(self, stretches=both, bouts=bouts)

    def of(self, label: str) -> np.ndarray:
        """(N, 2) bouts of a class."""
        return self.bouts.get(label, np.zeros((0, 2)))


def merged(segments: Iterable[tuple[float, float]] | np.ndarray, *, gap: float | None) -> np.ndarray:
    """Segments in the order of time, those that overlap joined to one; equal points become one.

    Args:
        segments: (N, 2) in any order.
        gap: Join those that lie at most so far apart, too; 0 joins those that touch. None: only those that overlap.
    """
    table = np.array(list(segments), np.float64).reshape(-1, 2)
    joined: list[list[float]] = []
    for start, end in table[np.lexsort((table[:, 1], table[:, 0]))].tolist():
        if joined and _belongs(joined[-1], start, end, gap=gap):
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return np.array(joined, np.float64).reshape(-1, 2)


def _belongs(before: list[float], start: float, end: float, *, gap: float | None) -> bool:
    if start < before[1] or [start, end] == before:
        return True
    return gap is not None and start - before[1] <= gap


def clipped(segments: np.ndarray, stretches: np.ndarray) -> np.ndarray:
    """The parts of segments (N, 2) that lie in stretches (S, 2), in the order of time.

    A segment across two stretches gives two parts. A point stays one, at either end of a stretch too.
    """
    starts = np.maximum(segments[:, None, 0], stretches[None, :, 0])
    ends = np.minimum(segments[:, None, 1], stretches[None, :, 1])
    is_point = segments[:, 0] == segments[:, 1]
    inside = (ends > starts) | (is_point[:, None] & (ends == starts))
    first = inside & (np.cumsum(inside, 1) == 1)  # a point where two stretches touch lies in both
    inside = np.where(is_point[:, None], first, inside)
    return np.stack([starts[inside], ends[inside]], 1)


def seconds_between(segments: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(E - 1,) how much of the segments (N, 2), in order and without overlap, lies between neighbouring edges (E,)."""
    if not len(segments):
        return np.zeros(len(edges) - 1)
    until = np.append(0.0, np.cumsum(segments[:, 1] - segments[:, 0]))
    covered = np.interp(edges, segments.ravel(), np.stack([until[:-1], until[1:]], 1).ravel())
    return np.diff(covered)


def seconds_in(segments: np.ndarray, stretches: np.ndarray) -> float:
    """How much of the segments (N, 2) lies in the stretches (S, 2), both without overlap."""
    parts = clipped(segments, stretches)
    return float((parts[:, 1] - parts[:, 0]).sum())
