"""What is counted of bouts: how many, how long, when, and what follows what.

Times are of the video; unobserved stretches count nowhere. Bouts of different classes may overlap.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from re2tal.evaluation.bouts.observation import Observation, merged, seconds_between, seconds_in

__all__ = [
    "Bin",
    "ClassSummary",
    "Transitions",
    "bins_of",
    "classes_of",
    "intervals_of",
    "summarize",
    "summarize_classes",
    "transitions_of",
]

_NO_TIME = 1e-9
"""Seconds; differences of sums of times are that inexact."""


@dataclass(frozen=True, kw_only=True)
class ClassSummary:
    """Figures of the bouts of one class, in one video or in several. None where there is nothing to tell."""

    label: str
    num_videos: int
    """With the class or without."""
    observed_seconds: float
    num_bouts: int
    total_seconds: float
    mean_seconds: float | None
    median_seconds: float | None
    sd_seconds: float | None
    """Of the sample (n - 1); None below two bouts."""
    shortest_seconds: float | None
    longest_seconds: float | None
    latency_seconds: float | None
    """Observed time before the first bout begins; of several videos the mean over those with a bout."""
    mean_interval_seconds: float | None
    """From the end of a bout to the start of the next of its class."""

    @property
    def bouts_per_minute(self) -> float | None:
        """Of observed time."""
        return 60 * self.num_bouts / self.observed_seconds if self.observed_seconds else None

    @property
    def share_of_time(self) -> float | None:
        """Of observed time."""
        return self.total_seconds / self.observed_seconds if self.observed_seconds else None


@dataclass(frozen=True, kw_only=True)
class Bin:
    """A piece of a video's time."""

    start: float
    end: float
    observed_seconds: float
    num_bouts: tuple[int, ...]
    """K bouts that begin in it."""
    seconds: tuple[float, ...]
    """K seconds of each class in it."""
    idle_seconds: float
    """Observed time without a bout of any class."""


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """Which class follows which."""

    labels: tuple[str, ...]
    """K classes."""
    counts: np.ndarray
    """(K, K) int64: how often a bout of the row's class is followed by one of the column's."""

    @property
    def probabilities(self) -> np.ndarray:
        """(K, K) of the column's class after the row's; nan in a row that nothing follows."""
        total = self.counts.sum(1, keepdims=True)
        return np.divide(self.counts, total, out=np.full(self.counts.shape, np.nan), where=total > 0)


def classes_of(observations: Iterable[Observation]) -> tuple[str, ...]:
    """All classes with a bout, sorted."""
    return tuple(sorted({label for observation in observations for label in observation.bouts}))


def summarize(observation: Observation, label: str) -> ClassSummary:
    """Figures of one class in one video."""
    return _summary([observation], label)


def summarize_classes(observations: Sequence[Observation]) -> tuple[ClassSummary, ...]:
    """Figures of every class over all videos; lengths and intervals are pooled."""
    return tuple(_summary(observations, label) for label in classes_of(observations))


def _summary(observations: Sequence[Observation], label: str) -> ClassSummary:
    bouts = [observation.of(label) for observation in observations]
    lengths = np.concatenate([np.zeros(0), *(found[:, 1] - found[:, 0] for found in bouts)])
    intervals = [end - start for observation in observations for start, end in intervals_of(observation, label)]
    latencies = [
        seconds_in(np.array([[0.0, found[0, 0]]]), observation.stretches)
        for observation, found in zip(observations, bouts, strict=True)
        if len(found)
    ]
    some = len(lengths) > 0
    return ClassSummary(
        label=label,
        num_videos=len(observations),
        observed_seconds=sum(observation.seconds for observation in observations),
        num_bouts=len(lengths),
        total_seconds=float(lengths.sum()),
        mean_seconds=float(lengths.mean()) if some else None,
        median_seconds=float(np.median(lengths)) if some else None,
        sd_seconds=float(lengths.std(ddof=1)) if len(lengths) > 1 else None,
        shortest_seconds=float(lengths.min()) if some else None,
        longest_seconds=float(lengths.max()) if some else None,
        latency_seconds=float(np.mean(latencies)) if latencies else None,
        mean_interval_seconds=float(np.mean(intervals)) if intervals else None,
    )


def intervals_of(observation: Observation, label: str) -> list[tuple[float, float]]:
    """From the end of each bout to the start of the next, where all the time between was observed."""
    bouts = observation.of(label)
    places = _stretch_of(bouts, observation.stretches)
    return [
        (float(before[1]), float(after[0]))
        for before, after, one, other in zip(bouts, bouts[1:], places, places[1:], strict=False)
        if one == other
    ]


def bins_of(observation: Observation, labels: Sequence[str], *, seconds: float) -> list[Bin]:
    """The time budget: the video's time in bins from 0 on, without those in which nothing was observed."""
    if not len(observation.stretches):
        return []
    end = float(observation.stretches[-1, 1])
    edges = np.append(np.arange(0, end - _NO_TIME, seconds), end)
    everything = np.concatenate([np.zeros((0, 2)), *observation.bouts.values()])
    observed = seconds_between(observation.stretches, edges)
    busy = seconds_between(merged(everything, gap=0.0), edges)
    bouts = [observation.of(label) for label in labels]
    spent = [seconds_between(of_class, edges) for of_class in bouts]
    # A bin holds what begins in it before its end; the last one has its end, too, for points there.
    begun = [np.histogram(of_class[:, 0], edges)[0] for of_class in bouts]
    return [
        Bin(
            start=float(edges[place]),
            end=float(edges[place + 1]),
            observed_seconds=float(observed[place]),
            num_bouts=tuple(int(counts[place]) for counts in begun),
            seconds=tuple(float(of_class[place]) for of_class in spent),
            idle_seconds=max(float(observed[place] - busy[place]), 0.0),
        )
        for place in np.flatnonzero(observed > _NO_TIME)
    ]


def transitions_of(observations: Iterable[Observation], labels: Sequence[str]) -> Transitions:
    """What follows what, in the order of the starts (of equal ones, of the ends, then of the names).

    A bout may be followed by one of its own class. Across unobserved time nothing follows.
    """
    place = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for observation in observations:
        rows = sorted(
            (float(start), float(end), label)
            for label, bouts in observation.bouts.items()
            for start, end in bouts
            if label in place
        )
        table = np.array([row[:2] for row in rows]).reshape(-1, 2)
        stretches = _stretch_of(table, observation.stretches)
        for before, after, one, other in zip(rows, rows[1:], stretches, stretches[1:], strict=False):
            if one == other:
                counts[place[before[2]], place[after[2]]] += 1
    return Transitions(labels=tuple(labels), counts=counts)


def _stretch_of(bouts: np.ndarray, stretches: np.ndarray) -> np.ndarray:
    """(N,) the number of the observed stretch that each bout lies in."""
    return np.searchsorted(stretches[:, 0], bouts[:, 0], side="right")
