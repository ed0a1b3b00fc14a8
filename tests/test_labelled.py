"""Stretches of a video, against a plain count of tenths of a second."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re2tal.common.labelled import LabelledTime, lies_outside, merged, read_labelled, without

DURATION = 20.0
ticks = st.integers(0, 200)
segments = st.lists(st.tuples(ticks, ticks).map(lambda pair: [min(pair) / 10, max(pair) / 10]), max_size=6)


def covered(stretches: object) -> set[int]:
    """The tenths of a second that lie in a stretch."""
    return {tick for start, end in stretches for tick in range(round(10 * start), round(10 * end))}  # type: ignore[attr-defined]


@given(first=segments, second=segments)
def test_stretches_join_and_differ_as_sets_of_moments_do(first: list[list[float]], second: list[list[float]]) -> None:
    one = merged(first, duration=DURATION)
    assert covered(one) == covered(first)
    assert all(a[1] < b[0] for a, b in zip(one, one[1:], strict=False)) and all(start < end for start, end in one)
    assert covered(without(one, second)) == covered(first) - covered(second)
    time = LabelledTime.of(duration=DURATION, labelled=one, annotated=second)
    expected = (len(covered(first)), len(covered(first) - covered(second)), 200 - len(covered(first)))
    assert (time.labelled, time.empty, time.unlabelled) == pytest.approx(tuple(count / 10 for count in expected))


def test_an_event_without_length_is_in_nothing_that_is_empty() -> None:
    assert without([(0.0, 10.0)], [(4.0, 4.0)]) == ((0.0, 4.0), (4.0, 10.0))
    assert without([(0.0, 10.0)], [(0.0, 0.0), (10.0, 10.0)]) == ((0.0, 10.0),)


@given(where=segments, what=st.lists(st.tuples(ticks, st.integers(1, 100)), min_size=1, max_size=5))
def test_a_segment_lies_outside_if_more_than_half_of_it_does(
    where: list[list[float]], what: list[tuple[int, int]]
) -> None:
    stretches = merged(where, duration=DURATION)
    table = np.array([(start / 10, (start + length) / 10) for start, length in what])
    inside = [len(covered(stretches) & set(range(start, start + length))) for start, length in what]
    for outside, count, (_, length) in zip(lies_outside(table, stretches), inside, what, strict=True):
        if 2 * count != length:  # an exact half is a matter of rounding
            assert outside == (2 * count < length)


def test_half_inside_counts_and_a_moment_counts_where_it_is_labelled() -> None:
    found = lies_outside(np.array([[8.0, 12.0], [8.0, 12.5], [5.0, 5.0], [11.0, 11.0]]), ((0.0, 10.0),))
    assert found.tolist() == [False, True, False, True]
    assert lies_outside(np.array([[0.0, 1.0], [2.0, 2.0]]), ()).all()


@pytest.mark.parametrize(
    ("value", "annotated", "expected"),
    [
        (None, [], None),
        ([], [], ()),
        ([], [[3.0, 4.0]], ((3.0, 4.0),)),  # what is annotated has been looked at
        ([[0.0, 20.0]], [], None),
        ([[0.005, 19.995]], [], None),  # the ends are rounded
        ([[12, 15], [0, 5], [4, 6]], [[5.5, 8.0]], ((0.0, 8.0), (12.0, 15.0))),
        ([[15.0, 30.0], [25.0, 26.0]], [], ((15.0, 20.0),)),
    ],
)
def test_the_field_is_cut_to_the_video_and_put_in_order(
    value: object, annotated: list[list[float]], expected: object
) -> None:
    assert read_labelled(value, annotated=annotated, duration=DURATION) == expected


@pytest.mark.parametrize(
    "value", ["0-5", [5.0], [[1.0]], [[5.0, 1.0]], [[0.0, float("nan")]], [[True, 2.0]], [None], {}]
)
def test_another_value_is_refused_and_shown(value: object) -> None:
    with pytest.raises(ValueError, match=r'"labelled" must be a list of \[start, end\] in seconds, .*got'):
        read_labelled(value, annotated=[], duration=DURATION)
