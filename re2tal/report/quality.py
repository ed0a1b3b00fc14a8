"""How good the detections are: the metric, its curves, and what each score as threshold keeps.

N predictions, M actions, I thresholds of the temporal IoU, S scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from re2tal.evaluation import (
    GroundTruth,
    MapResult,
    Predictions,
    match_actions,
    precision_curves,
    rank_predictions,
    result_of_matches,
)
from re2tal.evaluation.diagnosis import Diagnosis, diagnose

__all__ = ["SCORE_DECIMALS", "Quality", "choose_start", "measure", "score_steps"]

_NUM_SCORES = 101
_NUM_RECALLS = 101
SCORE_DECIMALS = 4
"""Of the scores in the page: what the slider compares must be what was counted."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Predictions held against the ground truth."""

    result: MapResult
    precision: np.ndarray
    """(I, K, R): precision of each class at R recalls from 0 to 1."""
    kept: np.ndarray
    """(S,) counted predictions with at least each score."""
    right: np.ndarray
    """(I, S): those of them that find an action."""
    action_of: np.ndarray
    """(I, N): the row of the action that each prediction of the file finds; -1: it is wrong, -2: it does not count."""
    diagnosis: Diagnosis
    actions_of_class: np.ndarray
    """(K,) how many actions each class has."""

    def f1(self) -> np.ndarray:
        """(I, S): the harmonic mean of precision and recall, over all classes together."""
        return 2 * self.right / np.maximum(self.kept + self.result.num_actions, 1)


def score_steps(scores: np.ndarray) -> np.ndarray:
    """(S,) places of the slider: hundredths of [0, 1], or of the range of scores if they are not in it."""
    low, high = (0.0, 1.0) if not len(scores) else (min(0.0, scores.min()), max(1.0, scores.max()))
    return np.round(np.linspace(low, high, _NUM_SCORES), SCORE_DECIMALS)


def measure(truth: GroundTruth, predictions: Predictions, *, tious: Sequence[float], steps: np.ndarray) -> Quality:
    """Compute the metric as `re2tal evaluate` does, and all that the page shows beside it.

    Args:
        truth: the labelled actions.
        predictions: scored segments.
        tious: I thresholds of the temporal IoU.
        steps: (S,) scores to count at.
    """
    ranked = rank_predictions(truth, predictions)
    found = match_actions(truth, ranked, tious=tious)
    num_actions = np.bincount(truth.label_index, minlength=len(truth.class_names))
    scores = np.round(predictions.scores[ranked.row], SCORE_DECIMALS)
    action_of = np.full((len(tious), len(predictions.scores)), -2)
    action_of[:, ranked.row] = found
    return Quality(
        result=result_of_matches(truth, ranked, found, tious=tious),
        precision=precision_curves(
            found >= 0, ranked.label, num_actions=num_actions, recall=np.linspace(0, 1, _NUM_RECALLS)
        ),
        kept=_count_at_least(scores, steps),
        right=np.stack([_count_at_least(scores[row >= 0], steps) for row in found]),
        action_of=action_of,
        diagnosis=diagnose(truth, predictions, tious=tious),
        actions_of_class=num_actions,
    )


def _count_at_least(scores: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(S,): how many scores reach each step."""
    return len(scores) - np.searchsorted(np.sort(scores), steps, side="left")


def choose_start(scores: np.ndarray, steps: np.ndarray, *, quality: Quality | None, row: int) -> int:
    """Where the slider starts.

    With ground truth: at the best F1 at tIoU threshold `row`. Without: at half the median of the videos' best scores.

    Args:
        scores: (V,) the best of each video.
        steps: (S,) places of the slider.
        quality: None without ground truth.
        row: of the tIoU threshold.
    """
    if quality is not None:
        best = quality.f1()[row]
        # The middle of the plateau, if several are as good.
        return int(np.flatnonzero(best >= best.max() - 1e-12).mean())
    middle = float(np.median(scores)) / 2 if len(scores) else 0.0
    return int(np.argmin(np.abs(steps - middle)))
