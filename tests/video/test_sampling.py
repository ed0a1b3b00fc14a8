"""Which frames a clip consists of, against plain loops."""

import numpy as np
import pytest

from re2tal.video.sampling import resize_sample, window_sample


@pytest.mark.parametrize("num_frames", [1, 7, 64, 101, 1000])
@pytest.mark.parametrize(("num_steps", "frames_per_step"), [(1, 1), (8, 4), (16, 1)])
def test_resizing_takes_the_frame_nearest_to_the_middle_of_each_part(
    num_frames: int, num_steps: int, frames_per_step: int
) -> None:
    sample = resize_sample(num_frames, num_steps=num_steps, frames_per_step=frames_per_step)
    length = num_steps * frames_per_step
    assert len(sample.indices) == length
    assert sample.mask.tolist() == [True] * num_steps
    for number, index in enumerate(sample.indices):
        # Frame i is shown from i to i + 1.
        middle = (number + 0.5) * num_frames / length
        assert index - 1e-9 <= middle <= index + 1 + 1e-9


def test_a_window_takes_every_frame_of_its_stride() -> None:
    sample = window_sample(100, first_frame=8, end_frame=24, num_steps=4, frames_per_step=2, frame_stride=2)
    assert sample.indices.tolist() == [8, 10, 12, 14, 16, 18, 20, 22]
    assert sample.mask.tolist() == [True] * 4


def test_a_window_past_the_end_repeats_the_last_frame_and_masks_its_steps() -> None:
    sample = window_sample(13, first_frame=4, end_frame=20, num_steps=4, frames_per_step=2, frame_stride=2)
    assert sample.indices.tolist() == [4, 6, 8, 10, 12, 12, 12, 12]
    assert sample.mask.tolist() == [True, True, False, False]


def test_a_window_never_shows_frames_after_its_end() -> None:
    sample = window_sample(100, first_frame=0, end_frame=8, num_steps=4, frames_per_step=2, frame_stride=2)
    assert sample.indices.tolist() == [0, 2, 4, 6, 6, 6, 6, 6]
    assert sample.mask.tolist() == [True, True, False, False]


def test_the_shortest_video_keeps_one_step() -> None:
    sample = window_sample(1, first_frame=0, end_frame=16, num_steps=2, frames_per_step=4, frame_stride=2)
    assert sample.indices.tolist() == [0] * 8
    assert sample.mask.tolist() == [True, False]


def test_a_window_outside_the_video_is_refused() -> None:
    with pytest.raises(ValueError, match="frames 100 to 116 of 90.*more frames than the file"):
        window_sample(90, first_frame=100, end_frame=116, num_steps=4, frames_per_step=2, frame_stride=2)


@pytest.mark.parametrize("num_frames", [0, -3])
def test_a_video_without_frames_is_refused(num_frames: int) -> None:
    with pytest.raises(ValueError, match=f"at least one frame, got {num_frames}"):
        resize_sample(num_frames, num_steps=4, frames_per_step=1)


def test_indices_are_whole_numbers_in_the_video() -> None:
    for num_frames in range(1, 40):
        sample = resize_sample(num_frames, num_steps=6, frames_per_step=3)
        assert sample.indices.dtype == np.int64
        assert sample.indices.min() >= 0 and sample.indices.max() < num_frames
        assert (np.diff(sample.indices) >= 0).all()
