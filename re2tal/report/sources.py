"""Where a report's content comes from, and reading it: predictions, ground truth, video lengths."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.common.annotation_files import AnnotationFileError, read_annotation_file
from re2tal.evaluation import GroundTruth, Predictions, read_ground_truth, read_predictions
from re2tal.report.errors import ReportError

__all__ = ["Excerpt", "Sources", "Truth", "TruthSource", "ReportVideos", "are_points", "read_found", "read_truth"]

DEFAULT_TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True, kw_only=True)
class TruthSource:
    """An annotation file and which part of it counts, as the metric takes them."""

    path: Path
    subset: str | tuple[str, ...] | None = None
    """None: the subsets that the predictions' videos are in."""
    subset_file: Path | None = None
    blocked: Path | tuple[str, ...] | None = None
    ignore_labels: tuple[str, ...] = ("Ambiguous",)
    one_class: str | None = None
    """The label of every action, for class-agnostic predictions."""


@dataclass(frozen=True, kw_only=True)
class ReportVideos:
    """Where the video files are."""

    path: Path
    path_of: Callable[[str], Path] | None = None
    """Tells the place of one video's file; None: it is searched by name."""
    known: Mapping[str, Path] | None = None
    """The files themselves by video id, wherever they are, instead of any search."""


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The best detections of every video."""

    path: Path
    num_detections: int
    """How many there are in all."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Everything that a page is made from; what is None it does without."""

    title: str
    detections: Path | None = None
    excerpt: Excerpt | None = None
    """What is read in place of `detections` where these are too many for a page; without `truth` only."""
    truth: TruthSource | None = None
    tious: tuple[float, ...] = DEFAULT_TIOUS
    metrics: Path | None = None
    """`metrics.jsonl` of a training."""
    settings: Mapping[str, Any] | None = None
    """The config of a run, as JSON values."""
    videos: ReportVideos | None = None
    notes: tuple[str, ...] = ()
    """What a reader should know, such as what was not found."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The actions of the evaluated videos, and how long these are."""

    actions: GroundTruth
    seconds: Mapping[str, float]
    """By video id; without those whose length the file does not tell."""
    subset: tuple[str, ...]


def are_points(segments: np.ndarray) -> bool:
    """Whether there are segments (N, 2), and none has a length."""
    return len(segments) > 0 and not np.ptp(segments, axis=1).any()


def read_found(path: Path) -> Predictions:
    """Scored segments, as the metric reads them; a folder or a file of another kind is answered with what to give."""
    if path.is_dir():
        raise ReportError(f"{path} is a folder; give the path of a detections.json")
    return read_predictions(path)


def read_truth(source: TruthSource, *, ids: Collection[str]) -> Truth:
    """The labelled actions that `source` tells of.

    Args:
        source: the annotation file.
        ids: of the videos with predictions; they choose the subsets where `source` does not.
    """
    subset = _subset_of(source, ids=ids)
    read = partial(
        read_ground_truth,
        source.path,
        subset=subset,
        blocked=source.blocked,
        ignore_labels=source.ignore_labels,
        subset_file=source.subset_file,
        one_class=source.one_class,
    )
    actions = read()
    if not len(actions.segments) and actions.problems:
        actions = read(point_seconds=0.0)
    lengths = () if actions.durations is None else zip(actions.video_ids, actions.durations.tolist(), strict=True)
    seconds = {name: length for name, length in lengths if math.isfinite(length)}
    return Truth(actions=actions, seconds=seconds, subset=subset)


def _subset_of(source: TruthSource, *, ids: Collection[str]) -> tuple[str, ...]:
    if source.subset is not None:
        return (source.subset,) if isinstance(source.subset, str) else tuple(source.subset)
    try:
        database = read_annotation_file(
            source.path,
            subset_file=source.subset_file,
            what="ground truth",
            fix="give --ground-truth the path of an annotation file",
        ).database
    except AnnotationFileError as error:
        raise ReportError(str(error)) from None
    known = [name for name in ids if name in database] if ids else list(database)
    entries = [database[name] for name in known]
    subsets = {entry["subset"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("subset"), str)}
    if not subsets:
        some, other = next(iter(ids), None), next(iter(database), None)
        raise ReportError(
            f"no video with detections is in {source.path}: the detections have ids like {some!r}, the ground truth "
            f"like {other!r}; use the same ids, or leave --ground-truth out"
        )
    return tuple(sorted(subsets))
