"""Ground truth and predictions as flat arrays, read from files or taken from `Detections`.

N segments, V videos, K classes. Both kinds of table name their own videos and classes; the metric
matches them by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from re2tal.common.labelled import Stretches

if TYPE_CHECKING:  # judging files needs no torch, which takes seconds and hundreds of MiB to import
    from re2tal.common.types import Detections

__all__ = ["EvaluationError", "GroundTruth", "Predictions"]


class EvaluationError(ValueError):
    """A file or value that the metric cannot be computed from."""


@dataclass(frozen=True, kw_only=True, repr=False)
class GroundTruth:
    """The labelled actions of the evaluated videos."""

    video_ids: tuple[str, ...]
    """V evaluated videos, those without actions included."""
    class_names: tuple[str, ...]
    """K classes that occur in `label_index`."""
    video_index: np.ndarray
    """(N,) int64 into `video_ids`."""
    label_index: np.ndarray
    """(N,) int64 into `class_names`."""
    segments: np.ndarray
    """(N, 2) float64, seconds."""
    durations: np.ndarray | None = None
    """(V,) float64, seconds; nan for a video whose length the file does not tell. None if nothing is known of them."""
    blocked: frozenset[str] = frozenset()
    """Videos taken out of the metric; predictions for them are left out too."""
    labelled: Mapping[str, Stretches] = field(default_factory=dict)
    """Of the evaluated videos that are labelled in part, what somebody has looked at. A prediction of which more than
    half lies elsewhere is left out; from a tIoU of 0.5 on none of these finds an action."""
    empty: frozenset[str] = frozenset()
    """Evaluated videos that are known to show no action, all of them or where they are labelled."""
    problems: tuple[str, ...] = ()
    """What is odd in the file, one line each."""

    def __repr__(self) -> str:
        counts = len(self.segments), len(self.class_names), len(self.video_ids)
        return "GroundTruth({} actions of {} classes, {} videos)".format(*counts)


@dataclass(frozen=True, kw_only=True, repr=False)
class Predictions:
    """Scored segments of any number of videos."""

    video_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    video_index: np.ndarray
    """(N,) int64 into `video_ids`."""
    label_index: np.ndarray
    """(N,) int64 into `class_names`."""
    segments: np.ndarray
    """(N, 2) float64, seconds."""
    scores: np.ndarray
    """(N,) float64."""

    def __repr__(self) -> str:
        return f"Predictions({len(self.segments)} segments of {len(self.video_ids)} videos)"

    @staticmethod
    def from_detections(detections: "Iterable[Detections]", *, class_names: Sequence[str]) -> "Predictions":
        """The table of what a detector found; `class_names[i]` is the name of label i."""
        found = list(detections)
        counts = [len(item.scores) for item in found]
        return Predictions(
            video_ids=tuple(item.video_id for item in found),
            class_names=tuple(class_names),
            video_index=np.repeat(np.arange(len(found)), counts),
            label_index=_stack([item.labels.cpu().numpy() for item in found], np.zeros(0, np.int64)),
            segments=_stack([item.segments.cpu().double().numpy() for item in found], np.zeros((0, 2))),
            scores=_stack([item.scores.cpu().double().numpy() for item in found], np.zeros(0)),
        )


def _stack(parts: list[np.ndarray], empty: np.ndarray) -> np.ndarray:
    return np.concatenate([empty, *parts])
