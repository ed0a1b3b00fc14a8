"""Mean average precision of scored segments, as ActivityNet and THUMOS define it.

N predictions, M actions, P overlapping (prediction, action) pairs, K classes, I thresholds.

Within a class, predictions are visited from the best score down. Each takes the action of its video
that it overlaps most among those that are still free and overlap it enough, and counts as true; a
prediction that finds none counts as false. Average precision is the area under the
precision-recall curve after precision has been made non-increasing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from re2tal.evaluation.tables import EvaluationError, GroundTruth, Predictions

__all__ = ["MapResult", "mean_average_precision"]

# Pairs whose overlap is computed at once; bounds the memory for many predictions in crowded videos.
_PAIRS_AT_ONCE = 4_000_000


@dataclass(frozen=True, kw_only=True)
class MapResult:
    """Mean average precision, as fractions in [0, 1]."""

    tious: tuple[float, ...]
    """I thresholds."""
    per_tiou: tuple[float, ...]
    """I means over the classes."""
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

    @property
    def average(self) -> float:
        """The mean over the thresholds."""
        return float(np.mean(self.per_tiou))

    @property
    def metrics(self) -> dict[str, float]:
        """{"average_mAP": ..., "mAP@0.3": ..., ...}, as fractions."""
        at_tiou = {f"mAP@{tiou:g}": value for tiou, value in zip(self.tious, self.per_tiou, strict=True)}
        return {"average_mAP": self.average} | at_tiou


def mean_average_precision(
    ground_truth: GroundTruth,
    predictions: Predictions,
    *,
    tious: Sequence[float],
    count_other_videos: bool = False,
) -> MapResult:
    """Mean average precision over the classes of the ground truth.

    Args:
        ground_truth: The labelled actions of the evaluated videos.
        predictions: Scored segments; order does not matter, except among equal scores.
        tious: I temporal IoU thresholds.
        count_other_videos: Count predictions for videos outside the evaluated subset as false ones, as the
            reference implementation does. Predictions for blocked videos are left out either way.

    Returns:
        The means, and the average precision of every class.
    """
    if not len(ground_truth.segments):
        raise EvaluationError(
            f"the metric needs at least one labelled action, got {ground_truth!r}; check the subset and the file"
        )
    video, label, other_video, other_class = _match_names(ground_truth, predictions)
    blocked = np.array([name in ground_truth.blocked for name in predictions.video_ids], bool)
    left_out = other_video & (blocked[predictions.video_index] | (not count_other_videos))
    kept = ~left_out & ~other_class

    # Among equal scores the last one of the file comes first, as in the public evaluation code, which reads an
    # ascending sort backwards.
    order = np.flatnonzero(kept)[::-1]
    order = order[np.lexsort((-predictions.scores[order], label[order]))]
    table = _precision_table(ground_truth, video[order], label[order], predictions.segments[order], tious=tious)
    return MapResult(
        tious=tuple(float(tiou) for tiou in tious),
        per_tiou=tuple(float(value) for value in table.mean(1)),
        per_class={name: tuple(map(float, table[:, index])) for index, name in enumerate(ground_truth.class_names)},
        num_videos=len(ground_truth.video_ids),
        num_actions=len(ground_truth.segments),
        num_predictions=len(order),
        num_other_videos=int(left_out.sum()),
        num_other_classes=int((other_class & ~left_out).sum()),
    )


def _precision_table(
    ground_truth: GroundTruth, video: np.ndarray, label: np.ndarray, segments: np.ndarray, *, tious: Sequence[float]
) -> np.ndarray:
    """(I, K) average precisions.

    Args:
        video, label, segments: (N,), (N,), (N, 2) of the predictions, class by class and best first in each.
    """
    prediction, action, iou = _overlapping_pairs(video, label, segments, ground_truth, min_iou=min(tious))
    num_classes = len(ground_truth.class_names)
    class_start = np.searchsorted(label, np.arange(num_classes + 1))
    actions_per_class = np.bincount(ground_truth.label_index, minlength=num_classes)
    table = np.zeros((len(tious), num_classes))
    for row, tiou in enumerate(tious):
        enough = iou >= tiou
        is_true = _assign(prediction[enough], action[enough], len(label), ground_truth)
        for column in range(num_classes):
            of_class = is_true[class_start[column] : class_start[column + 1]]
            table[row, column] = average_precision(of_class, num_actions=int(actions_per_class[column]))
    return table


def average_precision(is_true: np.ndarray, *, num_actions: int) -> float:
    """Area under the interpolated precision-recall curve.

    Args:
        is_true: (N,) bool, predictions of one class from the best score down.
        num_actions: How many there are to be found.
    """
    rank = np.flatnonzero(is_true) + 1  # of the true predictions; precision is highest at them
    precision = np.arange(1, len(rank) + 1) / rank
    non_increasing = np.maximum.accumulate(precision[::-1])[::-1]
    # Each true prediction raises recall by 1 / num_actions.
    return float(non_increasing.sum() / num_actions)


def _match_names(
    ground_truth: GroundTruth, predictions: Predictions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The predictions' videos and labels as the ground truth numbers them, and where it has none (each (N,))."""
    video_number = {name: index for index, name in enumerate(ground_truth.video_ids)}
    class_number = {name: index for index, name in enumerate(ground_truth.class_names)}
    video_of = np.array([video_number.get(name, -1) for name in predictions.video_ids], np.int64)
    class_of = np.array([class_number.get(name, -1) for name in predictions.class_names], np.int64)
    video = video_of[predictions.video_index]
    label = class_of[predictions.label_index]
    return video, label, video < 0, label < 0


def _overlapping_pairs(
    video: np.ndarray, label: np.ndarray, segments: np.ndarray, ground_truth: GroundTruth, *, min_iou: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of one class and video whose IoU reaches `min_iou`.

    Args:
        video, label, segments: (N,), (N,), (N, 2) of the predictions, best first within each class.

    Returns:
        (P,) index of the prediction, (P,) of the action and (P,) IoU; sorted by prediction, then from high IoU to low.
    """
    num_videos = len(ground_truth.video_ids)
    action_cell = ground_truth.label_index * num_videos + ground_truth.video_index
    by_cell = np.argsort(action_cell, kind="stable")
    sorted_cell = action_cell[by_cell]
    cell = label * num_videos + video
    first = np.searchsorted(sorted_cell, cell, side="left")
    count = np.searchsorted(sorted_cell, cell, side="right") - first
    count[video < 0] = 0

    found = []
    # Predictions from split[i] to split[i + 1] have about _PAIRS_AT_ONCE pairs.
    total = np.cumsum(count)
    num_chunks = (int(total[-1]) if len(total) else 0) // _PAIRS_AT_ONCE + 1
    split = np.searchsorted(total, np.arange(1, num_chunks) * _PAIRS_AT_ONCE)
    for start, stop in zip([0, *split], [*split, len(count)], strict=True):
        here = count[start:stop]
        prediction = np.repeat(np.arange(start, stop), here)
        within = np.arange(len(prediction)) - np.repeat(np.cumsum(here) - here, here)
        action = by_cell[first[prediction] + within]
        iou = _paired_iou(segments[prediction], ground_truth.segments[action])
        reaches = iou >= min_iou
        found.append((prediction[reaches], action[reaches], iou[reaches]))
    prediction, action, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((-iou, prediction))
    return prediction[order], action[order], iou[order]


def _paired_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of each of P segments with its partner: (P, 2), (P, 2) -> (P,); 1 for two equal segments, empty ones too."""
    intersection = np.clip(np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0]), 0, None)
    union = (a[:, 1] - a[:, 0]) + (b[:, 1] - b[:, 0]) - intersection
    equal = (a == b).all(1).astype(np.float64)
    return np.divide(intersection, union, out=equal, where=union > 0)


def _assign(
    pair_prediction: np.ndarray, pair_action: np.ndarray, num_predictions: int, ground_truth: GroundTruth
) -> np.ndarray:
    """Which predictions find a free action: (num_predictions,) bool.

    The visit in order of score is done for all (class, video) cells at once: in each round the first
    remaining pair of a cell (its best prediction that overlaps a free action, with the action
    it overlaps most) is the next one that the visit would accept. It takes both out of the game.
    The loop runs as often as the fullest cell has actions found.
    """
    is_true = np.zeros(num_predictions, bool)
    taken = np.zeros(len(ground_truth.segments), bool)
    cell = ground_truth.label_index * len(ground_truth.video_ids) + ground_truth.video_index
    # Pairs are sorted by prediction; bring those of a cell together without changing that order.
    together = np.argsort(cell[pair_action], kind="stable")
    pair_prediction, pair_action = pair_prediction[together], pair_action[together]
    while len(pair_prediction):
        pair_cell = cell[pair_action]
        first = np.flatnonzero(np.diff(pair_cell, prepend=-1))
        is_true[pair_prediction[first]] = True
        taken[pair_action[first]] = True
        remaining = ~is_true[pair_prediction] & ~taken[pair_action]
        pair_prediction, pair_action = pair_prediction[remaining], pair_action[remaining]
    return is_true
