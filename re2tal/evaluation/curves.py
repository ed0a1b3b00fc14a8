"""What lies behind the metric: precision at every recall, right and wrong predictions at every score.

N counted predictions, K classes, I thresholds of the temporal IoU, R points of recall, S scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from re2tal.evaluation.average_precision import found_actions, rank
from re2tal.evaluation.tables import GroundTruth, Predictions

__all__ = ["PrecisionCurves", "precision_curves"]


@dataclass(frozen=True, kw_only=True, repr=False)
class PrecisionCurves:
    """How many predictions are right, counted from the best score down."""

    tious: tuple[float, ...]
    recall: np.ndarray
    """(R,) from 0 to 1."""
    precision: np.ndarray
    """(I, K, R): the highest precision at which a class reaches a recall; 0 where it never does."""
    rows: np.ndarray
    """(N,) which predictions were counted; those of one class together, best first."""
    found: np.ndarray
    """(I, N): the action (a row of the ground truth) that each of them finds; -1: none, it is a false one."""

    def __repr__(self) -> str:
        return f"PrecisionCurves({self.precision.shape[1]} classes, {len(self.rows)} predictions, tIoU {self.tious})"


def precision_curves(
    ground_truth: GroundTruth, predictions: Predictions, *, tious: Sequence[float], num_recalls: int = 101
) -> PrecisionCurves:
    """The precision-recall curve of every class; `mean_average_precision` is the mean of the areas under them.

    Precision is made non-increasing, as the metric does it.

    Args:
        ground_truth: The labelled actions of the evaluated videos.
        predictions: Scored segments.
        tious: I temporal IoU thresholds.
        num_recalls: R, points at which the curves are read.
    """
    ranked = rank(ground_truth, predictions)
    found = found_actions(ground_truth, ranked, tious=tious)
    recall = np.linspace(0, 1, num_recalls)
    num_classes = len(ground_truth.class_names)
    class_start = np.searchsorted(ranked.label, np.arange(num_classes + 1))
    actions_per_class = np.bincount(ground_truth.label_index, minlength=num_classes)
    precision = np.zeros((len(tious), num_classes, num_recalls))
    for row in range(len(tious)):
        for column in range(num_classes):
            of_class = found[row, class_start[column] : class_start[column + 1]] >= 0
            precision[row, column] = _at_recalls(of_class, recall, num_actions=int(actions_per_class[column]))
    return PrecisionCurves(
        tious=tuple(map(float, tious)), recall=recall, precision=precision, rows=ranked.rows, found=found
    )


def _at_recalls(is_true: np.ndarray, recall: np.ndarray, *, num_actions: int) -> np.ndarray:
    """(R,) interpolated precision of the predictions of one class, (N,) bool from the best score down."""
    rank_of_true = np.flatnonzero(is_true) + 1
    precision = np.arange(1, len(rank_of_true) + 1) / rank_of_true
    non_increasing = np.maximum.accumulate(precision[::-1])[::-1]
    # A recall of r needs ceil(r * num_actions) true predictions; a rounding error must not ask for one more.
    needed = np.maximum(np.ceil(recall * num_actions - 1e-9).astype(np.int64), 1)
    return np.append(non_increasing, 0.0)[np.minimum(needed - 1, len(non_increasing))]
