"""Windows and actions are those of the reference implementation, except where it loses the end of a video."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from re2tal.common.types import AnnotatedVideo, TimeGrid
from re2tal.data import Annotations, DataConfig, ResizeSampling, WindowSampling, read_annotations
from re2tal.data.annotations import find_class_names
from re2tal.data.clip_specs import clip_spec_of, window_specs_of
from re2tal.data.training_set import select_actions
from re2tal.data.windows import resized_segments, window_starts, windowed_segments


@pytest.fixture
def reference(goldens: Path) -> dict[str, Any]:
    path = goldens / "datasets.json"
    if not path.is_file():
        pytest.skip(f"no file {path}")
    return json.loads(path.read_text())


@pytest.fixture
def annotation_file(reference: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(reference["annotation"]))
    return path


def _videos(annotations: Annotations) -> dict[str, AnnotatedVideo]:
    return {video.video_id: video for video in annotations.videos}


def _numbers(video: AnnotatedVideo, names: list[str]) -> list[int]:
    return [names.index(action.label) for action in video.actions]


def _by_start(item: dict[str, Any]) -> tuple[str, int]:
    return item["video_name"], item["feature_start_idx"]


def _sliding(kwargs: dict[str, Any]) -> tuple[WindowSampling, float]:
    # One frame per step: the number of frames for the backbone does not matter here.
    sampling = WindowSampling(
        num_steps=kwargs["window_size"], frames_per_step=1, frame_stride=kwargs["feature_stride"], min_inside=0.75
    )
    return sampling, kwargs["window_overlap_ratio"]


def test_windows_are_the_same_where_the_reference_reaches_the_end(reference: dict[str, Any]) -> None:
    compared = 0
    for case in reference["windows"]:
        total = -(-case["frame"] // case["snippet_stride"])
        assert total == case["n_snippets"]
        starts = window_starts(total, num_steps=case["window_size"], overlap=case["overlap"])
        ends = [min(start + case["window_size"], total) - 1 for start in starts]
        assert ends[-1] == total - 1, "every video is covered to its end"
        if case["ends_incl"][-1] == total - 1:
            # The reference sometimes lists its last window twice.
            assert starts == sorted(set(case["starts"])), case
            assert ends == sorted(set(case["ends_incl"])), case
            compared += 1
        else:
            assert starts[:-1] == case["starts"], case
    assert compared >= len(reference["windows"]) / 2


def test_classes_are_the_same(reference: dict[str, Any], annotation_file: Path) -> None:
    assert list(find_class_names(read_annotations(annotation_file), classes=None)) == reference["class_map"]


def test_actions_of_whole_videos_are_the_same(reference: dict[str, Any], annotation_file: Path) -> None:
    kwargs = reference["thumos_padding"]["kwargs"]
    videos = _videos(read_annotations(annotation_file))
    items = {item["video_name"]: item for item in reference["thumos_padding"]["items"]}
    assert set(videos) == set(items)
    for name, item in items.items():
        video = videos[name]
        assert video.num_frames is not None
        segments = windowed_segments(video, num_frames=video.num_frames, frames_in_step=kwargs["feature_stride"])
        # Ours end with the video; the reference keeps the part of an action after the video's end.
        end = video.num_frames / kwargs["feature_stride"]
        expected = np.array(item["gt_segments"])
        np.testing.assert_allclose(segments, np.minimum(expected, end), rtol=1e-6)
        assert _numbers(video, reference["class_map"]) == item["gt_labels"]


def test_validation_windows_hold_the_same_actions(reference: dict[str, Any], annotation_file: Path) -> None:
    golden = reference["thumos_sliding"]
    sampling, overlap = _sliding(golden["kwargs"])
    expected = {_by_start(item): item for item in golden["items"]}
    found = {}
    for name, video in _videos(read_annotations(annotation_file)).items():
        assert video.num_frames is not None
        total = -(-video.num_frames // golden["kwargs"]["feature_stride"])
        for place in window_specs_of(video, sampling=sampling, overlap=overlap, count_frames=pytest.fail):
            cut = clip_spec_of(place, file_frames=video.num_frames, sampling=sampling)
            if not len(cut.segments):
                continue
            found[name, place.start_step] = cut
            if (name, place.start_step) not in expected:
                assert place.end_step == total, "the only windows of ours alone are those that reach the end"
                continue
            item = expected[name, place.start_step]
            np.testing.assert_allclose(cut.segments, item["gt_segments"], rtol=1e-6)
            assert np.array(_numbers(video, reference["class_map"]))[cut.shown].tolist() == item["gt_labels"]
            assert place.start_step * golden["kwargs"]["feature_stride"] == item["window_start_frame"]
    assert set(expected) <= set(found)


def test_test_windows_are_the_same(reference: dict[str, Any], annotation_file: Path) -> None:
    golden = reference["thumos_sliding_test"]
    sampling, overlap = _sliding(golden["kwargs"])
    found = [
        (name, place.start_step, place.end_step - 1)
        for name, video in _videos(read_annotations(annotation_file)).items()
        for place in window_specs_of(video, sampling=sampling, overlap=overlap, count_frames=pytest.fail)
    ]
    videos = reference["annotation"]["database"]
    expected = []
    for item in golden["items"]:
        # Of a video between one and two windows long, the reference counts steps past the end.
        total = -(-videos[item["video_name"]]["frame"] // golden["kwargs"]["feature_stride"])
        expected.append((*_by_start(item), min(item["feature_end_idx"], total - 1)))
    assert found == expected


@pytest.mark.parametrize("name", ["anet_resize", "anet_resize_nofilter_cls"])
def test_actions_of_resized_videos_are_the_same(
    reference: dict[str, Any], annotation_file: Path, tmp_path: Path, name: str
) -> None:
    kwargs = reference[name]["kwargs"]
    config = DataConfig(
        annotations=annotation_file,
        videos=tmp_path,
        sampling=ResizeSampling(num_steps=kwargs["resize_length"], min_share=0.01 if kwargs["filter_gt"] else 0.0),
    )
    # Only a class-agnostic set of the reference keeps "Ambiguous", a label of THUMOS.
    annotations = read_annotations(annotation_file, ignore_labels=() if kwargs["class_agnostic"] else ("Ambiguous",))
    videos = _videos(annotations)
    kept = {video.video_id: video for video in select_actions(tuple(videos.values()), config)}
    assert set(kept) == {item["video_name"] for item in reference[name]["items"]}
    for item in reference[name]["items"]:
        video = kept[item["video_name"]]
        steps = np.clip(np.array(item["gt_segments"]) / item["duration"], 0, 1) * item["resize_length"]
        np.testing.assert_allclose(resized_segments(video, num_steps=item["resize_length"]), steps, rtol=1e-6)
        if not kwargs["class_agnostic"]:
            assert _numbers(video, reference["class_map"]) == item["gt_labels"]


def test_steps_become_the_same_seconds(reference: dict[str, Any]) -> None:
    for case in reference["convert_to_seconds"]:
        meta = case["meta"]
        resized = "resize_length" in meta
        grid = TimeGrid(
            start_seconds=0.0 if resized else (meta["window_start_frame"] + meta["offset_frames"]) / meta["fps"],
            seconds_per_step=(
                meta["duration"] / meta["resize_length"] if resized else meta["snippet_stride"] / meta["fps"]
            ),
            duration_seconds=meta["duration"],
        )
        found = grid.to_seconds(torch.tensor(case["segs"], dtype=torch.float64))
        np.testing.assert_allclose(found, case["out"], rtol=1e-6, atol=1e-6)
