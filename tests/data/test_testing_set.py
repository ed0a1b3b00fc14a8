"""Test clips cover every video; validation clips carry its actions."""

import pytest
import torch
from torch.utils.data import DataLoader

from re2tal.data import AnnotationError, ResizeSampling, TestingSet, WindowSampling, collate
from re2tal.data.clip_specs import FrameCountError
from re2tal.video import MissingVideoError, VideoError
from tests.data.conftest import FPS, SmallSet, frame_numbers


def test_windows_show_every_sampled_frame_of_every_video(small_set: SmallSet) -> None:
    lengths = {"short": 20, "exact": 32, "long": 64, "odd": 61}
    for name, num_frames in lengths.items():
        small_set.add(name, num_frames=num_frames, subset="validation", actions=[(0.5, 1.5, "run")])
    clips = TestingSet(small_set.config())
    shown: dict[str, set[int]] = {name: set() for name in lengths}
    for clip in clips:
        numbers = frame_numbers(clip.frames)
        shown[clip.video_id].update(numbers)
        assert clip.grid.start_seconds == pytest.approx(numbers[0] / FPS)
        assert clip.grid.duration_seconds == lengths[clip.video_id] / FPS
        assert len(clip.segments) == len(clip.labels) == 0
    assert shown == {name: set(range(0, num_frames, 2)) for name, num_frames in lengths.items()}
    assert clips.video_ids == ("short", "exact", *["long"] * 3, *["odd"] * 3)


def test_a_test_set_goes_through_a_loader(small_set: SmallSet) -> None:
    small_set.add("a", num_frames=64, subset="validation", actions=[(0.5, 1.5, "run")])
    clips = TestingSet(small_set.config())
    (batch,) = DataLoader(clips, batch_size=8, collate_fn=collate, num_workers=1)
    assert batch.video_ids == clips.video_ids and batch.frames.shape == (3, 3, 16, 16, 16)


def test_videos_without_annotations_are_tested(small_set: SmallSet) -> None:
    small_set.add("a", subset="validation")
    small_set.add("b", subset="training", actions=[(0.5, 1.5, "run")])
    assert set(TestingSet(small_set.config()).video_ids) == {"a"}


def test_frames_are_counted_in_the_file_where_the_annotation_does_not_tell(small_set: SmallSet) -> None:
    small_set.add("told", num_frames=61, subset="validation")
    small_set.add("not", num_frames=61, subset="validation", tell_frames=False)
    clips = TestingSet(small_set.config())
    grids = {name: [clip.grid for clip in clips if clip.video_id == name] for name in ("told", "not")}
    assert grids["told"] == grids["not"]


def test_a_resized_video_is_one_clip(small_set: SmallSet) -> None:
    small_set.add("a", num_frames=64, subset="validation", tell_frames=False)
    clips = TestingSet(small_set.config(sampling=ResizeSampling(num_steps=16, frames_per_step=1)))
    assert len(clips) == 1
    assert frame_numbers(clips[0].frames) == [2, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50, 54, 58, 62]
    assert clips[0].grid.seconds_per_step == pytest.approx(0.4)


def test_memory_for_frames_changes_nothing(small_set: SmallSet) -> None:
    small_set.add("a", num_frames=64, subset="validation")
    plain, kept = TestingSet(small_set.config()), TestingSet(small_set.config(cache_mib=1))
    for index in (0, 2, 1, 0):
        assert torch.equal(plain[index].frames, kept[index].frames)


def test_a_broken_test_video_is_an_error_that_names_it(small_set: SmallSet) -> None:
    small_set.add("a", subset="validation").write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"a\.mp4"):
        TestingSet(small_set.config())[0]


def test_a_test_file_of_another_length_than_annotated_is_refused(small_set: SmallSet) -> None:
    small_set.add("a", num_frames=60, subset="validation")
    small_set.database["a"]["frame"] = 40
    with pytest.raises(FrameCountError, match="'a': its file has 60 frames, its annotation says 40"):
        TestingSet(small_set.config())[0]


def test_missing_test_videos_are_named_at_once(small_set: SmallSet) -> None:
    small_set.add("a", subset="validation").unlink()
    with pytest.raises(MissingVideoError, match="list their ids in data.missing"):
        TestingSet(small_set.config())


def test_a_missing_annotation_file_is_named(small_set: SmallSet) -> None:
    config = small_set.config()
    config.annotations.unlink()
    with pytest.raises(AnnotationError, match="no annotation file at"):
        TestingSet(config)


def test_a_subset_that_is_not_there_is_refused(small_set: SmallSet) -> None:
    small_set.add("a")
    with pytest.raises(AnnotationError, match="subset 'validation'; it has 'training'"):
        TestingSet(small_set.config())


def test_settings_that_cannot_work_are_refused(small_set: SmallSet) -> None:
    with pytest.raises(ValueError, match=r"video_pattern must contain \{id\}, got 'video.mp4'"):
        small_set.config(video_pattern="video.mp4")
    with pytest.raises(ValueError, match="crop_ratio must be .* got \\(0.9, 0.5\\)"):
        WindowSampling(crop_ratio=(0.9, 0.5))
    with pytest.raises(ValueError, match="crop_size must be"):
        small_set.config(crop_size=(0, 4))
    with pytest.raises(ValueError, match="short_side_test = 16, got \\(20, 24\\); lower crop_size or raise"):
        small_set.config(crop_size=(20, 24))
    with pytest.raises(ValueError, match="less than 1"):
        WindowSampling(test_overlap=1.0)
