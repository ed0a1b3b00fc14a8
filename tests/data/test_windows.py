"""Windows and the actions inside them, against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re2tal.common.types import Action, AnnotatedVideo
from re2tal.data.windows import actions_in_window, draw_window, resized_segments, window_starts, windowed_segments


@given(
    total=st.integers(1, 500), num_steps=st.integers(1, 64), overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.99])
)
def test_windows_cover_every_step_without_repeating_one_another(total: int, num_steps: int, overlap: float) -> None:
    starts = window_starts(total, num_steps=num_steps, overlap=overlap)
    covered = {step for start in starts for step in range(start, min(start + num_steps, total))}
    assert covered == set(range(total))
    assert starts == sorted(set(starts))
    assert starts[0] == 0 and all(start + num_steps <= total for start in starts[1:])


def test_windows_lie_as_drawn() -> None:
    assert window_starts(10, num_steps=4, overlap=0.5) == [0, 2, 4, 6]
    assert window_starts(11, num_steps=4, overlap=0.5) == [0, 2, 4, 6, 7]
    assert window_starts(4, num_steps=4, overlap=0.5) == [0]
    assert window_starts(3, num_steps=4, overlap=0.5) == [0]


segments_lists = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=6)


@given(
    raw=segments_lists, start=st.integers(0, 40), length=st.integers(1, 30), share=st.sampled_from([0.25, 0.75, 1.0])
)
def test_an_action_is_inside_if_enough_of_it_is(
    raw: list[tuple[int, int]], start: int, length: int, share: float
) -> None:
    segments = np.array([(a, a + extent) for a, extent in raw], float).reshape(-1, 2)
    end = start + length
    clipped, inside = actions_in_window(segments, start=start, end=end, min_inside=share)
    expected = []
    for number, (a, b) in enumerate(segments):
        overlap = max(min(b, end) - max(a, start), 0)
        belongs = b > a and overlap >= share * (b - a)
        assert inside[number] == belongs
        if belongs:
            expected.append((max(a, start) - start, min(b, end) - start))
    assert clipped.tolist() == [list(pair) for pair in expected]


def _draws(rng: np.random.Generator, *, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


@pytest.mark.parametrize("seed", range(20))
def test_a_drawn_window_has_its_length_and_holds_an_action(seed: int) -> None:
    rng = np.random.default_rng(seed)
    segments = np.array([[700.0, 710.0]])
    start, end = draw_window(
        1000,
        segments,
        length=100,
        min_inside=0.75,
        crop_ratio=(0.9, 1.0),
        draw=lambda low, high: _draws(rng, low=low, high=high),
    )
    assert end - start == 100 and start >= 0 and end <= 1000
    assert actions_in_window(segments, start=start, end=end, min_inside=0.75)[1].any()


def test_drawn_windows_differ_and_reach_both_ends_of_the_video() -> None:
    rng = np.random.default_rng(0)
    starts = {
        draw_window(
            20,
            np.array([[0.0, 20.0]]),
            length=15,
            min_inside=0.1,
            crop_ratio=(1, 1),
            draw=lambda low, high: _draws(rng, low=low, high=high),
        )[0]
        for _ in range(200)
    }
    assert starts == set(range(6))


def test_a_short_video_is_cropped_to_a_random_share() -> None:
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(200):
        start, end = draw_window(
            50,
            np.array([[0.0, 50.0]]),
            length=100,
            min_inside=0.1,
            crop_ratio=(0.9, 1.0),
            draw=lambda low, high: _draws(rng, low=low, high=high),
        )
        assert 0 <= start < end <= 50
        lengths.add(end - start)
    assert lengths == {45, 46, 47, 48, 49, 50}


def test_drawing_gives_up_after_200_windows_without_an_action() -> None:
    calls = []

    def draw(low: int, high: int) -> int:
        calls.append((low, high))
        return low

    window = draw_window(100, np.array([[90.0, 95.0]]), length=10, min_inside=0.75, crop_ratio=(1, 1), draw=draw)
    assert window == (0, 10)
    assert calls == [(0, 90)] * 200


def _video(*spans: tuple[float, float]) -> AnnotatedVideo:
    actions = tuple(Action(start_seconds=start, end_seconds=end, label="a") for start, end in spans)
    return AnnotatedVideo(video_id="v", subset="t", duration_seconds=10, num_frames=250, actions=actions)


def test_seconds_become_steps() -> None:
    video = _video((1.0, 2.5), (0.13, 10.0))
    assert windowed_segments(video, num_frames=250, frames_in_step=4).tolist() == [[6.25, 15.5], [0.75, 62.5]]
    np.testing.assert_allclose(resized_segments(video, num_steps=100), [[10, 25], [1.3, 100]])


def test_a_video_without_actions_has_no_segments() -> None:
    assert windowed_segments(_video(), num_frames=250, frames_in_step=4).shape == (0, 2)
    assert resized_segments(_video(), num_steps=100).shape == (0, 2)
