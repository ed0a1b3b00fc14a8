"""The parts of the page as values that its template only has to place."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from re2tal import __version__
from re2tal.evaluation import Predictions
from re2tal.report.quality import Quality
from re2tal.report.sources import Excerpt, Sources, Truth
from re2tal.report.svg import LINES, NUM_COLOURS, Frame, Line, line_chart, line_path, nice_ticks, short_number
from re2tal.report.training import Curve
from re2tal.report.videos import VideoTable

__all__ = [
    "PRECISION",
    "chart_values",
    "counts",
    "facts",
    "precision",
    "quality_tables",
    "settings_text",
    "tiles",
    "training_chart",
]

PRECISION = Frame(width=420, height=300, left=44, bottom=34)
_NUM_SHADES = 10
_PER_MILLE = 1000
_SETTINGS = (
    ("Backbone", ("backbone", "kind")),
    ("Reversible", ("backbone", "reversible")),
    ("Epochs", ("training", "epochs")),
    ("Batch size", ("training", "batch_size")),
    ("Seed", ("training", "seed")),
)
"""Those that the summary names."""


def tiles(
    quality: Quality | None, *, found: Predictions | None, excerpt: Excerpt | None, table: VideoTable
) -> list[tuple[str, str]]:
    """How much there is of what."""
    num_found = 0 if found is None else len(found.scores)
    counts = {
        "videos": len(table.videos),
        "actions": 0 if quality is None else quality.result.num_actions,
        "detections": num_found if excerpt is None else excerpt.num_detections,
        "classes": len(table.class_names),
    }
    return [(name, f"{count:,}") for name, count in counts.items() if count]


def facts(
    sources: Sources, *, found: Predictions | None, truth: Truth | None, table: VideoTable
) -> list[tuple[str, str]]:
    """Where everything comes from."""
    told = []
    if sources.detections is not None:
        told.append(("Detections", str(sources.detections)))
    if sources.truth is not None and truth is not None:
        told.append(("Ground truth", f"{sources.truth.path}, subset {', '.join(truth.subset)}"))
    if sources.videos is not None:
        told.append(("Videos", str(sources.videos.path)))
    if sources.metrics is not None:
        told.append(("Training", str(sources.metrics)))
    told += [(name, value) for name, path in _SETTINGS if (value := _setting(sources.settings, path)) is not None]
    made = f"re2tal {__version__}, {datetime.now():%Y-%m-%d %H:%M}"
    return [*told, ("Page made by", made)]


def _setting(settings: Any, path: tuple[str, ...]) -> str | None:
    """One setting in words; None where there is none."""
    for key in path:
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    if isinstance(settings, bool):
        return "yes" if settings else "no"
    return None if settings is None else str(settings)


def settings_text(settings: Mapping[str, Any] | None) -> str | None:
    """The whole config, to be read."""
    return None if settings is None else json.dumps(settings, indent=2, ensure_ascii=False)


def training_chart(curve: Curve) -> dict[str, Any]:
    """One chart of the training, with a legend that tells the last values."""
    is_share = curve.key == "map"
    factor = 100 if is_share else 1
    lines = [
        Line(name=name, ys=tuple(None if y is None else factor * y for y in ys)) for name, ys in curve.lines.items()
    ]
    label = f"{curve.title} by {curve.x_name}: " + "; ".join(f"{line.name}, last {_last(line.ys)}" for line in lines)
    return {
        "key": curve.key,
        "title": curve.title + (" (%)" if is_share else ""),
        "x_name": curve.x_name,
        "last_x": short_number(curve.xs[-1]),
        "note": curve.note,
        "svg": line_chart(curve.xs, lines, label=label, y_range=(0, 100) if is_share else None),
        "legend": [
            {"name": line.name, "colour": f"c{place % NUM_COLOURS}", "value": _last(line.ys)}
            for place, line in enumerate(lines)
        ],
    }


def chart_values(curve: Curve) -> dict[str, Any]:
    """What is read off a chart under the pointer, and where its plot lies, in shares of the picture's width."""
    factor = 100 if curve.key == "map" else 1
    return {
        "xs": curve.xs,
        "lines": [[None if y is None else float(f"{factor * y:.4g}") for y in ys] for ys in curve.lines.values()],
        "left": LINES.left / LINES.width,
        "width": LINES.plot_width / LINES.width,
    }


def quality_tables(quality: Quality, *, class_names: Sequence[str]) -> dict[str, Any]:
    """mAP by threshold and class, and the precision-recall picture."""
    result = quality.result
    rows = []
    for (name, values), num_actions in zip(result.per_class.items(), quality.actions_of_class, strict=True):
        place = class_names.index(name)
        rows.append(
            {
                "place": place,
                "name": name,
                "colour": f"c{place % NUM_COLOURS}",
                "actions": int(num_actions),
                "cells": [_cell(value) for value in values],
                "mean": _cell(sum(values) / len(values)),
            }
        )
    return {
        "span": _span(result.tious),
        "tious": [short_number(tiou) for tiou in result.tious],
        "rows": sorted(rows, key=lambda row: row["place"]),
        "total": {"cells": [_cell(value) for value in result.per_tiou], "mean": _cell(result.average)},
        "num_actions": result.num_actions,
        "caption": _left_out(quality),
        "chart": _precision_chart(quality),
    }


def counts(quality: Quality | None) -> dict[str, Any] | None:
    """How many detections each place of the score slider keeps, and how many of them are right."""
    if quality is None:
        return None
    return {"actions": quality.result.num_actions, "kept": quality.kept.tolist(), "right": quality.right.tolist()}


def precision(quality: Quality | None, *, class_names: Sequence[str]) -> dict[str, Any] | None:
    """The precision-recall curves in thousandths: the mean over the classes, then each class by its place."""
    if quality is None:
        return None
    values = (quality.precision * _PER_MILLE).round().astype(int)
    mean = (quality.precision.mean(1) * _PER_MILLE).round().astype(int)
    by_class = {
        class_names.index(name): {"curves": values[:, place].tolist(), "ap": [round(100 * ap, 2) for ap in aps]}
        for place, (name, aps) in enumerate(quality.result.per_class.items())
    }
    return {
        "mean": {"curves": mean.tolist(), "ap": [round(100 * ap, 2) for ap in quality.result.per_tiou]},
        "classes": by_class,
        "frame": [PRECISION.left, PRECISION.top, PRECISION.plot_width, PRECISION.plot_height],
    }


def _precision_chart(quality: Quality) -> dict[str, Any]:
    """Axes and the mean curve of each threshold; a script puts those of a chosen class in their place."""
    mean = quality.precision.mean(1)
    recall = np.linspace(0, 1, mean.shape[1])
    tious = quality.result.tious
    return {
        "frame": PRECISION,
        "ticks": [
            {
                "text": f"{100 * tick:g}",
                "x": PRECISION.left + PRECISION.plot_width * tick,
                "y": PRECISION.top + PRECISION.plot_height * (1 - tick),
            }
            for tick in nice_ticks(0, 1)
        ],
        "lines": [
            {
                "shade": f"t{_shade(place, len(tious))}",
                "tiou": short_number(tiou),
                "ap": _percent(quality.result.per_tiou[place]),
                "d": line_path(
                    [PRECISION.left + PRECISION.plot_width * r for r in recall],
                    [PRECISION.top + PRECISION.plot_height * (1 - p) for p in mean[place]],
                ),
            }
            for place, tiou in enumerate(tious)
        ],
    }


def _span(tious: Sequence[float]) -> str:
    low, high = short_number(tious[0]), short_number(tious[-1])
    return f"mean mAP, tIoU {low} to {high}" if len(tious) > 1 else f"mAP at tIoU {low}"


def _shade(place: int, count: int) -> int:
    return round((_NUM_SHADES - 1) * place / max(count - 1, 1))


def _left_out(quality: Quality) -> str:
    result = quality.result
    parts = [f"{result.num_predictions:,} detections, {result.num_actions:,} actions, {result.num_videos:,} videos"]
    if result.num_other_videos:
        parts.append(f"{result.num_other_videos:,} detections in other videos left out")
    if result.num_other_classes:
        parts.append(f"{result.num_other_classes:,} detections of classes without actions left out")
    return "; ".join(parts)


def _cell(value: float) -> dict[str, str]:
    """A share as text, and the shade of its background."""
    return {"text": _percent(value), "shade": f"h{min(int(value * 10), 9)}"}


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _last(ys: Sequence[float | None]) -> str:
    return next((f"{y:.4g}" for y in reversed(ys) if y is not None), "none")
