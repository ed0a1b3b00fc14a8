"""Precision-recall curves: the metric is the mean of the areas under them."""

import numpy as np

__all__ = ["precision_curves"]


def precision_curves(
    is_true: np.ndarray, label: np.ndarray, *, num_actions: np.ndarray, recall: np.ndarray
) -> np.ndarray:
    """The precision of every class at every recall; non-increasing, as the metric makes it.

    Args:
        is_true: (I, N) bool: at I thresholds, which of N ranked predictions find an action.
        label: (N,) their classes, ascending; of each class, the best prediction first.
        num_actions: (K,) how many actions each class has.
        recall: (R,) in [0, 1].

    Returns:
        (I, K, R): the highest precision at which a class reaches a recall; 0 where it never does.
    """
    starts = np.searchsorted(label, np.arange(len(num_actions) + 1))
    curves = np.zeros((len(is_true), len(num_actions), len(recall)))
    for row, of_tiou in enumerate(is_true):
        for column, actions in enumerate(num_actions):
            rank = np.flatnonzero(of_tiou[starts[column] : starts[column + 1]]) + 1
            precision = np.arange(1, len(rank) + 1) / rank
            non_increasing = np.maximum.accumulate(precision[::-1])[::-1]
            # A recall of r takes ceil(r * actions) true predictions; a rounding error must not ask for one more.
            needed = np.maximum(np.ceil(recall * actions - 1e-9).astype(np.int64), 1)
            curves[row, column] = np.append(non_increasing, 0.0)[np.minimum(needed - 1, len(rank))]
    return curves
