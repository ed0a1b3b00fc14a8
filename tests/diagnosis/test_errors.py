"""Every error type by hand, and all of them against a plain loop."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re2tal.evaluation import mean_average_precision
from re2tal.evaluation.diagnosis import ERROR_TYPES, Diagnosis, diagnose, prediction_errors
from tests.diagnosis.plain import PlainDiagnosis, Row, predictions_of, truth_of

VIDEOS = {"a": 40.0, "b": 20.0, "c": 5.0}
TIOUS = (0.3, 0.5, 0.75)
TRUTH = [Row("a", 0, 10, "run"), Row("a", 20, 30, "jump")]


def errors_of(found: Sequence[Row], *, tiou: float, truth: Sequence[Row] = TRUTH) -> list[str]:
    codes = prediction_errors(truth_of(truth, durations=VIDEOS), predictions_of(found), tiou=tiou)
    return [ERROR_TYPES[code] if code >= 0 else "left out" for code in codes]


@pytest.mark.parametrize(
    ("prediction", "tiou", "expected"),
    [
        (Row("a", 1, 10, "run", 0.8), 0.5, "double_detection"),
        (Row("a", 20, 29, "run", 0.8), 0.5, "wrong_label"),
        (Row("a", 0, 4, "run", 0.8), 0.5, "localization"),
        (Row("a", 0, 4, "run", 0.8), 0.4, "double_detection"),
        (Row("a", 0, 1, "run", 0.8), 0.5, "localization"),  # a tIoU of 0.1 exactly
        (Row("a", 0, 0.9, "run", 0.8), 0.5, "background"),
        (Row("a", 20, 24, "run", 0.8), 0.5, "confusion"),
        (Row("a", 12, 18, "run", 0.8), 0.5, "background"),
        (Row("b", 0, 10, "run", 0.8), 0.5, "background"),  # a video without actions
        (Row("z", 0, 10, "run", 0.8), 0.5, "left out"),
        (Row("a", 0, 10, "swim", 0.8), 0.5, "left out"),
    ],
)
def test_each_type_of_error(prediction: Row, tiou: float, expected: str) -> None:
    right = Row("a", 0, 10, "run", 0.9)
    assert errors_of([right, prediction], tiou=tiou) == ["true_positive", expected]


def test_the_action_overlapped_most_decides() -> None:
    between = Row("a", 8, 24, "run", 0.8)  # run by 2/22, jump by 4/22
    assert errors_of([between], tiou=0.15) == ["wrong_label"]
    assert errors_of([between], tiou=0.5) == ["confusion"]


@pytest.mark.parametrize("order", [("dive", "cliff dive"), ("cliff dive", "dive")])
def test_a_segment_annotated_with_two_classes_does_not_make_one_of_them_wrong(order: tuple[str, str]) -> None:
    truth = [Row("a", 0, 10, label) for label in order]
    twice = [Row("a", 0, 10, "dive", 0.9), Row("a", 0, 10, "dive", 0.8), Row("a", 0, 3, "dive", 0.7)]
    assert errors_of(twice, tiou=0.5, truth=truth) == ["true_positive", "double_detection", "localization"]


def test_predictions_of_other_videos_lie_in_the_background_if_they_count() -> None:
    found = predictions_of([Row("z", 0, 10, "run", 0.8)])
    truth = truth_of(TRUTH, durations=VIDEOS)
    (code,) = prediction_errors(truth, found, tiou=0.5, count_other_videos=True)
    assert ERROR_TYPES[code] == "background"


def test_ten_times_the_actions_of_each_class_are_looked_at() -> None:
    truth = [Row("a", 0, 10, "run"), Row("a", 20, 30, "jump"), Row("b", 0, 10, "jump")]
    found = [Row("b", 12, 14, "run", 1 - i / 100) for i in range(12)]
    found += [Row("b", 12, 14, "jump", 1 - i / 100) for i in range(5)]
    profile = diagnose(truth_of(truth, durations=VIDEOS), predictions_of(found), tious=TIOUS).false_positives
    assert profile.group_sizes == (3, 3, 2, 1, 1, 1, 1, 1, 1, 1)
    assert profile.num_predictions == 15 and profile.share("background") == 1.0


def test_removing_an_error_wins_what_it_costs() -> None:
    found = [Row("a", 12, 18, "run", 0.9), Row("a", 0, 10, "run", 0.8), Row("a", 20, 30, "jump", 0.7)]
    profile = diagnose(truth_of(TRUTH, durations=VIDEOS), predictions_of(found), tious=(0.5,)).false_positives
    assert profile.mean_ap == (0.75,)  # run: precision 1/2 at its only action
    assert profile.gain["background"] == (0.25,)
    assert all(won == (0.0,) for error, won in profile.gain.items() if error != "background")


def test_normalised_precision_takes_every_class_to_have_as_many_actions() -> None:
    truth = [Row("a", 0, 10, "run"), *(Row("b", 5 * i, 5 * i + 4, "jump") for i in range(3))]
    found = [Row("a", 12, 18, "run", 0.9), Row("a", 0, 10, "run", 0.8)]
    diagnosis = diagnose(truth_of(truth, durations=VIDEOS), predictions_of(found), tious=(0.5,))
    # run: recall 1, of 2 actions in a class of average size, beside one false prediction: 2 / (2 + 1). jump: 0.
    assert diagnosis.normalized_mean_ap == pytest.approx((1 / 3,))
    assert diagnosis.result.per_tiou == (0.25,)


def rows(*, max_size: int, min_size: int = 0) -> st.SearchStrategy[list[Row]]:
    """Few places, lengths and scores, so that everything ties often."""
    return st.lists(
        st.builds(
            lambda video, start, length, label, score: Row(video, start, start + length, label, score / 4),
            st.sampled_from("abc"),
            st.integers(0, 12),
            st.integers(1, 8),
            st.sampled_from(["run", "jump", "swim"]),
            st.integers(0, 4),
        ),
        min_size=min_size,
        max_size=max_size,
    )


def diagnosed(truth: list[Row], found: list[Row], *, tious: tuple[float, ...] = TIOUS) -> Diagnosis:
    return diagnose(truth_of(truth, durations=VIDEOS), predictions_of(found), tious=tious)


@settings(deadline=None, max_examples=150)
@given(rows(min_size=1, max_size=8), rows(max_size=60))
def test_the_profile_equals_a_plain_loop(truth: list[Row], found: list[Row]) -> None:
    profile = diagnosed(truth, found).false_positives
    for place, tiou in enumerate(TIOUS):
        plain = PlainDiagnosis(truth, found, tiou=tiou)
        assert {error: list(table[place]) for error, table in profile.counts.items()} == plain.counts()
        for gain, base, normalized in (
            (profile.gain, profile.mean_ap, False),
            (profile.normalized_gain, profile.normalized_mean_ap, True),
        ):
            assert base[place] == pytest.approx(plain.best_ap(without=None, normalized=normalized))
            for error, won in gain.items():
                after = plain.best_ap(without=error, normalized=normalized)
                assert base[place] + won[place] == pytest.approx(after, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(rows(min_size=1, max_size=8), rows(max_size=60))
def test_types_sum_up_and_removing_one_never_costs(truth: list[Row], found: list[Row]) -> None:
    diagnosis = diagnosed(truth, found)
    profile = diagnosis.false_positives
    for place in range(len(TIOUS)):
        total = np.sum([table[place] for table in profile.counts.values()], axis=0)
        assert tuple(total) == profile.group_sizes
    assert all(won >= 0 for gain in (profile.gain, profile.normalized_gain) for row in gain.values() for won in row)
    expected = mean_average_precision(truth_of(truth, durations=VIDEOS), predictions_of(found), tious=TIOUS)
    assert diagnosis.result == expected


@settings(deadline=None, max_examples=50)
@given(rows(min_size=1, max_size=8), rows(max_size=40))
def test_the_error_of_each_prediction_is_the_one_that_is_counted(truth: list[Row], found: list[Row]) -> None:
    plain = PlainDiagnosis(truth, found, tiou=0.5)
    codes = prediction_errors(truth_of(truth, durations=VIDEOS), predictions_of(found), tiou=0.5)
    assert {i: ERROR_TYPES[code] for i, code in enumerate(codes) if code >= 0} == plain.type_of
