"""Precision-recall curves, against the metric and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re2tal.evaluation import precision_curves
from re2tal.evaluation.average_precision import average_precision


def test_by_hand() -> None:
    # right, wrong, right: precisions 1 and 2/3 at recalls 1/4 and 2/4 of four actions.
    curves = precision_curves(
        np.array([[True, False, True]]),
        np.zeros(3, np.int64),
        num_actions=np.array([4]),
        recall=np.array([0, 0.25, 0.26, 0.5, 0.51, 1]),
    )
    assert curves[0, 0].tolist() == [1, 1, pytest.approx(2 / 3), pytest.approx(2 / 3), 0, 0]


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 5))
def test_the_area_under_a_curve_is_the_average_precision(is_true: list[bool], more: int) -> None:
    num_actions = sum(is_true) + more
    if not num_actions:
        return
    # In the middle of each step of the curve, which is as wide as one action.
    recall = (np.arange(num_actions) + 0.5) / num_actions
    curves = precision_curves(
        np.array([is_true], bool), np.zeros(len(is_true), np.int64), num_actions=np.array([num_actions]), recall=recall
    )
    assert curves[0, 0].mean() == pytest.approx(average_precision(np.array(is_true, bool), num_actions=num_actions))


def test_a_class_without_predictions_has_no_precision() -> None:
    curves = precision_curves(
        np.array([[True]]), np.array([1]), num_actions=np.array([2, 1]), recall=np.array([0.0, 1.0])
    )
    assert curves[0].tolist() == [[0, 0], [1, 1]]
