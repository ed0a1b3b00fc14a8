"""The frames of a clip are those of the reference implementation."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from re2tal.common.types import Action, AnnotatedVideo
from re2tal.data import WindowSampling
from re2tal.data.clip_specs import training_clip_spec
from re2tal.data.windows import resized_segments
from re2tal.video.sampling import resize_sample, window_sample


def _cases(goldens: Path, kind: str) -> list[tuple[dict, dict[str, np.ndarray]]]:
    """(settings, arrays) of every case of a kind that the reference could sample."""
    with np.load(goldens / "load_frames.npz") as arrays:
        cases = []
        for number, case in enumerate(json.loads(str(arrays["index_json"]))):
            if case["kind"] != kind or "error" in case:
                continue
            names = [name for name in arrays.files if name.startswith(f"{number}:")]
            cases.append((case, {name.split(":")[1]: arrays[name] for name in names}))
    if not cases:
        pytest.skip(f"no case of kind {kind} in {goldens / 'load_frames.npz'}")
    return cases


def _video(segments: list[list[float]], *, duration: float, labels: list[int], num_frames: int) -> AnnotatedVideo:
    actions = (
        Action(start_seconds=start, end_seconds=end, label=str(label))
        for (start, end), label in zip(segments, labels, strict=True)
    )
    return AnnotatedVideo(
        video_id="v", subset="training", duration_seconds=duration, num_frames=num_frames, actions=tuple(actions)
    )


def test_resized_videos_take_the_same_frames(goldens: Path) -> None:
    for case, expected in _cases(goldens, "resize"):
        sample = resize_sample(
            case["total_frames"], num_steps=case["resize_length"], frames_per_step=case["scale_factor"]
        )
        np.testing.assert_array_equal(sample.indices, expected["frame_inds"], err_msg=str(case))
        np.testing.assert_array_equal(sample.mask, expected["masks"], err_msg=str(case))


def test_resized_videos_have_the_same_actions(goldens: Path) -> None:
    for case, expected in _cases(goldens, "resize"):
        labels = list(range(len(case["gt_in"])))
        video = _video(case["gt_in"], duration=case["duration"], labels=labels, num_frames=case["total_frames"])
        segments = resized_segments(video, num_steps=case["resize_length"])
        np.testing.assert_allclose(segments, expected["gt_segments"], rtol=1e-6, err_msg=str(case))


def test_sliding_windows_take_the_same_frames(goldens: Path) -> None:
    for case, expected in _cases(goldens, "sliding_window"):
        sample = window_sample(
            case["total_frames"],
            first_frame=case["feature_start_idx"] * case["snippet_stride"],
            end_frame=(case["feature_end_idx"] + 1) * case["snippet_stride"],
            num_steps=case["window_size"],
            frames_per_step=case["scale_factor"],
            frame_stride=case["snippet_stride"] // case["scale_factor"],
        )
        np.testing.assert_array_equal(sample.indices, expected["frame_inds"], err_msg=str(case))
        np.testing.assert_array_equal(sample.mask, expected["masks"], err_msg=str(case))


def test_random_windows_are_the_same_for_the_same_draws(goldens: Path) -> None:
    for case, expected in _cases(goldens, "random_trunc"):
        sampling = WindowSampling(
            num_steps=case["trunc_len"],
            frames_per_step=case["scale_factor"],
            frame_stride=case["snippet_stride"] // case["scale_factor"],
            min_inside=case["trunc_thresh"],
            crop_ratio=case["crop_ratio"],
        )
        # The reference is given steps; at one frame per second a step is `snippet_stride` seconds.
        seconds = (np.array(case["gt_in"]) * case["snippet_stride"]).tolist()
        num_frames = case["total_frames"]
        video = _video(seconds, duration=num_frames, labels=case["gt_labels_in"], num_frames=num_frames)
        draws = random.Random(case["python_random_seed"])
        cut = training_clip_spec(video, file_frames=num_frames, sampling=sampling, draw=draws.randint)
        np.testing.assert_array_equal(cut.sample.indices, expected["frame_inds"], err_msg=str(case))
        np.testing.assert_array_equal(cut.sample.mask, expected["masks"], err_msg=str(case))
        np.testing.assert_allclose(cut.segments, expected["gt_segments"], rtol=1e-6, err_msg=str(case))
        labels = np.array(case["gt_labels_in"])[cut.shown]
        np.testing.assert_array_equal(labels, expected["gt_labels"], err_msg=str(case))
