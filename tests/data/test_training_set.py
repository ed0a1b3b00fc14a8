"""Training clips: the right frames, the right actions, the same in every run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from re2tal.common.types import Batch, Clip
from re2tal.data import (
    AnnotationError,
    DataConfig,
    ResizeSampling,
    TestingSet,
    TooManyBrokenVideosError,
    TrainingSet,
    WindowSampling,
    collate,
)
from re2tal.video import AugmentConfig, MissingVideoError
from tests.data.conftest import FPS, KEEP, SMALL, SmallSet, frame_numbers


def _same(a: Clip, b: Clip) -> bool:
    return a.video_id == b.video_id and torch.equal(a.frames, b.frames) and torch.equal(a.segments, b.segments)


def _fill(small_set: SmallSet, *, count: int = 4) -> None:
    for number in range(count):
        start = 0.5 + 0.3 * number
        small_set.add(f"v{number}", actions=[(start, start + 1.5, "run"), (4.0, 5.5, "jump")])


def test_a_window_shows_the_frames_and_actions_at_its_place(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(1.0, 2.5, "run"), (3.5, 5.0, "jump")])
    clips = TrainingSet(small_set.config(), KEEP)
    assert clips.class_names == ("jump", "run")
    seen = set()
    for epoch in range(30):
        clips.set_epoch(epoch)
        clip = clips[0]
        assert clip.frames.shape == (3, 16, 16, 16) and clip.mask.all() and len(clip.mask) == 8
        numbers = frame_numbers(clip.frames)
        first = numbers[0]
        assert numbers == list(range(first, first + 32, SMALL.frame_stride))
        assert clip.grid.start_seconds == pytest.approx(first / FPS)
        assert clip.grid.seconds_per_step == pytest.approx(SMALL.frames_in_step / FPS)
        # An action belongs to the window if 3/4 of it are inside; it is clipped to the window.
        window = (first / FPS, (first + 32) / FPS)
        expected = []
        for start, end, label in [(1.0, 2.5, 1), (3.5, 5.0, 0)]:
            inside = max(start, window[0]), min(end, window[1])
            if inside[1] - inside[0] >= 0.75 * (end - start) - 1e-9:
                expected.append((*inside, label))
        seconds = clip.grid.to_seconds(clip.segments).tolist()
        assert clip.labels.tolist() == [label for _, _, label in expected]
        np.testing.assert_allclose(seconds, [pair[:2] for pair in expected], atol=1e-5)
        seen.add(first)
    assert len(seen) > 5


def test_training_windows_may_be_those_of_testing_that_show_an_action(small_set: SmallSet) -> None:
    # Windows of 3.2 s at 0, 1.6 and 2.8 s; the last one shows nothing.
    small_set.add("a", actions=[(0.4, 1.4, "run"), (2.4, 3.2, "jump")])
    clips = TrainingSet(small_set.config(sampling=SMALL.model_copy(update={"train_starts": "test"})), KEEP)
    found = set()
    for epoch in range(30):
        clips.set_epoch(epoch)
        labels = tuple(clips.class_names[label] for label in clips[0].labels)
        found.add((frame_numbers(clips[0].frames)[0], round(clips[0].grid.start_seconds, 6), labels))
    assert found == {(0, 0.0, ("run",)), (16, 1.6, ("jump",))}


def test_a_video_whose_actions_fit_into_no_window_of_testing_is_trained_on_all_the_same(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(0.1, 5.9, "run")])
    clips = TrainingSet(small_set.config(sampling=SMALL.model_copy(update={"train_starts": "test"})), KEEP)
    assert not len(clips[0].labels)


def test_a_short_video_is_padded_with_its_last_frame_and_masked(small_set: SmallSet) -> None:
    small_set.add("a", num_frames=20, actions=[(0.5, 1.5, "run")])
    clip = TrainingSet(small_set.config(sampling=WindowSampling(**SMALL.model_dump() | {"crop_ratio": (1, 1)})), KEEP)[
        0
    ]
    assert frame_numbers(clip.frames) == [*range(0, 20, 2), *[18] * 6]
    assert clip.mask.tolist() == [True] * 5 + [False] * 3
    assert clip.grid.to_seconds(clip.segments).tolist() == [pytest.approx([0.5, 1.5])]


def test_a_resized_video_is_shown_whole(small_set: SmallSet) -> None:
    small_set.add("a", num_frames=64, actions=[(0.0, 3.2, "run"), (1.0, 1.05, "jump")])
    clip = TrainingSet(small_set.config(sampling=ResizeSampling(num_steps=8, frames_per_step=4)), KEEP)[0]
    assert frame_numbers(clip.frames) == list(range(0, 64, 2))
    assert clip.segments.tolist() == [pytest.approx([0.0, 4.0])], "the action of 0.8 % of the video is left out"
    assert clip.mask.all()
    assert clip.grid.to_seconds(clip.segments).tolist() == [pytest.approx([0.0, 3.2])]


def test_a_class_agnostic_set_has_one_class(small_set: SmallSet) -> None:
    small_set.add("a", num_frames=30, actions=[(0.5, 1.5, "run"), (0.5, 1.5, "jump")])
    clips = TrainingSet(small_set.config(class_agnostic=True), KEEP)
    assert clips.class_names == ("action",)
    assert clips[0].labels.tolist() == [0, 0]


def test_videos_without_actions_and_missing_ones_are_not_trained_on(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(0.5, 1.5, "run")])
    small_set.add("empty")
    small_set.add("gone", actions=[(0.5, 1.5, "run")]).unlink()
    small_set.add("other", actions=[(0.5, 1.5, "run")], subset="validation")
    clips = TrainingSet(small_set.config(missing=("gone",)), KEEP)
    assert [video.video_id for video in clips.videos] == ["a"]


def test_problems_of_the_annotations_are_told(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(0.5, 1.5, "run"), (5.0, 7.0, "run")])
    clips = TrainingSet(small_set.config(), KEEP)
    assert len(clips.problems) == 1 and "reaches past the 6 s" in str(clips.problems[0])


def test_a_clip_depends_on_seed_epoch_and_index_alone(small_set: SmallSet) -> None:
    _fill(small_set)
    config = small_set.config()
    clips, again = TrainingSet(config, AugmentConfig(), seed=1), TrainingSet(config, AugmentConfig(), seed=1)
    clips.set_epoch(3)
    first = [clips[index] for index in range(4)]
    again.set_epoch(5)
    _ = again[2]
    again.set_epoch(3)
    assert all(_same(first[index], again[index]) for index in (3, 0, 2, 1)), "whatever was drawn before"
    clips.set_epoch(4)
    assert not _same(first[0], clips[0])
    assert not _same(first[0], TrainingSet(config, AugmentConfig(), seed=2)[0])


def _epochs(clips: TrainingSet, *, num_workers: int) -> list[Batch]:
    loader = DataLoader(
        clips, batch_size=2, collate_fn=collate, num_workers=num_workers, persistent_workers=num_workers > 0
    )
    batches = []
    for epoch in range(3):
        clips.set_epoch(epoch)
        batches += list(loader)
    return batches


def test_the_number_of_workers_changes_nothing(small_set: SmallSet) -> None:
    _fill(small_set)
    config = small_set.config()
    alone = _epochs(TrainingSet(config, AugmentConfig()), num_workers=0)
    shared = _epochs(TrainingSet(config, AugmentConfig()), num_workers=2)
    assert len(alone) == len(shared) == 6
    for a, b in zip(alone, shared, strict=True):
        assert a.video_ids == b.video_ids and torch.equal(a.frames, b.frames)
    assert not torch.equal(alone[0].frames, alone[2].frames), "workers that live on see the epoch change"


def test_pixels_may_be_changed_when_a_batch_is_on_its_device(small_set: SmallSet) -> None:
    _fill(small_set)
    at_once, later = (
        DataLoader(
            TrainingSet(small_set.config(), AugmentConfig(), changed_later=changed_later),
            batch_size=4,
            collate_fn=collate,
            num_workers=1,
        )
        for changed_later in (False, True)
    )
    for ready, batch in zip(at_once, later, strict=True):
        assert ready.changes == () and len(batch.changes) == 4 and not torch.equal(batch.frames, ready.frames)
        before = batch.frames.clone()
        changed = batch.ready_on("cpu")
        assert changed.changes == () and torch.equal(batch.frames, before)
        assert (changed.frames.int() - ready.frames.int()).abs().float().mean() < 0.05


def test_a_broken_video_is_replaced_counted_and_listed(small_set: SmallSet) -> None:
    _fill(small_set)
    small_set.add("broken", actions=[(0.5, 1.5, "run")]).write_bytes(b"")
    config = small_set.config(max_broken_share=0.2)
    clips = TrainingSet(config, KEEP)
    shown = [clips[index] for index in range(5)]
    assert shown[4].video_id in {"v0", "v1", "v2", "v3"}
    assert list(clips.broken) == ["broken"] and "empty" in clips.broken["broken"]
    again = TrainingSet(config, KEEP)
    assert _same(shown[4], again[4]), "the replacement is the same in every run"


def test_what_a_worker_finds_broken_is_listed_in_the_main_process(small_set: SmallSet) -> None:
    _fill(small_set, count=3)
    small_set.add("broken", actions=[(0.5, 1.5, "run")]).write_text("no video")
    clips = TrainingSet(small_set.config(max_broken_share=0.25), KEEP)
    assert sum(len(batch) for batch in DataLoader(clips, batch_size=2, collate_fn=collate, num_workers=2)) == 4
    assert list(clips.broken) == ["broken"]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_too_many_broken_videos_end_the_run(small_set: SmallSet, num_workers: int) -> None:
    _fill(small_set, count=3)
    for name in ("x", "y"):
        small_set.add(name, actions=[(0.5, 1.5, "run")]).write_bytes(b"")
    clips = TrainingSet(small_set.config(max_broken_share=0.2), KEEP)
    with pytest.raises(TooManyBrokenVideosError, match=r"(?s)2 of 5 .*max_broken_share = 0.2 .*x: .*empty.*y: .*empty"):
        list(DataLoader(clips, batch_size=1, collate_fn=collate, num_workers=num_workers))


def test_a_set_of_broken_videos_alone_ends_the_run(small_set: SmallSet) -> None:
    small_set.add("x", actions=[(0.5, 1.5, "run")]).write_bytes(b"")
    clips = TrainingSet(small_set.config(max_broken_share=1.0), KEEP)
    with pytest.raises(TooManyBrokenVideosError, match="broken videos in a row"):
        clips[0]


def test_a_file_of_another_length_than_annotated_counts_as_broken(small_set: SmallSet) -> None:
    small_set.add("a", num_frames=60, actions=[(0.5, 1.5, "run")])
    small_set.database["a"]["frame"] = 120
    with pytest.raises(
        TooManyBrokenVideosError, match='its file has 60 frames, its annotation says 120.*remove "frame"'
    ):
        TrainingSet(small_set.config(), KEEP)[0]


def test_missing_videos_are_named_at_once(small_set: SmallSet) -> None:
    for name in ("a", "b", "c"):
        path = small_set.add(name, actions=[(0.5, 1.5, "run")])
        if name != "a":
            path.unlink()
    with pytest.raises(MissingVideoError, match=r"2 of 3 videos .*b\.mp4; put them there or list .*\(b, c\)"):
        TrainingSet(small_set.config(), KEEP)


def test_a_training_subset_without_actions_is_refused(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(1.0, 1.0, "run"), (1.0, 2.0, "Ambiguous")])
    with pytest.raises(AnnotationError, match=r"at least one action, got none in the 1 videos of subset 'training'"):
        TrainingSet(small_set.config(), KEEP)


def test_real_videos_become_clips(data: Path) -> None:
    folder = data / "ucf_mini"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    config = DataConfig(
        annotations=folder / "ucf_mini.json",
        videos=folder / "videos",
        sampling=WindowSampling(num_steps=16, frames_per_step=2, frame_stride=2),
        short_side_train=56,
        short_side_test=48,
        crop_size=(48, 64),
    )
    clips = TrainingSet(config, AugmentConfig())
    assert len(clips) == 36 and clips.class_names == ("Basketball", "BasketballDunk")
    clip = clips[0]
    assert clip.frames.shape == (3, 32, 48, 64) and clip.mask.all() and len(clip.segments) > 0
    tested = TestingSet(config)
    assert len(set(tested.video_ids)) == 8
    assert tested[len(tested) - 1].frames.shape == (3, 32, 48, 64)
