"""Clips of features of others: values and times are those of the arrays, whatever file holds them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from re2tal.common.types import FeatureClip
from re2tal.data import FeatureDataConfig, ResizeSampling, WindowSampling, annotations_of
from re2tal.data.feature_files import FeatureTestingSet, FeatureTrainingSet
from tests.feature_files.packages import LAYOUTS, OFFSET, RATE, STRIDE, config_of, make_videos, write_package


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_clips(layout: str, tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    config = config_of(annotations, write_package(tmp_path / "features", layout, features))
    clips = FeatureTestingSet(config)
    assert clips.class_names == ("run", "sit") and set(clips.video_ids) == {"video_4", "video_5"}
    tolerance = 0.02 if "half" in layout or "dictionary" in layout else 0.0
    for number, video_id in enumerate(clips.video_ids):
        clip = clips[number]
        assert isinstance(clip, FeatureClip) and clip.mask.all() and len(clip.segments) == 0
        first = round((clip.grid.start_seconds * RATE - OFFSET) / STRIDE)
        expected = torch.from_numpy(features[video_id][first : first + 64].T.copy())
        torch.testing.assert_close(clip.features, expected, rtol=tolerance, atol=tolerance)


def test_windows_cover_a_video_and_the_last_one_ends_with_it(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    clips = FeatureTestingSet(config_of(annotations, write_package(tmp_path / "features", "npy", features)))
    of_first = [clips[number] for number, name in enumerate(clips.video_ids) if name == "video_4"]
    firsts = [round((clip.grid.start_seconds * RATE - OFFSET) / STRIDE) for clip in of_first]
    assert firsts == [0, 32, 56]  # of 120 features
    assert of_first[0].grid.seconds_per_step == STRIDE / RATE


def test_training_clips_show_actions_where_their_features_are(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    clips = FeatureTrainingSet(config_of(annotations, write_package(tmp_path / "features", "npy", features)), seed=3)
    starts = set()
    for epoch in range(4):
        clips.set_epoch(epoch)
        for clip in (clips[number] for number in range(len(clips))):
            assert isinstance(clip, FeatureClip) and len(clip.labels) > 0
            starts.add(clip.grid.start_seconds)
            steps = torch.arange(64)
            for (start, end), label in zip(clip.segments.tolist(), clip.labels.tolist(), strict=True):
                inside = (steps > start) & (steps < end - 1)
                assert (clip.features[label, inside] > 1).float().mean() > 0.9
    assert len(starts) > 4
    clips.set_epoch(3)
    again = clips[len(clips) - 1]
    torch.testing.assert_close(again.features, clip.features)  # an item depends on seed, epoch and index alone


def test_a_short_video_is_cropped_in_training_and_padded(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    files = write_package(tmp_path / "features", "npy", features)
    sampling = WindowSampling(num_steps=160, crop_ratio=(0.5, 0.6), min_inside=0.3)
    clips = FeatureTrainingSet(config_of(annotations, files, sampling=sampling), seed=0)
    clip = clips[0]
    assert isinstance(clip, FeatureClip) and 60 <= int(clip.mask.sum()) <= 72
    assert not clip.features[:, ~clip.mask].any()
    whole = FeatureTestingSet(config_of(annotations, files, sampling=sampling))[0]
    assert int(whole.mask.sum()) == 120


def test_streams_of_two_folders_are_concatenated_and_cut_to_the_shorter(tmp_path: Path) -> None:
    annotations, rgb = make_videos(tmp_path)
    flow = {name: -values[:-1, :4] for name, values in rgb.items()}
    config = config_of(
        annotations,
        write_package(tmp_path / "rgb", "npy", rgb),
        write_package(tmp_path / "flow", "npz", flow),
        test_whole=True,
    )
    clip = FeatureTestingSet(config)[0]
    assert isinstance(clip, FeatureClip) and clip.features.shape == (10, 119)
    torch.testing.assert_close(clip.features[6:], -clip.features[:4])


def test_whole_videos_are_tested_one_by_one(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    clips = FeatureTestingSet(
        config_of(annotations, write_package(tmp_path / "features", "npy", features), test_whole=True)
    )
    assert len(clips) == 2 and clips[1].inputs.shape == (6, 120)


def test_resized_videos_are_those_of_plain_interpolation(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    files = write_package(tmp_path / "features", "npy", features)
    config = config_of(annotations, files, sampling=ResizeSampling(num_steps=48), resize_crop=(0.9, 0.9))
    clip = FeatureTestingSet(config)[0]
    # The middle of step i of 48 lies at feature (i + 0.5) * 120 / 48 - 0.5.
    at = (np.arange(48) + 0.5) * 120 / 48 - 0.5
    expected = np.stack([np.interp(at, np.arange(120), channel) for channel in features["video_4"].T])
    np.testing.assert_allclose(clip.inputs.numpy(), expected, atol=1e-5)
    assert clip.grid.seconds_per_step == 24 / 48 and clip.mask.all()
    trained = FeatureTrainingSet(config, seed=0)[0]
    assert int(trained.mask.sum()) == 43  # nine tenths of 48
    assert trained.segments.max() <= 43


def test_what_nobody_has_looked_at_is_known_to_training(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    content = json.loads(annotations.read_text())
    for entry in content["database"].values():
        entry["labelled"] = [[0, 12.0]]
        entry["annotations"] = [row for row in entry["annotations"] if row["segment"][1] < 12]
    annotations.write_text(json.dumps(content))
    files = write_package(tmp_path / "features", "npy", features)
    sampling = WindowSampling(num_steps=120, crop_ratio=(1, 1))
    clip = FeatureTrainingSet(config_of(annotations, files, sampling=sampling), seed=0)[0]
    assert clip.labelled is not None
    times = (torch.arange(120) * STRIDE + OFFSET) / RATE
    assert torch.equal(clip.labelled, times < 12)


def test_the_rate_may_be_that_of_each_video(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    content = json.loads(annotations.read_text())
    for number, entry in enumerate(content["database"].values()):
        entry |= {"fps": RATE} if number % 2 else {"frame": round(24 * RATE)}
    annotations.write_text(json.dumps(content))
    files = write_package(tmp_path / "features", "npy", features)
    rates = [
        round(STRIDE / clip.grid.seconds_per_step)
        for clip in FeatureTrainingSet(config_of(annotations, files, frame_rate=None), seed=0)
    ]
    assert rates == [20, 20, 20, 20]


def test_durations_that_annotations_do_not_tell_are_those_of_the_features(tmp_path: Path) -> None:
    _, features = make_videos(tmp_path)
    named = {f"video_validation_{number:07d}": values for number, values in enumerate(features.values())}
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "Diving_val.txt").write_text("video_validation_0000001 1.0 3.0\n")
    files = write_package(tmp_path / "features", "npy", named)
    config = config_of(labels, files, train_subset="Validation")
    (video,) = annotations_of(config).videos
    assert video.duration_seconds == 24.0


def test_a_step_is_a_feature_whatever_the_sampling_says(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    files = write_package(tmp_path / "features", "npy", features)
    sampling = config_of(annotations, files, sampling=WindowSampling(num_steps=64, frame_stride=7)).sampling
    assert isinstance(sampling, WindowSampling) and sampling.frames_in_step == STRIDE
    again = FeatureDataConfig.model_validate_json(config_of(annotations, files).model_dump_json())
    assert again == config_of(annotations, files)
