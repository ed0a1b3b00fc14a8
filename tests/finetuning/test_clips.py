"""Clips lie inside what they show, and depend on seed, epoch and index alone."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from re2tal.data import TooManyBrokenVideosError
from re2tal.experiments.finetuning import TrimmedTestingSet, TrimmedTrainingSet, list_clips
from re2tal.experiments.finetuning.clips import clip_frames, part_of_file
from re2tal.video import open_video
from tests.finetuning.tiny_clips import tiny_finetuning, write_clip, write_folders


@given(
    first=st.integers(0, 50),
    length=st.integers(1, 80),
    place=st.floats(0, 1),
    num_frames=st.integers(1, 20),
    stride=st.integers(1, 5),
)
def test_frames_lie_inside_at_the_stride_and_the_last_one_is_repeated(
    first: int, length: int, place: float, num_frames: int, stride: int
) -> None:
    numbers = clip_frames(first, first + length, place=place, num_frames=num_frames, stride=stride)
    assert len(numbers) == num_frames
    assert numbers.min() >= first and numbers.max() < first + length
    steps = np.diff(numbers)
    if (num_frames - 1) * stride < length:
        assert (steps == stride).all()
    else:
        assert numbers[0] == first and numbers[-1] == first + length - 1


def test_the_first_and_the_last_place_are_both_ends() -> None:
    first, middle, last = (clip_frames(10, 30, place=place, num_frames=3, stride=4) for place in (0, 0.5, 1))
    assert (first[0], middle[0], last[-1]) == (10, 16, 29)


def test_a_file_that_was_never_trimmed_is_cut_as_its_list_says(tmp_path: Path) -> None:
    write_folders(tmp_path)
    video = list_clips(tiny_finetuning(tmp_path).data.train).videos[0]
    write_clip(tmp_path / "long.mp4", brightness=0, num_frames=80)  # 8 frames a second
    whole = dataclasses.replace(video, path=tmp_path / "long.mp4", seconds=(2.0, 5.0))
    trimmed = dataclasses.replace(video, seconds=(2.0, 3.2))
    beyond = dataclasses.replace(whole, seconds=(30.0, 35.0))
    for case, expected in ((whole, (16, 40)), (trimmed, (0, 10)), (video, (0, 10)), (beyond, (79, 80))):
        with open_video(case.path) as file:
            assert part_of_file(case, file) == expected


def training_clips(folder: Path, **changes: object) -> TrimmedTrainingSet:
    config = tiny_finetuning(folder)
    listed = list_clips(config.data.train)
    data = config.data.model_copy(update=changes)
    return TrimmedTrainingSet(listed.videos, data, config.augment, class_names=listed.class_names, seed=3)


def test_items_depend_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    write_folders(tmp_path)
    clips, again = training_clips(tmp_path), training_clips(tmp_path)
    first = clips[5]
    again[2]
    assert torch.equal(first.frames, again[5].frames)
    assert (first.video_id, first.labels.tolist()) == ("dark/1", [1])
    assert first.frames.shape == (3, 8, 16, 16)
    again.set_epoch(1)
    assert not torch.equal(first.frames, again[5].frames)


def test_broken_videos_are_replaced_up_to_a_share(tmp_path: Path) -> None:
    write_folders(tmp_path)
    broken = tmp_path / "train/dark/1.mp4"
    broken.write_bytes(b"no video")
    clips = training_clips(tmp_path, max_broken_share=0.2)
    assert clips[5].video_id != "dark/1"
    assert list(clips.broken) == [str(broken)]
    with pytest.raises(TooManyBrokenVideosError, match=r"1 of 8 training videos are broken.*max_broken_share = 0.05"):
        training_clips(tmp_path)[5]


def test_test_clips_are_neighbours_in_the_order_of_time(tmp_path: Path) -> None:
    write_folders(tmp_path)
    config = tiny_finetuning(tmp_path)
    listed = list_clips(config.data.test)
    clips = TrimmedTestingSet(listed.videos, config.data, class_names=listed.class_names)
    assert [clip.video_id for clip in (clips[i] for i in range(len(clips)))] == [
        *("bright/0", "bright/0", "bright/1", "bright/1", "dark/0", "dark/0", "dark/1", "dark/1")
    ]
    with open_video(listed.videos[0].path) as file:
        frames = file.frames(range(10))
    for clip, start in ((clips[0], 0), (clips[1], 2)):
        assert torch.equal(clip.frames, frames[start : start + 8].permute(3, 0, 1, 2))
