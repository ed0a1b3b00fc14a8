"""Which stretches of video are worth labelling first: pure functions of numbers.

Stretches are chosen to represent what the detector is unsure of, by weighted facility location (Wei, Iyer and Bilmes,
"Submodularity in Data Subset Selection and Active Learning", ICML 2015). Two stretches whose features are as far apart
as d represent each other by k = exp(-2 d^2 / m^2), m the median distance; with uncertainty u and length c, a set A of
chosen and K of known (labelled) stretches is worth

    F(A) = sum_i c_i u_i max(max_{j in A} u_j k_ij, max_{j in K} k_ij).

F never falls and grows ever less, so taking again and again the stretch that adds most per second comes near the best
set (Nemhauser, Wolsey and Fisher 1978), and what a stretch adds need only be computed anew when it is the first in line
(Minoux 1978). Ten look-alikes do not come first, since the first of them represents the other nine.

N stretches, M known ones, D numbers that describe a stretch.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["Pick", "binary_entropy", "rank_by_use", "rank_by_uncertainty", "similarity", "standardised"]

_AT_ONCE = 512
"""Rows of the table of similarities that are in memory."""
_MOST_PAIRS = 2000
"""Stretches that the median distance is measured on."""
_LEAST_UNCERTAINTY = 1e-3
"""Of a stretch that the detector is sure of: it still is worth something, where nothing else is."""


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One stretch that was chosen."""

    index: int
    gain: float
    """What it adds per second, over what the first one added: 1, then falling."""
    novelty: float
    """How little of it is represented by what is known and by what was chosen before, 0 to 1."""


def binary_entropy(p: np.ndarray) -> np.ndarray:
    """Bits of uncertainty about what happens with probability `p`, of any shape: 1 at 0.5, 0 at 0 and 1."""
    p = np.clip(np.asarray(p, np.float64), 0.0, 1.0)
    inner = np.clip(p, 1e-12, 1 - 1e-12)
    return np.where((p > 0) & (p < 1), -inner * np.log2(inner) - (1 - inner) * np.log2(1 - inner), 0.0)


def standardised(features: np.ndarray) -> np.ndarray:
    """(N, D) with every column brought to mean 0 and variance 1; columns that do not vary become 0."""
    features = np.asarray(features, np.float64)
    if not len(features):
        return features
    centred = features - features.mean(0)
    spread = centred.std(0)
    return centred / np.where(spread > 1e-9 * (np.abs(features).max(0) + 1), spread, np.inf)


def similarity(a: np.ndarray, b: np.ndarray, *, median: float) -> np.ndarray:
    """(N, D), (M, D) -> (N, M) in [0, 1]: exp(-2 d^2 / median^2) of the distances d."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.exp(-2 * squared.clip(min=0) / median**2)


def median_distance(features: np.ndarray) -> float:
    """Median distance of two of N stretches (of evenly many of them, if there are very many); 1 if all are alike."""
    few = features[:: max(len(features) // _MOST_PAIRS, 1)]
    squared = (few**2).sum(1)[:, None] + (few**2).sum(1) - 2 * few @ few.T
    apart = squared[np.triu_indices(len(few), 1)].clip(min=0)
    median = float(np.median(np.sqrt(apart))) if len(apart) else 0.0
    return median if median > 1e-9 else 1.0


def rank_by_use(
    features: np.ndarray,
    *,
    uncertainty: np.ndarray,
    seconds: np.ndarray,
    known: np.ndarray,
    budget_seconds: float,
) -> list[Pick]:
    """The stretches to label first, best first, as many as the budget holds and at least one.

    Args:
        features: (N, D) of the stretches, in units in which distances mean something.
        uncertainty: (N,) in [0, 1].
        seconds: (N,) lengths, above 0.
        known: (M, D) features of what is labelled.
        budget_seconds: lengths of what is chosen, together. A stretch that no longer fits is passed over.
    """
    if not len(features):
        return []
    unsure = np.maximum(uncertainty, _LEAST_UNCERTAINTY)  # (N,)
    demand = seconds * unsure
    median = median_distance(np.concatenate([features, known]))
    covered = np.zeros(len(features))  # (N,) how well each is represented
    for rows in _batches(len(known)):
        covered = np.maximum(covered, similarity(features, known[rows], median=median).max(1, initial=0))

    def gains(chosen: np.ndarray) -> np.ndarray:
        """(n,) of candidates, per second."""
        represented = similarity(features, features[chosen], median=median) * unsure[chosen]  # (N, n)
        return (demand[:, None] * (represented - covered[:, None]).clip(min=0)).sum(0) / seconds[chosen]

    everyone = np.arange(len(features))
    waiting = [
        (-gain, int(index))
        for rows in _batches(len(features))
        for gain, index in zip(gains(everyone[rows]).tolist(), everyone[rows], strict=True)
    ]
    heapq.heapify(waiting)
    picks: list[Pick] = []
    first, spent = 0.0, 0.0
    while waiting:
        _, index = heapq.heappop(waiting)
        if picks and spent + seconds[index] > budget_seconds:
            continue
        gain = float(gains(everyone[index : index + 1])[0])
        if waiting and (-gain, index) > waiting[0]:  # others have become better: back into the queue
            heapq.heappush(waiting, (-gain, index))
            continue
        first = first or gain or 1.0
        picks.append(Pick(index=index, gain=gain / first, novelty=float(1 - covered[index])))
        spent += float(seconds[index])
        column = similarity(features, features[index : index + 1], median=median)[:, 0]
        covered = np.maximum(covered, column * unsure[index])
    return picks


def rank_by_uncertainty(*, uncertainty: np.ndarray, seconds: np.ndarray, budget_seconds: float) -> list[Pick]:
    """The most uncertain stretches first, whatever they resemble; arguments as of `rank_by_use`."""
    picks: list[Pick] = []
    spent, most = 0.0, max(float(uncertainty.max(initial=0)), 1e-12)
    for index in np.argsort(-uncertainty, kind="stable").tolist():
        if picks and spent + seconds[index] > budget_seconds:
            continue
        picks.append(Pick(index=index, gain=float(uncertainty[index]) / most, novelty=1.0))
        spent += float(seconds[index])
    return picks


def _batches(count: int) -> Iterator[slice]:
    for start in range(0, count, _AT_ONCE):
        yield slice(start, min(start + _AT_ONCE, count))
