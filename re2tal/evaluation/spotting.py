"""Mean average precision of point events, as SoccerNet's public evaluation code computes it.

N predictions, M events, K classes, I tolerances. Segments count by their middles.

* SoccerNet cuts times to frames of a fixed rate, 2 per second. Events of one class and video in one frame count once;
  of such predictions the last one of the file counts, which in a file that has the best first is the worst of them. So
  times are compared as they are unless a frame rate is given.
* Events are visited in the order of time. Each takes the prediction of its class with the best score among those that
  are still free and at most half the tolerance away (of equal scores the earliest). A tolerance is thus the width of
  a window around the event.
* Precision and recall are taken at 200 scores from 0 to 1, and average precision is the mean of the best precision
  at recalls from 0, 0.1, ... 1.
* The average over tolerances is the area under mAP by tolerance, as trapezoids of equal width.

Source: Giancola et al., "SoccerNet", CVPR Workshops 2018; Deliege et al., "SoccerNet-v2", CVPR Workshops 2021, and the
package SoccerNet 0.2.0 (MIT).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from re2tal.evaluation.average_precision import PrecisionResult
from re2tal.evaluation.matching import rank_predictions
from re2tal.evaluation.tables import GroundTruth, Predictions

__all__ = ["LOOSE", "TIGHT", "SpottingResult", "spotting_precision"]

TIGHT = (1.0, 2.0, 3.0, 4.0, 5.0)
"""Seconds, of SoccerNet's tight average-mAP."""
LOOSE = tuple(5.0 * number for number in range(1, 13))
"""Seconds, of its loose one."""
_SCORES = np.linspace(0, 1, 200)
_RECALLS = np.arange(11) / 10


@dataclass(frozen=True, kw_only=True)
class SpottingResult(PrecisionResult):
    """Mean average precision of point events."""

    tolerances: tuple[float, ...]
    """I tolerances in seconds."""
    per_tolerance: tuple[float, ...]
    """I means over the classes."""

    @property
    def headings(self) -> tuple[str, ...]:
        """Of tolerances."""
        return ("tolerance", *(f"{tolerance:g}s" for tolerance in self.tolerances))

    @property
    def means(self) -> tuple[float, ...]:
        """I means over the classes."""
        return self.per_tolerance

    def averaged(self, values: Sequence[float]) -> float:
        """The area under the values, as trapezoids of equal width; a single value is its own average."""
        halves = np.asarray(values, np.float64)
        return float(np.mean((halves[:-1] + halves[1:]) / 2)) if len(values) > 1 else float(values[0])


def spotting_precision(
    ground_truth: GroundTruth,
    predictions: Predictions,
    *,
    tolerances: Sequence[float] = TIGHT,
    frame_rate: float = 0.0,
) -> SpottingResult:
    """Mean average precision at tolerances in time, over the classes of the ground truth.

    Args:
        ground_truth: The events of the evaluated videos; a class without any has an average precision of 0.
        predictions: Scored events; scores below 0 do not count.
        tolerances: I widths in seconds of the window around an event.
        frame_rate: Frames per second that times are cut to, 2 for SoccerNet's figures; 0 compares times as they are,
            and counts all of them.
    """
    ranked = rank_predictions(ground_truth, predictions)
    scores = predictions.scores[ranked.row]
    in_file = np.argsort(ranked.row)
    in_file = in_file[scores[in_file] >= 0]
    events = _events(ground_truth.label_index, ground_truth.video_index, ground_truth.segments, frame_rate=frame_rate)
    found = _events(
        ranked.label[in_file],
        ranked.video[in_file],
        ranked.segments[in_file],
        frame_rate=frame_rate,
        scores=scores[in_file],
    )
    unit = frame_rate or 1.0
    table = np.array(
        [
            [
                _average_precision(events, found, label=label, reach=tolerance * unit / 2)
                for label in range(len(ground_truth.class_names))
            ]
            for tolerance in tolerances
        ]
    )  # (I, K)
    return SpottingResult(
        tolerances=tuple(map(float, tolerances)),
        per_tolerance=tuple(map(float, table.mean(1))),
        per_class={name: tuple(map(float, table[:, place])) for place, name in enumerate(ground_truth.class_names)},
        num_videos=len(ground_truth.video_ids),
        num_actions=len(ground_truth.segments),
        num_predictions=len(ranked),
        num_other_videos=ranked.num_other_videos,
        num_other_classes=ranked.num_other_classes,
        num_unlabelled=ranked.num_unlabelled,
    )


@dataclass(frozen=True, kw_only=True)
class _Events:
    """Points sorted by class, video and time."""

    label: np.ndarray
    """(N,)"""
    video: np.ndarray
    """(N,)"""
    time: np.ndarray
    """(N,) in frames, or seconds."""
    score: np.ndarray
    """(N,)"""


def _events(
    label: np.ndarray, video: np.ndarray, segments: np.ndarray, *, frame_rate: float, scores: np.ndarray | None = None
) -> _Events:
    """The middles of segments; of several of one class and video in one frame the last."""
    time = segments.mean(1)
    scores = np.ones(len(time)) if scores is None else scores
    if frame_rate:
        time = np.floor(time * frame_rate)
        keys = np.stack([label, video, time], 1)[::-1]  # `unique` gives the first of equal ones
        kept = len(keys) - 1 - np.unique(keys, axis=0, return_index=True)[1]
    else:
        kept = np.lexsort([time, video, label])
    return _Events(label=label[kept], video=video[kept], time=time[kept], score=scores[kept])


def _average_precision(events: _Events, found: _Events, *, label: int, reach: float) -> float:
    """Of one class.

    Args:
        events, found: Of all classes.
        label: The class.
        reach: How far a prediction may lie from its event.
    """
    ours, theirs = np.flatnonzero(events.label == label), np.flatnonzero(found.label == label)
    scores = found.score[theirs]
    is_true = np.zeros(len(theirs), bool)
    for video in np.unique(events.video[ours]):
        here = np.flatnonzero(found.video[theirs] == video)
        times = events.time[ours[events.video[ours] == video]]
        is_true[here] = _takes(times, found.time[theirs[here]], scores[here], reach=reach)
    counted = scores >= _SCORES[:, None]  # (200, N)
    num_true = (counted & is_true).sum(1)
    precision = num_true / np.maximum(counted.sum(1), 1)
    recall = num_true / max(len(ours), 1)
    best = [precision[recall >= least].max(initial=0.0) for least in _RECALLS]
    return float(np.sum(best) / len(_RECALLS))


def _takes(events: np.ndarray, times: np.ndarray, scores: np.ndarray, *, reach: float) -> np.ndarray:
    """Which predictions (N,) of one class and video find one of the events (M,); both in the order of time."""
    is_taken = np.zeros(len(times), bool)
    first = np.searchsorted(times, events - reach - 1)  # a little wide, so that rounding loses none
    last = np.searchsorted(times, events + reach + 1, side="right")
    for event, start, end in zip(events, first, last, strict=True):
        near = (np.abs(times[start:end] - event) <= reach) & ~is_taken[start:end]
        if near.any():
            is_taken[start + np.argmax(np.where(near, scores[start:end], -1.0))] = True
    return is_taken
