"""A diagnosis from ground truth and predictions.

N predictions, M actions, I thresholds, K classes.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from re2tal.evaluation import (
    GroundTruth,
    Predictions,
    match_actions,
    precision_table,
    rank_predictions,
    result_of_matches,
)
from re2tal.evaluation.diagnosis.characteristics import BIN_NAMES, Bins, characteristics, choose_bins
from re2tal.evaluation.diagnosis.errors import Matches, profile
from re2tal.evaluation.diagnosis.result import BinFigures, CharacteristicFigures, CharacteristicName, Diagnosis

__all__ = ["diagnose"]

_LEAST_PRECISION = 0.05
"""An action counts as found by predictions down to this normalised precision. Anything can be found far down a list
that nobody would read that far."""


def diagnose(
    ground_truth: GroundTruth,
    predictions: Predictions,
    *,
    tious: Sequence[float],
    bins: str | None = None,
    count_other_videos: bool = False,
) -> Diagnosis:
    """Errors among the predictions, and which actions are hard to find.

    After Alwassel et al., "Diagnosing Error in Temporal Action Detectors", ECCV 2018.

    Args:
        ground_truth: The labelled actions of the evaluated videos; coverage needs their durations.
        predictions: Scored segments.
        tious: I temporal IoU thresholds.
        bins: "thumos", "anet", "quantiles", or None for those that suit the actions.
        count_other_videos: Count predictions for videos outside the evaluated subset as false ones.
    """
    values = characteristics(ground_truth)
    chosen = choose_bins(values, name=bins)
    ranked = rank_predictions(ground_truth, predictions, count_other_videos=count_other_videos)
    matches = Matches(
        tious=tuple(map(float, tious)),
        ranked=ranked,
        found=match_actions(ground_truth, ranked, tious=tious),
        num_actions=np.bincount(ground_truth.label_index, minlength=len(ground_truth.class_names)),
    )
    table = precision_table(
        matches.found >= 0, ranked.label, num_actions=matches.num_actions, instances=matches.instances
    )
    missed = _missed(matches)
    return Diagnosis(
        result=result_of_matches(ground_truth, ranked, matches.found, tious=tious),
        normalized_mean_ap=_floats(table.mean(1)),
        false_negative_rate=_floats(missed.mean(1)),
        false_positives=profile(ground_truth, matches),
        bins=chosen.name,
        characteristics=tuple(
            _figures(name, of_actions, chosen, label=ground_truth.label_index, matches=matches, missed=missed)
            for name, of_actions in values.items()
        ),
    )


def _missed(matches: Matches) -> np.ndarray:
    """(I, M) bool, the actions that no prediction finds precisely enough."""
    is_true = matches.found >= 0
    # True predictions of the class so far: all so far, less those of the classes before.
    so_far = np.cumsum(is_true, axis=1)
    class_start = np.searchsorted(matches.ranked.label, matches.ranked.label)
    num_true: np.ndarray = so_far - np.where(class_start > 0, so_far[:, class_start - 1], 0)
    assumed_true = num_true / matches.num_actions[matches.ranked.label] * matches.instances
    precision = assumed_true / (assumed_true + matches.place + 1 - num_true)
    row, prediction = np.nonzero(is_true & (precision > _LEAST_PRECISION))
    missed = np.ones((len(matches.tious), int(matches.num_actions.sum())), bool)
    missed[row, matches.found[row, prediction]] = False
    return missed


def _figures(
    name: CharacteristicName,
    values: np.ndarray,
    bins: Bins,
    *,
    label: np.ndarray,
    matches: Matches,
    missed: np.ndarray,
) -> CharacteristicFigures:
    """The bins of one characteristic, whose `values` (M,) the actions of classes `label` (M,) have."""
    placed = bins.place(name, values)
    found = []
    for number, (low, high) in enumerate(pairwise(bins.edges[name])):
        chosen = placed == number
        found.append(
            BinFigures(
                name=BIN_NAMES[number],
                low=float(low),
                high=float(high),
                num_actions=int(chosen.sum()),
                normalized_mean_ap=_mean_ap_of(chosen, label=label, matches=matches),
                false_negative_rate=_floats(missed[:, chosen].mean(1)) if chosen.any() else None,
            )
        )
    return CharacteristicFigures(tious=matches.tious, name=name, bins=tuple(found), num_unknown=int((placed < 0).sum()))


def _mean_ap_of(chosen: np.ndarray, *, label: np.ndarray, matches: Matches) -> tuple[float, ...] | None:
    """Normalised mAP of some actions: the others, and the predictions that find them, do not count.

    A prediction that finds another action at any of the thresholds is left out at all of them, as in DETAD's program:
    what finds its neighbour loosely is not held against an action when the threshold becomes strict.

    Args:
        chosen: (M,) bool.
        label: (M,) classes of the actions.
    """
    num_actions = np.bincount(label[chosen], minlength=len(matches.num_actions))
    if not num_actions.any():
        return None
    counted = ((matches.found < 0) | chosen[matches.found]).all(0)
    table = precision_table(
        matches.found >= 0,
        matches.ranked.label,
        num_actions=num_actions,
        counted=np.broadcast_to(counted, matches.found.shape),
        instances=matches.instances,
    )
    return _floats(table[:, num_actions > 0].mean(1))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))
