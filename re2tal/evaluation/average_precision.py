"""Mean average precision of scored segments, as ActivityNet and THUMOS define it.

N predictions, K classes, I thresholds.

`re2tal.evaluation.matching` tells the true predictions from the false ones. Average precision is the area under the
precision-recall curve after precision has been made non-increasing.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from re2tal.evaluation.false_alarms import FalseAlarms, count_false_alarms
from re2tal.evaluation.matching import Ranked, match_actions, rank_predictions
from re2tal.evaluation.recall import AverageRecall, MultipleRecall, average_recall, recall_at_multiples
from re2tal.evaluation.tables import GroundTruth, Predictions

__all__ = [
    "MapResult",
    "PrecisionResult",
    "average_precision",
    "mean_average_precision",
    "precision_table",
    "result_of_matches",
]


@dataclass(frozen=True, kw_only=True)
class PrecisionResult(ABC):
    """Mean average precision at several thresholds of one kind, as fractions in [0, 1]."""

    per_class: dict[str, tuple[float, ...]]
    """I average precisions of every class that the ground truth has."""
    num_videos: int
    num_actions: int
    num_predictions: int
    """Predictions that were counted."""
    num_other_videos: int
    """Predictions left out because their video is not evaluated."""
    num_other_classes: int
    """Predictions left out because no evaluated video has their class."""
    num_unlabelled: int = 0
    """Predictions left out because more than half of them lies where nobody has looked."""
    false_alarms: FalseAlarms | None = None
    """Where videos are evaluated that are known to show no action."""

    @property
    @abstractmethod
    def headings(self) -> tuple[str, ...]:
        """What the thresholds are called, and then the I of them."""

    @property
    @abstractmethod
    def means(self) -> tuple[float, ...]:
        """I means over the classes."""

    def averaged(self, values: Sequence[float]) -> float:
        """One value for the I thresholds: the mean."""
        return float(np.mean(values))

    @property
    def average(self) -> float:
        """The one value for all classes and thresholds."""
        return self.averaged(self.means)

    @property
    def metrics(self) -> dict[str, float]:
        """{"average_mAP": ..., "mAP@0.3": ..., ...}, as fractions."""
        return {"average_mAP": self.average} | {
            f"mAP@{name}": value for name, value in zip(self.headings[1:], self.means, strict=True)
        }

    def as_json(self) -> dict[str, object]:
        """What `metrics` does not hold: false alarms, where they are counted, and the I values of every class."""
        alarms = {} if self.false_alarms is None else {"false_alarms": self.false_alarms.as_json()}
        return {**alarms, "per_class": {name: list(values) for name, values in self.per_class.items()}}

    @property
    def counts(self) -> dict[str, int]:
        """Videos, actions and predictions that were counted, and predictions that were not."""
        return {
            "num_videos": self.num_videos,
            "num_actions": self.num_actions,
            "num_predictions": self.num_predictions,
            "num_ignored_predictions": self.num_other_videos + self.num_other_classes + self.num_unlabelled,
        }


@dataclass(frozen=True, kw_only=True)
class MapResult(PrecisionResult):
    """Mean average precision of segments."""

    tious: tuple[float, ...]
    """I thresholds."""
    per_tiou: tuple[float, ...]
    """I means over the classes."""
    recall: MultipleRecall | None = None
    """Where it is asked for, and so below."""
    average_recall: AverageRecall | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """{"average_mAP": ..., "mAP@0.3": ..., "recall@1x@0.3": ..., "AR@100": ...}, as fractions."""
        more = [measure.metrics for measure in (self.recall, self.average_recall) if measure is not None]
        return {name: value for measured in (super().metrics, *more) for name, value in measured.items()}

    def as_json(self) -> dict[str, object]:
        """With recall@kx of every class."""
        recall = {} if self.recall is None else {"per_class_recall": self.recall.as_json()}
        return super().as_json() | recall

    @property
    def headings(self) -> tuple[str, ...]:
        """Of temporal IoU."""
        return ("tIoU", *(f"{tiou:g}" for tiou in self.tious))

    @property
    def means(self) -> tuple[float, ...]:
        """I means over the classes."""
        return self.per_tiou


def mean_average_precision(
    ground_truth: GroundTruth,
    predictions: Predictions,
    *,
    tious: Sequence[float],
    count_other_videos: bool = False,
    recall_multiples: Sequence[int] = (),
    average_recall_at: Sequence[int] = (),
) -> MapResult:
    """Mean average precision over the classes of the ground truth.

    Args:
        ground_truth: The labelled actions of the evaluated videos.
        predictions: Scored segments; order does not matter, except among equal scores.
        tious: I temporal IoU thresholds.
        count_other_videos: Count predictions for videos outside the evaluated subset as false ones, as the
            reference implementation does. Predictions for blocked videos are left out either way.
        recall_multiples: Values of k for recall@kx; empty: it is not computed.
        average_recall_at: Values of AN for AR@AN; empty: it is not computed.

    Returns:
        The means, and the average precision of every class.
    """
    ranked = rank_predictions(ground_truth, predictions, count_other_videos=count_other_videos)
    result = result_of_matches(ground_truth, ranked, match_actions(ground_truth, ranked, tious=tious), tious=tious)
    recall = proposals = None
    if recall_multiples:
        recall = recall_at_multiples(ground_truth, ranked, tious=tious, multiples=recall_multiples)
    if average_recall_at:
        proposals = average_recall(
            ground_truth, predictions, tious=tious, budgets=average_recall_at, count_other_videos=count_other_videos
        )
    alarms = count_false_alarms(ground_truth, predictions)
    return replace(result, false_alarms=alarms, recall=recall, average_recall=proposals)


def result_of_matches(
    ground_truth: GroundTruth, ranked: Ranked, found: np.ndarray, *, tious: Sequence[float]
) -> MapResult:
    """The metric once it is known what was found: `found` (I, N) as `match_actions` gives it."""
    num_actions = np.bincount(ground_truth.label_index, minlength=len(ground_truth.class_names))
    table = precision_table(found >= 0, ranked.label, num_actions=num_actions)
    return MapResult(
        tious=tuple(float(tiou) for tiou in tious),
        per_tiou=tuple(float(value) for value in table.mean(1)),
        per_class={name: tuple(map(float, table[:, index])) for index, name in enumerate(ground_truth.class_names)},
        num_videos=len(ground_truth.video_ids),
        num_actions=len(ground_truth.segments),
        num_predictions=len(ranked),
        num_other_videos=ranked.num_other_videos,
        num_other_classes=ranked.num_other_classes,
        num_unlabelled=ranked.num_unlabelled,
    )


def precision_table(
    is_true: np.ndarray,
    label: np.ndarray,
    *,
    num_actions: np.ndarray,
    counted: np.ndarray | None = None,
    instances: float | None = None,
) -> np.ndarray:
    """Average precision at each threshold and of each class: (I, K).

    Args:
        is_true: (I, N) bool, predictions class by class and the best of each first.
        label: (N,) their classes, ascending.
        num_actions: (K,) how many there are to be found; a class without any gets nan.
        counted: (I, N) bool, predictions to leave out where false.
        instances: see `average_precision`.
    """
    class_start = np.searchsorted(label, np.arange(len(num_actions) + 1))
    table = np.full((len(is_true), len(num_actions)), np.nan)
    for row, column in np.ndindex(table.shape):
        of_class = slice(class_start[column], class_start[column + 1])
        hits = is_true[row, of_class] if counted is None else is_true[row, of_class][counted[row, of_class]]
        if num_actions[column]:
            table[row, column] = average_precision(hits, num_actions=int(num_actions[column]), instances=instances)
    return table


def average_precision(is_true: np.ndarray, *, num_actions: int, instances: float | None = None) -> float:
    """Area under the interpolated precision-recall curve.

    Args:
        is_true: (N,) bool, predictions of one class from the best score down.
        num_actions: How many there are to be found.
        instances: For normalised average precision: how many there would be to be found at the same recall. Classes
            that differ in `num_actions` become comparable (Hoiem et al., "Diagnosing Error in Object Detectors",
            ECCV 2012).
    """
    rank = np.flatnonzero(is_true) + 1  # of the true predictions; precision is highest at them
    num_true = np.arange(1, len(rank) + 1)
    if instances is None:
        precision = num_true / rank
    else:
        assumed_true = num_true / num_actions * instances
        precision = assumed_true / (assumed_true + rank - num_true)
    non_increasing = np.maximum.accumulate(precision[::-1])[::-1]
    # Each true prediction raises recall by 1 / num_actions.
    return float(non_increasing.sum() / num_actions)
