"""Clips that show no action, and steps that nobody has looked at; and that without either nothing changes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from re2tal.common.labelled import merged
from re2tal.common.types import Action, AnnotatedVideo, Clip
from re2tal.data import (
    AnnotationError,
    DataConfig,
    ResizeSampling,
    Sampling,
    TestingSet,
    TrainingSet,
    WindowSampling,
    annotations_of,
    as_file,
    collate,
)
from re2tal.data.clip_specs import clip_spec_from
from re2tal.data.negatives import find_negatives
from tests.data.conftest import KEEP, SMALL, SmallSet

TESTED = SMALL.model_copy(update={"train_starts": "test"})
WHOLE = ResizeSampling(num_steps=8, frames_per_step=4)


def _mixed(small_set: SmallSet) -> SmallSet:
    small_set.add("a", actions=[(1.0, 2.5, "run"), (3.5, 5.0, "jump")])
    small_set.add("empty")
    small_set.add("b", num_frames=64, actions=[(0.2, 1.0, "run")])
    small_set.add("short", num_frames=20, actions=[(0.5, 1.5, "jump")])
    return small_set


def _drawn(config: DataConfig, *, seed: int, epochs: int) -> list[Clip]:
    clips = TrainingSet(config, KEEP, seed=seed)
    found = []
    for epoch in range(epochs):
        clips.set_epoch(epoch)
        found += [clips[index] for index in range(len(clips))]
    return found


# What was drawn before there were negatives: video, first and last frame, segments in steps, labels; of three epochs.
B_ANY, SHORT = ("b", 2, 32, [0.0, 2.0], [1]), ("short", 0, 18, [1.25, 3.75], [0])
A_LATE = ("a", 28, 58, [1.75, 5.5], [0])
B_TEST = ("b", 0, 30, [0.5, 2.5], [1])
WHOLE_ONES = [
    ("a", 0, 59, [1.3333, 3.3333, 4.6667, 6.6667], [1, 0]),
    ("b", 0, 62, [0.25, 1.25], [1]),
    ("short", 0, 19, [2.0, 6.0], [0]),
]
BEFORE = {
    "any": (SMALL, [A_LATE, B_ANY, SHORT, ("a", 26, 56, [2.25, 6.0], [0]), B_ANY, SHORT,
                    ("a", 8, 38, [0.5, 4.25], [1]), B_ANY, SHORT]),
    "test": (TESTED, [A_LATE, B_TEST, SHORT, A_LATE, B_TEST, SHORT, ("a", 0, 30, [2.5, 6.25], [1]), B_TEST, SHORT]),
    "whole": (WHOLE, 3 * WHOLE_ONES),
}  # fmt: skip


@pytest.mark.parametrize("kind", BEFORE)
def test_without_negatives_and_labelled_stretches_clips_are_those_of_before(small_set: SmallSet, kind: str) -> None:
    sampling, expected = BEFORE[kind]
    clips = _drawn(_mixed(small_set).config(sampling=sampling), seed=7, epochs=3)
    assert all(clip.labelled is None for clip in clips)
    found = [
        (
            clip.video_id,
            int(clip.frame_numbers[0]),
            int(clip.frame_numbers[-1]),
            [round(value, 4) for value in clip.segments.flatten().tolist()],
            clip.labels.tolist(),
        )
        for clip in clips
    ]
    assert found == expected


@pytest.mark.parametrize("sampling", [SMALL, TESTED, WHOLE], ids=["any", "test", "whole"])
def test_clips_with_actions_stay_as_they_were_and_the_share_is_what_is_asked_for(
    small_set: SmallSet, sampling: Sampling
) -> None:
    _mixed(small_set)
    plain = TrainingSet(small_set.config(sampling=sampling), KEEP, seed=7)
    mixed = TrainingSet(small_set.config(sampling=sampling, negative_share=0.4), KEEP, seed=7)
    assert (len(plain), len(mixed), mixed.num_negatives) == (3, 5, 2)
    assert [video.video_id for video in mixed.videos] == ["a", "b", "short", "empty"]
    for epoch in range(3):
        plain.set_epoch(epoch)
        mixed.set_epoch(epoch)
        for index in range(3):
            assert torch.equal(plain[index].inputs, mixed[index].inputs)
        for index in (3, 4):
            assert len(mixed[index].segments) == 0 and mixed[index].mask.any()


def test_negative_windows_come_from_empty_videos_and_from_gaps_as_long_as_they_last(small_set: SmallSet) -> None:
    small_set.add("gap", num_frames=64, actions=[(0.0, 1.0, "run")])  # 5.4 s to its end
    small_set.add("empty", num_frames=60)
    small_set.add("full", actions=[(0.0, 5.9, "run")])
    clips = TrainingSet(small_set.config(negative_share=0.98), KEEP, seed=1)
    drawn = [clips[index] for index in range(2, len(clips))]
    of_gap = [clip for clip in drawn if clip.video_id == "gap"]
    assert {clip.video_id for clip in drawn} == {"gap", "empty"}
    assert len(of_gap) / len(drawn) == pytest.approx(5.4 / 11.4, abs=0.15)
    assert min(int(clip.frame_numbers[0]) for clip in of_gap) >= 10
    assert len({int(clip.frame_numbers[0]) for clip in of_gap}) > 5


seconds = st.integers(0, 600).map(lambda tenths: tenths / 10)
pieces = st.lists(st.tuples(seconds, seconds).map(lambda pair: (min(pair), max(pair))), max_size=4)


@given(
    actions=pieces,
    left_out=pieces,
    labelled=st.none() | pieces,
    frames=st.integers(30, 600),
    stride=st.integers(1, 3),
    kind=st.sampled_from(["any", "test"]),
)
@settings(max_examples=200, deadline=None)
def test_no_negative_window_touches_an_annotation_and_each_holds_something_known(
    actions: list[tuple[float, float]],
    left_out: list[tuple[float, float]],
    labelled: list[tuple[float, float]] | None,
    frames: int,
    stride: int,
    kind: Any,
) -> None:
    video = AnnotatedVideo(
        video_id="v",
        subset="training",
        duration_seconds=60.0,
        num_frames=frames,
        actions=tuple(Action(start_seconds=a, end_seconds=b, label="run") for a, b in actions if a < b),
        labelled=None if labelled is None else merged(labelled, duration=60.0),
        left_out=tuple(left_out),
    )
    sampling = WindowSampling(num_steps=8, frames_per_step=2, frame_stride=stride, train_starts=kind)
    for found in find_negatives([video], sampling=sampling, count_frames=lambda video: video.num_frames):
        for start in {found.first, found.last}:
            cut = clip_spec_from(video, start=start, file_frames=frames, sampling=sampling)
            real = cut.sample.indices.reshape(8, 2)[cut.sample.mask]
            first, end = int(real.min()), int(real.max()) + stride  # frames of the file
            for a, b in video.annotated:
                a_frame, b_frame = int(a / 60 * frames), int(b / 60 * frames)
                assert b_frame <= first or a_frame >= min(end, frames), (first, end, a_frame, b_frame)
            assert len(cut.segments) == 0
            assert cut.labelled is None or kind == "any" or (cut.labelled & cut.sample.mask).any()


def test_a_stretch_shorter_than_a_window_is_shown_with_what_nobody_has_looked_at_around_it(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(0.0, 1.0, "run")])
    small_set.add("b", num_frames=64)
    small_set.database["b"]["labelled"] = [[2.0, 4.0]]  # five steps of 0.4 s; a window has eight
    clips = TrainingSet(small_set.config(negative_share=0.9), KEEP)
    drawn = [clip for index in range(1, len(clips)) if (clip := clips[index]).video_id == "b"]
    assert len(drawn) > 2 and all(int(clip.labelled.sum()) in (4, 5) for clip in drawn)


@pytest.mark.parametrize("sampling", [SMALL, TESTED, WHOLE], ids=["any", "test", "whole"])
def test_steps_are_labelled_where_somebody_has_looked(small_set: SmallSet, sampling: Sampling) -> None:
    small_set.add("a", num_frames=60, actions=[(1.0, 2.5, "run")])
    small_set.database["a"]["labelled"] = [[0.0, 2.0], [4.0, 5.0]]  # and, by the action, up to 2.5 s
    clips = TrainingSet(small_set.config(sampling=sampling), KEEP)
    seen = set()
    for epoch in range(10):
        clips.set_epoch(epoch)
        clip = clips[0]
        times = clip.grid.start_seconds + np.arange(8) * clip.grid.seconds_per_step
        expected = ((times > -1) & (times < 2.5 - 1e-9)) | ((times >= 4.0 - 1e-9) & (times < 5.0 - 1e-9))
        assert clip.labelled.tolist() == expected.tolist()
        seen.add(tuple(clip.labelled.tolist()))
    assert len(seen) > (sampling is SMALL)
    batch = collate([clip, clip])
    assert batch.labelled.shape == (2, 8) and batch.to("cpu").labelled is not None


def test_a_batch_of_partly_and_wholly_labelled_clips_has_one_mask(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(1.0, 2.0, "run")])
    small_set.add("b", actions=[(1.0, 2.0, "run")])
    small_set.database["b"]["labelled"] = []
    clips = TrainingSet(small_set.config(sampling=WHOLE), KEEP)
    whole, partly = clips[0], clips[1]
    assert whole.labelled is None and partly.labelled.tolist() == [False, False, True] + [False] * 5
    assert collate([whole, whole]).labelled is None
    assert collate([whole, partly]).labelled.tolist() == [[True] * 8, partly.labelled.tolist()]


def test_testing_shows_whole_videos_however_they_are_labelled(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(1.0, 2.0, "run")], subset="validation")
    plain = TestingSet(small_set.config())
    small_set.database["a"]["labelled"] = [[0.5, 1.0]]
    partly = TestingSet(small_set.config())
    assert len(plain) == len(partly) == 3
    assert all(torch.equal(plain[i].inputs, partly[i].inputs) and partly[i].labelled is None for i in range(3))


def test_what_is_left_out_of_the_annotations_is_not_known_to_be_empty(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(0.5, 1.5, "run")])
    small_set.add("unclear", actions=[(0.5, 5.5, "Ambiguous")])
    small_set.add("unseen")
    small_set.database["unseen"]["labelled"] = []
    with pytest.raises(AnnotationError, match=r"negative_share = 0.5 asks for clips .*no video.*negative_share=0"):
        TrainingSet(small_set.config(sampling=WHOLE, negative_share=0.5), KEEP)
    assert len(TrainingSet(small_set.config(sampling=WHOLE), KEEP)) == 1


def test_actions_too_short_to_train_on_do_not_make_a_video_empty(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(0.5, 1.5, "run")])
    small_set.add("blink", actions=[(1.0, 1.05, "run")])
    with pytest.raises(AnnotationError, match="negative_share"):
        TrainingSet(small_set.config(sampling=WHOLE, negative_share=0.5), KEEP)


def test_frames_that_the_annotations_do_not_count_are_counted(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(0.5, 1.5, "run")], tell_frames=False)
    small_set.add("empty", tell_frames=False)
    small_set.add("broken", tell_frames=False).write_bytes(b"")
    clips = TrainingSet(small_set.config(negative_share=0.5), KEEP)
    assert len(clips) == 2 and clips[1].video_id in ("a", "empty") and not len(clips[1].labels)


def test_a_broken_negative_is_replaced_by_another(small_set: SmallSet) -> None:
    _mixed(small_set)
    small_set.add("broken").write_bytes(b"")
    clips = TrainingSet(small_set.config(sampling=WHOLE, negative_share=0.9, max_broken_share=0.3), KEEP)
    assert {clips[index].video_id for index in range(3, len(clips))} == {"empty"}
    assert list(clips.broken) == ["broken"]


def test_the_number_of_workers_changes_nothing(small_set: SmallSet) -> None:
    _mixed(small_set)
    config = small_set.config(negative_share=0.5)
    alone, shared = (
        list(DataLoader(TrainingSet(config, KEEP), batch_size=2, collate_fn=collate, num_workers=number))
        for number in (0, 2)
    )
    assert [batch.video_ids for batch in alone] == [batch.video_ids for batch in shared]
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(alone, shared, strict=True))


def test_stretches_of_a_data_set_reach_the_metric(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(1.0, 2.0, "run")])
    small_set.database["a"]["labelled"] = [[0.0, 3.0]]
    annotations = annotations_of(small_set.config())
    assert as_file(annotations).database["a"]["labelled"] == [[0.0, 3.0]]
    (video,) = annotations.videos
    assert video.labelled == ((0.0, 3.0),) and video.empty == ((0.0, 1.0), (2.0, 3.0))


def test_a_field_of_another_kind_is_an_error_with_the_videos_name(small_set: SmallSet) -> None:
    small_set.add("a", actions=[(1.0, 2.0, "run")])
    small_set.database["a"]["labelled"] = "all"
    with pytest.raises(AnnotationError, match=r"video 'a': \"labelled\" must be a list"):
        annotations_of(small_set.config())
