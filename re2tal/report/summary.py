"""The page of a summary: an ethogram of every video, time budgets, transitions, and the figures of every class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from re2tal.evaluation.bouts import ClassSummary, Observation, classes_of, summarize_classes
from re2tal.evaluation.bouts.summary import Transitions, bins_of, transitions_of
from re2tal.evaluation.bouts.tables import MOST_PAIRED
from re2tal.report.page import render_still, write_text
from re2tal.report.svg import NUM_COLOURS, Bars, Frame, stacked_bars

__all__ = ["write_summary"]

_MOST_VIDEOS = 50
"""With an ethogram of their own; a page of thousands is no picture any more."""
_MOST_BINS = 40
"""Bars of a chart; of more bins, neighbours are drawn as one."""
_LANE, _NAMES, _MARGIN, _WIDTH = 16, 150, 20, 1000
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
_MOST_TICKS = 10
_BUDGET = Frame(width=560, height=240)
_SHADES = 10


def write_summary(
    path: Path, observations: Sequence[Observation], *, title: str, bin_seconds: float, notes: Sequence[str] = ()
) -> int:
    """Write the page, whole or not at all; returns its size in bytes.

    Args:
        path: of the HTML file.
        observations: what was seen, video by video.
        title: of the page.
        bin_seconds: of the time budget.
        notes: what a reader should know.
    """
    labels = classes_of(observations)
    classes = summarize_classes(observations)
    shown = observations[:_MOST_VIDEOS]
    most = {item.label for item in sorted(classes, key=lambda item: -item.num_bouts)[:MOST_PAIRED]}
    drawn = [label for label in labels if label in most]
    context = {
        "title": title,
        "notes": [*notes, *_left_out(observations, labels)],
        "tiles": [
            ("videos", f"{len(observations):,}"),
            ("bouts", f"{sum(item.num_bouts for item in classes):,}"),
            ("minutes observed", f"{sum(item.seconds for item in observations) / 60:,.1f}"),
            ("classes", f"{len(labels):,}"),
        ],
        "legend": [{"name": label, "colour": _colour(place)} for place, label in enumerate(labels)],
        "header": ("Class", "Bouts", "Per min", "Total s", "Share", "Mean s", "Median s", "SD s", "Latency s"),
        "rows": [_row(item, place) for place, item in enumerate(classes)],
        "shares": _shares([item for item in classes if item.label in most]),
        "budget": _budget(observations, labels, seconds=bin_seconds),
        "ethograms": [
            {"name": item.video_id, "seconds": f"{item.seconds:.1f}", "svg": _ethogram(item, drawn)} for item in shown
        ],
        "transitions": _matrix(transitions_of(observations, labels)),
    }
    return write_text(path, render_still("summary.html", context))


def _left_out(observations: Sequence[Observation], labels: Sequence[str]) -> list[str]:
    notes = []
    if len(observations) > _MOST_VIDEOS:
        shown = f"the first {_MOST_VIDEOS} of {len(observations)} videos"
        notes.append(f"Ethograms are of {shown}; the figures count all of them.")
    if len(labels) > MOST_PAIRED:
        shown = f"the {MOST_PAIRED} classes with the most bouts, of {len(labels)}"
        notes.append(f"Ethograms and shares are of {shown}; the tables have all of them.")
    return notes


def _colour(place: int) -> str:
    return f"c{place % NUM_COLOURS}"


def _row(item: ClassSummary, place: int) -> dict[str, Any]:
    figures = (item.mean_seconds, item.median_seconds, item.sd_seconds, item.latency_seconds)
    share = "-" if item.share_of_time is None else f"{100 * item.share_of_time:.1f} %"
    return {
        "name": item.label,
        "colour": _colour(place),
        "cells": [
            f"{item.num_bouts:,}",
            _number(item.bouts_per_minute),
            _number(item.total_seconds),
            share,
            *map(_number, figures),
        ],
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _shares(classes: Sequence[ClassSummary]) -> Markup | None:
    """The share of the observed time that each class takes."""
    values = [item.share_of_time or 0.0 for item in classes]
    if not any(values):
        return None
    bars = [
        Bars(
            name="",
            values=tuple(value if other == place else 0.0 for other in range(len(values))),
            colour=_colour(place),
        )
        for place, value in enumerate(values)
    ]
    names = [_short(item.label, 60 // len(classes)) for item in classes]
    told = "Share of the observed time by class"
    return stacked_bars(names, bars, label=told, frame=_BUDGET, highest=max(values))


def _budget(observations: Sequence[Observation], labels: Sequence[str], *, seconds: float) -> dict[str, Any] | None:
    """Share of each class in the time of every bin, over all videos."""
    last = max((float(item.stretches[-1, 1]) for item in observations if len(item.stretches)), default=0.0)
    width = seconds * max(int(np.ceil(last / seconds / _MOST_BINS)), 1)
    count = int(np.ceil(last / width))
    if not count or not labels:
        return None
    spent, observed = np.zeros((count, len(labels))), np.zeros(count)
    for observation in observations:
        for item in bins_of(observation, labels, seconds=width):
            place = round(item.start / width)
            spent[place] += item.seconds
            observed[place] += item.observed_seconds
    shares = np.divide(spent, observed[:, None], out=np.zeros_like(spent), where=observed[:, None] > 0)
    every = -(-count // 10)  # so many names fit under the bars
    names = [_clock(place * width) if place % every == 0 else "" for place in range(count)]
    parts = [
        Bars(name=label, values=tuple(shares[:, place].tolist()), colour=_colour(place))
        for place, label in enumerate(labels)
    ]
    highest = float(shares.sum(1).max())
    return {
        "svg": stacked_bars(names, parts, label="Time budget", frame=_BUDGET, highest=max(highest, 1.0)),
        "seconds": f"{width:g}",
        "overlaps": highest > 1.0 + 1e-9,
    }


def _ethogram(observation: Observation, labels: Sequence[str]) -> Markup:
    """A lane for each class, its bouts as bars and point events as strokes; unobserved time is darker."""
    end = float(observation.stretches[-1, 1]) if len(observation.stretches) else 1.0
    height = _LANE * max(len(labels), 1)
    plot = _WIDTH - _NAMES - _MARGIN

    def place(seconds: float) -> float:
        return _NAMES + plot * seconds / end

    drawn = [Markup('<rect class="unseen" x="{}" y="0" width="{}" height="{}"/>').format(_NAMES, plot, height)]
    for start, stop in observation.stretches:
        drawn.append(
            Markup('<rect class="seen" x="{:.2f}" y="0" width="{:.2f}" height="{}"/>').format(
                place(start), place(stop) - place(start), height
            )
        )
    line = '<path class="grid" d="M{0:.2f} 0v{1}"/><text class="tick middle" x="{0:.2f}" y="{2}">{3}</text>'
    for tick in np.arange(0, end * (1 + 1e-9), _tick_seconds(end)):
        drawn.append(Markup(line).format(place(tick), height, height + 13, _clock(tick)))
    for number, label in enumerate(labels):
        top = _LANE * number
        drawn.append(
            Markup('<text class="tick end" x="{}" y="{}">{}</text>').format(
                _NAMES - 8, top + _LANE - 4, _short(label, 22)
            )
        )
        for start, stop in observation.of(label):
            drawn.append(_bar(place(start), place(stop), top, colour=_colour(number), told=_told(label, start, stop)))
    template = '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    return Markup(template).format(_WIDTH, height + 18, f"Ethogram of {observation.video_id}", Markup("").join(drawn))


def _bar(left: float, right: float, top: float, *, colour: str, told: str) -> Markup:
    template = '<rect class="bar {}" x="{:.2f}" y="{}" width="{:.2f}" height="{}"><title>{}</title></rect>'
    return Markup(template).format(colour, left, top + 2, max(right - left, 1.5), _LANE - 4, told)


def _told(label: str, start: float, stop: float) -> str:
    return f"{label}, {start:.2f} s" if start == stop else f"{label}, {start:.2f} to {stop:.2f} s"


def _short(name: str, length: int) -> str:
    """The beginning of a name that is too long for its place."""
    return name if len(name) <= length else f"{name[: max(length - 1, 1)]}\u2026"


def _tick_seconds(end: float) -> float:
    """The distance of marks on the time axis: of the clock, or whole hours."""
    return next((step for step in _TICKS if end / step <= _MOST_TICKS), 3600.0 * np.ceil(end / 3600 / _MOST_TICKS))


def _clock(seconds: float) -> str:
    """`45 s`, `1:30`, `1:02:00`."""
    whole = round(seconds)
    if seconds < 60:
        return f"{seconds:g} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _matrix(transitions: Transitions) -> dict[str, Any]:
    """Cells with their counts, shaded by their probability; of many classes, of those with the most transitions."""
    probabilities, counts = np.nan_to_num(transitions.probabilities), transitions.counts
    places = sorted(np.argsort(-(counts.sum(0) + counts.sum(1)), kind="stable")[:MOST_PAIRED].tolist())
    labels = [transitions.labels[place] for place in places]
    left_out = len(counts) - len(places)
    rows = [
        {
            "name": label,
            "colour": _colour(place),
            "cells": [
                {
                    "text": f"{share:.2f}" if count else "",
                    "count": f"{count:,}" if count else "",
                    "shade": f"h{min(int(share * _SHADES), _SHADES - 1)}" if count else "",
                }
                for count, share in zip(
                    counts[place, places].tolist(), probabilities[place, places].tolist(), strict=True
                )
            ],
        }
        for place, label in zip(places, labels, strict=True)
    ]
    return {"labels": labels, "rows": rows, "num": f"{int(counts.sum()):,}", "left_out": left_out}
