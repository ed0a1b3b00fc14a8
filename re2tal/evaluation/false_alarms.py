"""How often a detector raises a false alarm once its threshold lets it find most actions."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from re2tal.evaluation.matching import match_actions, rank_predictions
from re2tal.evaluation.tables import GroundTruth, Predictions

__all__ = ["FalseAlarms", "count_false_alarms"]

_SECONDS_OF_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """False alarms at the highest threshold of the score at which enough actions are found."""

    tiou: float
    """An action is found by a prediction of its class that overlaps it this much."""
    recall: float
    """The share of all actions that is to be found."""
    reached: float
    """The share of all actions that any prediction finds."""
    score: float | None
    """The threshold; None if not enough actions are found at any, and then there are no counts either."""
    num: int | None
    """Predictions from the threshold on that find no action."""
    hours: float
    """Of labelled video."""
    num_in_empty: int | None
    """Those of them in videos without annotations."""
    hours_empty: float
    """Of labelled video without annotations."""

    @property
    def per_hour(self) -> float | None:
        """False alarms in an hour of labelled video."""
        return None if self.num is None else self.num / self.hours

    @property
    def per_hour_empty(self) -> float | None:
        """False alarms in an hour of those videos that show no action."""
        return None if self.num_in_empty is None else self.num_in_empty / self.hours_empty

    def in_words(self) -> str:
        """One line for people."""
        what = f"{100 * self.recall:g} % recall at tIoU {self.tiou:g}"
        if self.per_hour is None or self.per_hour_empty is None:
            return f"false alarms at {what}: none counted, at most {100 * self.reached:.1f} % of the actions are found"
        return (
            f"false alarms per hour at {what}: {self.per_hour:.1f}; in the {60 * self.hours_empty:.1f} min of videos "
            f"without actions {self.per_hour_empty:.1f} (scores from {self.score:.3f} on)"
        )

    def as_json(self) -> dict[str, float | None]:
        """By name."""
        return {**vars(self), "per_hour": self.per_hour, "per_hour_empty": self.per_hour_empty}


def count_false_alarms(
    ground_truth: GroundTruth, predictions: Predictions, *, tiou: float = 0.5, recall: float = 0.9
) -> FalseAlarms | None:
    """False alarms per hour at a recall, as detectors of rare events are judged.

    One threshold serves all classes, as `re2tal predict --min-score` has it: the highest score from which on
    predictions find `recall` of all actions. Every prediction with at least that score that finds no action is a false
    alarm, also one that finds an action again, or not closely enough. What lies in stretches that nobody has looked at
    is neither, and their length does not count as time.

    Args:
        ground_truth: The labelled actions of the evaluated videos, with their durations.
        predictions: Scored segments.
        tiou: Temporal IoU from which on a prediction finds an action.
        recall: In (0, 1].

    Returns:
        None if no evaluated video is known to show no action, or the length of one is not known.
    """
    seconds = _labelled_seconds(ground_truth)
    empty = np.array([name in ground_truth.empty for name in ground_truth.video_ids], bool)
    if not np.isfinite(seconds).all() or not seconds[empty].sum():
        return None
    ranked = rank_predictions(ground_truth, predictions)
    scores = predictions.scores[ranked.row]
    is_true = match_actions(ground_truth, ranked, tious=(tiou,))[0] >= 0
    num_actions = len(ground_truth.segments)
    needed = max(ceil(recall * num_actions - 1e-9), 1)  # a rounding error must not ask for one more
    found = np.sort(scores[is_true])[::-1]
    score = float(found[needed - 1]) if len(found) >= needed else None
    is_false = ~is_true & (scores >= (np.inf if score is None else score))
    return FalseAlarms(
        tiou=tiou,
        recall=recall,
        reached=len(found) / num_actions,
        score=score,
        num=None if score is None else int(is_false.sum()),
        hours=float(seconds.sum()) / _SECONDS_OF_HOUR,
        num_in_empty=None if score is None else int((is_false & empty[ranked.video]).sum()),
        hours_empty=float(seconds[empty].sum()) / _SECONDS_OF_HOUR,
    )


def _labelled_seconds(ground_truth: GroundTruth) -> np.ndarray:
    """(V,) of each video; nan where its length is not known."""
    count = len(ground_truth.video_ids)
    seconds = np.full(count, np.nan) if ground_truth.durations is None else ground_truth.durations.copy()
    for place, name in enumerate(ground_truth.video_ids):
        if name in ground_truth.labelled:
            seconds[place] = sum(end - start for start, end in ground_truth.labelled[name])
    return seconds
