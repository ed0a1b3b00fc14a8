"""What every prediction is: right, or wrong in one of five ways; and what each way costs.

N predictions, class by class and the best of each first; M actions, I thresholds, K classes.
"""

from dataclasses import dataclass

import numpy as np

from re2tal.evaluation import (
    GroundTruth,
    Predictions,
    Ranked,
    best_overlaps,
    match_actions,
    precision_table,
    rank_predictions,
)
from re2tal.evaluation.diagnosis.result import ERROR_TYPES, NUM_GROUPS, ErrorType, FalsePositiveProfile

__all__ = ["Matches", "prediction_errors", "profile"]

_TOUCHING_TIOU = 0.1
"""A prediction that overlaps every action of its video less than this lies in the background."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Matches:
    """Which prediction finds which action, and what the metric needs to know of the classes."""

    tious: tuple[float, ...]
    ranked: Ranked
    """N predictions."""
    found: np.ndarray
    """(I, N) action that each prediction finds; -1 for none."""
    num_actions: np.ndarray
    """(K,)"""

    @property
    def instances(self) -> float:
        """Actions of an average class: what normalised precision takes every class to have."""
        return float(self.num_actions.mean())

    @property
    def place(self) -> np.ndarray:
        """(N,) places of the predictions within their class, from 0 on."""
        return np.arange(len(self.ranked)) - np.searchsorted(self.ranked.label, self.ranked.label)


def prediction_errors(
    ground_truth: GroundTruth, predictions: Predictions, *, tiou: float, count_other_videos: bool = False
) -> np.ndarray:
    """What each of all predictions is at one threshold, to show beside it.

    Returns:
        (N,) int8 in the order of `predictions`: indices into `ERROR_TYPES`; -1 for predictions that do not count,
        since their video or class is not evaluated, or nobody has looked where they lie.
    """
    ranked = rank_predictions(ground_truth, predictions, count_other_videos=count_other_videos)
    found = match_actions(ground_truth, ranked, tious=(tiou,))
    errors = np.full(len(predictions.scores), -1, np.int8)
    errors[ranked.row] = _errors(ground_truth, ranked, found, tious=(tiou,))[0]
    return errors


def profile(ground_truth: GroundTruth, matches: Matches) -> FalsePositiveProfile:
    """The types of the best predictions and what their removal wins."""
    group = matches.place // matches.num_actions[matches.ranked.label]
    best = group < NUM_GROUPS
    group, ranked, found = group[best], matches.ranked.where(best), matches.found[:, best]
    errors = _errors(ground_truth, ranked, found, tious=matches.tious)
    counts = {
        error: tuple(tuple(np.bincount(group[row == code], minlength=NUM_GROUPS).tolist()) for row in errors)
        for code, error in enumerate(ERROR_TYPES)
    }

    def mean_ap(counted: np.ndarray, instances: float | None) -> np.ndarray:
        table = precision_table(
            found >= 0, ranked.label, num_actions=matches.num_actions, counted=counted, instances=instances
        )
        return table.mean(1)

    def gains(instances: float | None) -> tuple[np.ndarray, dict[ErrorType, tuple[float, ...]]]:
        base = mean_ap(np.ones_like(found, bool), instances)
        won = {error: mean_ap(errors != code, instances) - base for code, error in enumerate(ERROR_TYPES) if code}
        return base, {error: tuple(values.tolist()) for error, values in won.items()}

    plain, gain = gains(None)
    normalized, normalized_gain = gains(matches.instances)
    return FalsePositiveProfile(
        tious=matches.tious,
        group_sizes=tuple(np.bincount(group, minlength=NUM_GROUPS).tolist()),
        counts=counts,
        mean_ap=tuple(plain.tolist()),
        normalized_mean_ap=tuple(normalized.tolist()),
        gain=gain,
        normalized_gain=normalized_gain,
    )


def _errors(ground_truth: GroundTruth, ranked: Ranked, found: np.ndarray, *, tious: tuple[float, ...]) -> np.ndarray:
    """(I, N) int8, indices into `ERROR_TYPES`.

    The action that a prediction overlaps most, whether or not another prediction has found it, tells the type. Where
    actions of two classes overlap it equally (one segment annotated with both), its own class decides.
    """
    overlap, own_overlap = best_overlaps(ground_truth, ranked)
    own = own_overlap == overlap
    reaches = overlap >= np.array(tious)[:, None]
    touches = overlap >= _TOUCHING_TIOU
    # In the order of ERROR_TYPES; the first that holds. What none holds for lies in the background.
    conditions = [found >= 0, reaches & own, reaches, touches & own, touches]
    codes = [np.int8(code) for code in range(len(ERROR_TYPES))]
    return np.select(conditions, codes[:-1], default=codes[-1])
