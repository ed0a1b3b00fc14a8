"""From the detections of a video to stretches that can be labelled in one go: pure functions.

N detections, K classes, T moments, F cells of time with features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from re2tal.common.labelled import Stretches
from re2tal.inference.suggesting.ranking import binary_entropy

__all__ = [
    "MOMENT_SECONDS",
    "Unsure",
    "cut_stretches",
    "describe",
    "moment_scores",
    "stretch_seconds",
    "uncertainty_of",
]

MOMENT_SECONDS = 0.25
"""Distance of two moments at which scores are looked at."""
SHORTEST, LONGEST = 20.0, 60.0
"""Seconds of a stretch: long enough to see what it is about, short enough that no time goes into what is alike."""
_UNSURE_BITS = 0.7
"""Of a detection that a person should decide about: scores from 0.19 to 0.81."""


def stretch_seconds(window_seconds: float) -> float:
    """How long stretches should be, for a detector that sees so much at once."""
    return min(max(window_seconds, SHORTEST), LONGEST)


def moment_scores(
    segments: np.ndarray, scores: np.ndarray, labels: np.ndarray, *, num_classes: int, duration: float
) -> np.ndarray:
    """(T, K) float32: the highest score of each class at each moment, a quarter of a second apart; 0 where nothing is.

    Args:
        segments: (N, 2) in seconds.
        scores: (N,).
        labels: (N,) class indices.
        num_classes: K.
        duration: of the video, in seconds.
    """
    moments = np.zeros((max(int(np.ceil(duration / MOMENT_SECONDS)), 1), num_classes), np.float32)
    for row in np.argsort(scores, kind="stable"):
        # A short detection lies between two moments; the one that it is in counts.
        first, last = np.floor(segments[row] / MOMENT_SECONDS).astype(int)
        moments[max(first, 0) : max(last, first) + 1, labels[row]] = scores[row]
    return moments


def cut_stretches(gaps: Stretches, *, seconds: float, busy: np.ndarray) -> list[tuple[float, float]]:
    """Cut what is not labelled into stretches of about `seconds`, where the least is found.

    Args:
        gaps: (start, end) in seconds.
        seconds: that a stretch should last.
        busy: (T,) how much goes on at each moment. An even cut is moved by up to a quarter of a stretch to where least
            goes on, so that it does not run through an action.

    Returns:
        (start, end) of each, in whole milliseconds inside the gaps; remainders below one second are left out.
    """
    found: list[tuple[float, float]] = []
    for start, end in gaps:
        count = max(round((end - start) / seconds), 1)
        even = np.linspace(start, end, count + 1)
        cuts = [start, *(_quiet(cut, busy=busy, within=(end - start) / count / 4) for cut in even[1:-1]), end]
        for left, right in zip(cuts[:-1], cuts[1:], strict=True):
            inner = float(np.ceil(left * 1000 - 1e-6) / 1000), float(np.floor(right * 1000 + 1e-6) / 1000)
            inner = max(start, inner[0]), min(inner[1], end)
            if inner[1] - inner[0] >= 1.0:
                found.append(inner)
    return found


def _quiet(cut: float, *, busy: np.ndarray, within: float) -> float:
    low = max(int(np.ceil((cut - within) / MOMENT_SECONDS)), 0)
    high = min(int((cut + within) / MOMENT_SECONDS), len(busy) - 1)
    if low > high:
        return cut
    moments = np.arange(low, high + 1)
    nearest = np.lexsort((np.abs(moments * MOMENT_SECONDS - cut), busy[low : high + 1]))[0]
    return float(moments[nearest] * MOMENT_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Unsure:
    """What the detector is unsure of in a stretch."""

    bits: float
    """0 to 1: the mean of how unsure it is at each moment, and of how unsure what it has found is."""
    num_unsure: int
    """Detections that a person should decide about."""
    num_found: int
    """Detections that it is surer of."""
    label: int | None
    """Class of most of the unsure ones."""


def uncertainty_of(
    stretch: tuple[float, float],
    *,
    moments: np.ndarray,
    segments: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
) -> Unsure:
    """How unsure a detector is in a stretch, in bits.

    At a moment it is as unsure as about the class that it is least sure of; of detections in the stretch, those with
    high scores count most, since they are what a person would be shown.

    Args:
        stretch: (start, end) in seconds.
        moments: (T, K) see `moment_scores`.
        segments: (N, 2) in seconds, of the whole video.
        scores: (N,).
        labels: (N,).
    """
    first, last = int(stretch[0] / MOMENT_SECONDS), int(np.ceil(stretch[1] / MOMENT_SECONDS))
    shown = moments[first : max(last, first + 1)]
    at_moments = float(binary_entropy(shown).max(1).mean()) if shown.size else 0.0
    middles = segments.mean(1)
    inside = (middles >= stretch[0]) & (middles < stretch[1])
    own, bits = scores[inside].astype(np.float64), binary_entropy(scores[inside])
    of_detections = float((own * bits).sum() / own.sum()) if own.sum() > 0 else 0.0
    unsure = bits >= _UNSURE_BITS
    names = np.bincount(labels[inside][unsure]) if unsure.any() else np.zeros(0, int)
    return Unsure(
        bits=(at_moments + of_detections) / 2,
        num_unsure=int(unsure.sum()),
        num_found=int(((own > 0.5) & ~unsure).sum()),
        label=int(names.argmax()) if len(names) else None,
    )


def describe(stretches: Sequence[tuple[float, float]], *, features: np.ndarray, cell_seconds: float) -> np.ndarray:
    """(len(stretches), 2 C): mean and maximum over each stretch of features (F, C) of cells of time."""
    rows = np.zeros((len(stretches), 2 * features.shape[1]))
    for row, (start, end) in enumerate(stretches):
        first = min(int(start / cell_seconds), len(features) - 1)
        last = max(int(np.ceil(end / cell_seconds)), first + 1)
        rows[row] = np.concatenate([features[first:last].mean(0), features[first:last].max(0)])
    return rows
