"""Recall of scored segments: of the best few for each action, and of the best few of each video whatever their class.

N predictions, M actions, V videos, K classes, I thresholds, J budgets.

* Recall@kx (Ego4D's moment queries): where a video has n actions of a class, its k * n best predictions of that class
  count. An action is recalled if any of them overlaps it enough; one prediction may recall several actions.
* Average recall (AR@AN, ActivityNet's proposals): labels do not matter. As many of the best predictions of each video
  count as make AN a video on average, in proportion to how many it has, so that long videos may have more. Recall is
  averaged over the thresholds, and the area under its curve from 1 to the largest AN is given beside it.

Sources: Grauman et al., "Ego4D", CVPR 2022; Zhang et al., "ActionFormer", ECCV 2022, whose code takes the mean over the
classes; Caba Heilbron et al., "ActivityNet", CVPR 2015, and the task on proposals of its challenges.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from re2tal.evaluation.matching import Ranked, first_to_reach, rank_predictions
from re2tal.evaluation.tables import GroundTruth, Predictions

__all__ = ["AverageRecall", "MultipleRecall", "average_recall", "recall_at_multiples"]


@dataclass(frozen=True, kw_only=True)
class MultipleRecall:
    """Recall@kx, as fractions in [0, 1]."""

    tious: tuple[float, ...]
    """I thresholds."""
    multiples: tuple[int, ...]
    """J values of k."""
    per_class: dict[str, np.ndarray]
    """(J, I) of every class that the ground truth has."""
    of_all: np.ndarray
    """(J, I) of the actions of all classes together, so that frequent classes weigh more."""

    @property
    def means(self) -> np.ndarray:
        """(J, I) means over the classes."""
        return np.mean(list(self.per_class.values()), axis=0)

    @property
    def metrics(self) -> dict[str, float]:
        """{"recall@1x@0.5": ..., "recall_of_all@1x@0.5": ...}, as fractions."""
        tables = {"recall": self.means, "recall_of_all": self.of_all}
        return {
            f"{name}@{multiple}x@{tiou:g}": float(table[row, column])
            for name, table in tables.items()
            for row, multiple in enumerate(self.multiples)
            for column, tiou in enumerate(self.tious)
        }

    def as_json(self) -> dict[str, dict[str, list[float]]]:
        """{"1x": {class: [I values]}}."""
        return {
            f"{multiple}x": {name: table[row].tolist() for name, table in self.per_class.items()}
            for row, multiple in enumerate(self.multiples)
        }


@dataclass(frozen=True, kw_only=True)
class AverageRecall:
    """AR@AN, as fractions in [0, 1]."""

    budgets: tuple[int, ...]
    """J values of AN."""
    recalls: tuple[float, ...]
    """J values, each the mean over the thresholds."""
    area: float
    """Under average recall by AN, from 1 to the largest budget and divided by it, as ActivityNet has it."""

    @property
    def metrics(self) -> dict[str, float]:
        """{"AR@1": ..., "AR_AUC": ...}, as fractions."""
        named = {f"AR@{budget}": value for budget, value in zip(self.budgets, self.recalls, strict=True)}
        return named | {"AR_AUC": self.area}


def recall_at_multiples(
    ground_truth: GroundTruth, ranked: Ranked, *, tious: Sequence[float], multiples: Sequence[int]
) -> MultipleRecall:
    """Recall@kx of every class and of all.

    Args:
        ground_truth: The labelled actions of the evaluated videos.
        ranked: The predictions that count, see `rank_predictions`.
        tious: I thresholds.
        multiples: J values of k.
    """
    num_videos, num_classes = len(ground_truth.video_ids), len(ground_truth.class_names)
    action_cell = ground_truth.label_index * num_videos + ground_truth.video_index
    cell = np.where(ranked.video < 0, -1, ranked.label * num_videos + ranked.video)
    first = first_to_reach(ground_truth, ranked, cell=cell, action_cell=action_cell, tious=tious)  # (I, M)
    budget = np.bincount(action_cell, minlength=num_videos * num_classes)[action_cell]  # (M,)
    recalled = first < budget * np.asarray(multiples)[:, None, None]  # (J, I, M)
    of_class = [recalled[:, :, ground_truth.label_index == label].mean(2) for label in range(num_classes)]
    return MultipleRecall(
        tious=tuple(map(float, tious)),
        multiples=tuple(multiples),
        per_class=dict(zip(ground_truth.class_names, of_class, strict=True)),
        of_all=recalled.mean(2),
    )


def average_recall(
    ground_truth: GroundTruth,
    predictions: Predictions,
    *,
    tious: Sequence[float],
    budgets: Sequence[int],
    count_other_videos: bool = False,
) -> AverageRecall:
    """AR@AN of predictions of any class.

    Args:
        ground_truth: The labelled actions of the evaluated videos.
        predictions: Scored segments.
        tious: I thresholds.
        budgets: J values of AN.
        count_other_videos: Count predictions for videos outside the evaluated subset when predictions are shared out,
            as ActivityNet's own code does; see `rank_predictions`.
    """
    truth = replace(ground_truth, class_names=("",), label_index=np.zeros_like(ground_truth.label_index))
    found = replace(predictions, class_names=("",), label_index=np.zeros_like(predictions.label_index))
    ranked = rank_predictions(truth, found, count_other_videos=count_other_videos)
    first = first_to_reach(truth, ranked, cell=ranked.video, action_cell=truth.video_index, tious=tious)  # (I, M)
    videos = np.unique(truth.video_index)  # those without actions have no part in recall
    counts = np.bincount(ranked.video[ranked.video >= 0], minlength=len(truth.video_ids))[videos]  # (V,)
    largest = max(budgets)
    share = _budget_of_videos(counts, num_predictions=len(ranked), largest=largest)  # (V, largest)
    of_action = share[np.searchsorted(videos, truth.video_index)]  # (M, largest)
    curve = np.stack([(first < allowed).mean() for allowed in of_action.T])  # over thresholds and actions alike
    return AverageRecall(
        budgets=tuple(budgets),
        recalls=tuple(float(curve[budget - 1]) for budget in budgets),
        area=float(np.trapezoid(curve) / largest),
    )


def _budget_of_videos(counts: np.ndarray, *, num_predictions: int, largest: int) -> np.ndarray:
    """How many predictions of each video count at an average of 1, 2, ... `largest` a video: (V, `largest`).

    Args:
        counts: (V,) predictions of each video.
        num_predictions: of all videos together, those without actions included.
        largest: number of averages.
    """
    num_videos = len(counts)
    ratio = largest * num_videos / max(num_predictions, 1)
    kept = np.minimum((counts * ratio).astype(np.int64), counts)
    shares = np.arange(1, largest + 1) / largest * (largest * num_videos / max(int(kept.sum()), 1))
    return np.minimum((kept[:, None] * shares).astype(np.int64), kept[:, None])
