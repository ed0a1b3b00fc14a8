"""Figures of bouts as tables with one observation a row, for CSV files."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from re2tal.common.terminal import print_table
from re2tal.evaluation.bouts.observation import Observation
from re2tal.evaluation.bouts.summary import (
    ClassSummary,
    Transitions,
    bins_of,
    classes_of,
    intervals_of,
    summarize,
    summarize_classes,
    transitions_of,
)

__all__ = ["FigureTable", "print_summary", "summary_tables"]

Row = tuple[str | float | None, ...]

_FIGURES = (
    "observed_seconds", "bouts", "bouts_per_minute", "total_seconds", "share_of_time", "mean_seconds", "median_seconds",
    "sd_seconds", "shortest_seconds", "longest_seconds", "latency_seconds", "mean_interval_seconds",
)  # fmt: skip
"""Columns of a table of classes, called as the fields of `ClassSummary`, but for the number of bouts."""


@dataclass(frozen=True, kw_only=True)
class FigureTable:
    """Rows under headings."""

    header: tuple[str, ...]
    rows: list[Row]


def summary_tables(observations: Sequence[Observation], *, bin_seconds: float) -> dict[str, FigureTable]:
    """All tables of a summary, by the name of their file without suffix."""
    labels = classes_of(observations)
    segment = ("start_seconds", "end_seconds", "seconds")
    bins = ("bin_start_seconds", "bin_end_seconds", "label", "observed_seconds", "bouts", "seconds", "share_of_time")
    pairs = ("from", "to", "count", "probability")
    content: dict[str, tuple[tuple[str, ...], Iterable[Row]]] = {
        "by_class": (
            ("label", "videos", *_FIGURES),
            ((item.label, item.num_videos, *_figures(item)) for item in summarize_classes(observations)),
        ),
        "by_video": (
            ("video", "label", *_FIGURES),
            ((item.video_id, label, *_figures(summarize(item, label))) for item in observations for label in labels),
        ),
        "bouts": (
            ("video", "label", *segment),
            (
                (item.video_id, label, start, end, end - start)
                for item in observations
                for start, end, label in _in_order(item)
            ),
        ),
        "intervals": (
            ("video", "label", *segment),
            (
                (item.video_id, label, start, end, end - start)
                for item in observations
                for label in labels
                for start, end in intervals_of(item, label)
            ),
        ),
        "budget": (("video", *bins), _budget(observations, labels, seconds=bin_seconds)),
        "transitions": (pairs, _transitions(transitions_of(observations, labels))),
        "transitions_by_video": (
            ("video", *pairs),
            (
                (item.video_id, *row)
                for item in observations
                for row in _transitions(transitions_of([item], labels))
                if row[2]
            ),
        ),
    }
    return {name: FigureTable(header=header, rows=list(rows)) for name, (header, rows) in content.items()}


def _figures(item: ClassSummary) -> Row:
    return tuple(getattr(item, "num_bouts" if name == "bouts" else name) for name in _FIGURES)


def _in_order(observation: Observation) -> list[tuple[float, float, str]]:
    return sorted(
        (float(start), float(end), label) for label, bouts in observation.bouts.items() for start, end in bouts
    )


def _budget(observations: Sequence[Observation], labels: Sequence[str], *, seconds: float) -> Iterator[Row]:
    """A row for every bin and class, and one without a label for the time without any bout."""
    for observation in observations:
        for item in bins_of(observation, labels, seconds=seconds):
            about = (observation.video_id, item.start, item.end)
            for label, count, spent in zip(labels, item.num_bouts, item.seconds, strict=True):
                yield *about, label, item.observed_seconds, count, spent, spent / item.observed_seconds
            idle = item.idle_seconds
            yield *about, "", item.observed_seconds, None, idle, idle / item.observed_seconds


def _transitions(transitions: Transitions) -> Iterator[Row]:
    """Every pair of classes, and how often it occurs."""
    probabilities = transitions.probabilities
    for row, column in np.ndindex(transitions.counts.shape):
        about = (transitions.labels[row], transitions.labels[column])
        yield *about, int(transitions.counts[row, column]), float(probabilities[row, column])


def print_summary(classes: Sequence[ClassSummary], *, num_videos: int) -> None:
    """The main figures of every class over all videos."""
    header = ["", "bouts", "per minute", "total s", "share %", "mean s", "median s", "SD s", "latency s"]
    rows = [
        [
            item.label,
            str(item.num_bouts),
            _figure(item.bouts_per_minute),
            _figure(item.total_seconds),
            _figure(None if item.share_of_time is None else 100 * item.share_of_time),
            *map(_figure, (item.mean_seconds, item.median_seconds, item.sd_seconds, item.latency_seconds)),
        ]
        for item in classes
    ]
    observed = classes[0].observed_seconds if classes else 0.0
    print_table([header, *rows], title="Bouts", caption=f"{num_videos} videos, {observed:.1f} s observed")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
