"""Features of others in files lead to the reference's proposals, times and targets."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from re2tal.config.building import build_detector
from re2tal.config.presets import features_of_others
from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling, collate
from re2tal.data.feature_files import FeatureTestingSet, FeatureTrainingSet
from re2tal.detections import PostprocessConfig
from re2tal.networks.heads import HeadConfig
from re2tal.networks.pyramid import PyramidConfig
from re2tal.training import TrainingConfig
from re2tal.weights import load_detector, read_weights
from tests.parity.test_actionformer import assert_equal_to, golden

__all__ = ["golden"]  # a fixture


def features_config(folder: Path, *, channels: int, **changes: object) -> FeatureDataConfig:
    values = {"stride": 4, "offset": 0, "test_whole": True, "sampling": WindowSampling(num_steps=64, min_inside=0.75)}
    files = (FeatureFiles(path=folder, channels=channels),)
    return FeatureDataConfig(annotations=folder / "annotations.json", files=files, **values | changes)


def test_features_from_a_file_have_the_proposals_of_the_reference(golden: SimpleNamespace, tmp_path: Path) -> None:
    """Those of the golden clip that is real to its end: the others hold numbers past theirs, where files hold none."""
    network, features = golden.build(), golden.tensors["input"][0]  # (C, T)
    assert golden.tensors["mask"][0].all()
    channels, count = features.shape
    np.save(tmp_path / "video.npy", features.T.numpy())
    database = {"video": {"subset": "validation", "duration": count * 4 / 30, "annotations": []}}
    database["other"] = {"subset": "x", "duration": 9, "annotations": [{"segment": [1, 2], "label": "a"}]}
    (tmp_path / "annotations.json").write_text(json.dumps({"database": database}))
    clips = FeatureTestingSet(features_config(tmp_path, channels=channels, frame_rate=30))
    batch = collate([clips[0]])
    (proposals,) = network.head.proposals(network(batch.inputs, batch.mask))
    assert_equal_to(golden.tensors["proposals0"], proposals.segments)
    assert_equal_to(golden.tensors["scores0"], proposals.scores)


def test_a_checkpoint_of_the_reference_is_tested_as_it_is(goldens: Path, tmp_path: Path) -> None:
    """Its names have no backbone; the averaged weights count."""
    path = goldens / "actionformer_thumos.npz"
    if not path.is_file():
        pytest.skip(f"no file {path}")
    arrays = dict(np.load(path))
    sizes = json.loads(str(arrays["config_json"]))
    stored = {f"module.{name[3:]}": torch.from_numpy(value) for name, value in arrays.items() if name[:3] == "sd:"}
    torch.save({"epoch": 34, "state_dict": {}, "state_dict_ema": stored}, tmp_path / "epoch_34.pth")
    config = features_of_others(
        name="x",
        data=features_config(tmp_path, channels=sizes["in_channels"]),
        pyramid=PyramidConfig(channels=sizes["out_channels"], max_steps=sizes["max_seq_len"]),
        head=HeadConfig(),
        postprocess=PostprocessConfig(),
        training=TrainingConfig(epochs=10),
        tious=(0.5,),
    )
    model = build_detector(config, num_classes=sizes["num_classes"]).eval()
    weights = read_weights(tmp_path / "epoch_34.pth")
    assert str(weights.layout) == "detector of features of others (OpenTAD)"
    load_detector(model, weights, kind=config.backbone.weight_names, reversible=config.backbone.reversible)
    features, mask = torch.from_numpy(arrays["input"]), torch.from_numpy(arrays["mask"])
    found = model.head.proposals(model.head(*model.pyramid(features, mask)))
    assert_equal_to(torch.from_numpy(arrays["proposals1"]), found[1].segments)


@pytest.fixture
def reference(goldens: Path) -> dict:
    path = goldens / "datasets.json"
    if not path.is_file():
        pytest.skip(f"no file {path}")
    return json.loads(path.read_text())


def test_targets_of_whole_videos_are_those_of_the_reference_to_a_frame(reference: dict, tmp_path: Path) -> None:
    """It cuts times to whole frames first, and keeps what lies past the video's end."""
    (tmp_path / "annotations.json").write_text(json.dumps(reference["annotation"]))
    items = {item["video_name"]: item for item in reference["thumos_padding"]["items"]}
    counts = {name: reference["annotation"]["database"][name]["frame"] for name in items}
    for name, frames in counts.items():
        np.save(tmp_path / f"{name}.npy", np.zeros((frames // 4, 2), np.float32))
    sampling = WindowSampling(num_steps=1000, min_inside=0.01, crop_ratio=(1, 1))
    clips = FeatureTrainingSet(features_config(tmp_path, channels=2, sampling=sampling), seed=0)
    compared = 0
    for clip in (clips[number] for number in range(len(clips))):
        expected = items[clip.video_id]
        segments = np.minimum(np.array(expected["gt_segments"]), counts[clip.video_id] // 4)
        kept = segments[:, 1] > segments[:, 0]  # ours keeps actions shorter than a frame, too
        found = clip.segments.numpy()[: len(segments)][kept[: len(clip.segments)]]
        np.testing.assert_allclose(found, segments[kept][: len(found)], atol=0.25 + 1e-4)
        compared += len(found)
    assert compared >= 6


def test_times_of_a_window_are_those_of_the_reference(reference: dict, tmp_path: Path) -> None:
    (case,) = [case for case in reference["convert_to_seconds"] if "snippet_stride" in case["meta"]]
    meta = case["meta"]
    count = round(meta["duration"] * meta["fps"] / meta["snippet_stride"])
    database = {"video": {"subset": "validation", "duration": meta["duration"], "annotations": []}}
    database["other"] = {"subset": "x", "duration": 9, "annotations": [{"segment": [1, 2], "label": "a"}]}
    (tmp_path / "annotations.json").write_text(json.dumps({"database": database}))
    np.save(tmp_path / "video.npy", np.zeros((count, 2), np.float32))
    config = features_config(
        tmp_path,
        channels=2,
        frame_rate=meta["fps"],
        offset=meta["offset_frames"],
        test_whole=False,
        sampling=WindowSampling(num_steps=128, test_overlap=0.5),
    )
    first = meta["window_start_frame"] // meta["snippet_stride"]
    (clip,) = [clip for clip in FeatureTestingSet(config) if clip.frame_numbers[0] == first]
    found = clip.grid.to_seconds(torch.tensor(case["segs"]))
    torch.testing.assert_close(found, torch.tensor(case["out"]), rtol=1e-5, atol=1e-5)
