"""Features of overlapping windows: computed once where the backbone cuts clips into sub-clips, and the same."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.common.types import Batch
from re2tal.config import ExperimentConfig, load_config
from re2tal.config.building import build_detector
from re2tal.data import ClipStream, TestingSet, batches_of, read_features
from re2tal.experiments import experiment
from re2tal.inference import (
    ClipDetector,
    TrainedDetector,
    VideoFile,
    WindowFeatures,
    detect_in_video,
    extract,
    tell_of_sharing,
    why_not_shared,
)
from re2tal.training import Processes, RunFolder, save_checkpoint, seed_all
from tests.tiny_experiment import make_tiny_experiment

ALONE = Processes()
CPU = torch.device("cpu")
FACTORIES = '''
import torch
from torch import nn


class Video(nn.Module):
    """(B, 3, T, H, W) -> (B, 6, T / 2, H / 2, W / 2); every frame of a piece sees its neighbours."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(3, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm3d(6)
        self.second = nn.Conv3d(6, 6, 3, padding=1)

    def forward(self, clips):
        return self.second(torch.tanh(self.norm(self.first(clips))))


def video():
    return Video()


def pictures():
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(6, 6, 3, padding=1))
'''
NETWORKS = {"video": ("BCTHW", 8), "pictures": ("BCHW", 1)}
RELATIVE = 1e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharing")
    make_tiny_experiment(folder)
    (folder / "networks.py").write_text(FACTORIES)
    return folder


def configured(folder: Path, network: str = "video", *options: str) -> ExperimentConfig:
    """Windows of 32 frames, every 8; sub-clips of 8 frames, or of one."""
    takes, clip_frames = NETWORKS[network]
    backbone = {
        "kind": "factory",
        "factory": f"{folder / 'networks.py'}:{network}",
        "takes": takes,
        "clip_frames": clip_frames,
        "size": (16, 16),
        "out_channels": 6,
    }
    changes = [f"backbone={backbone}", "data.sampling.test_overlap=0.75", *options]
    return load_config(folder / "tiny.py", changes)


def built(config: ExperimentConfig) -> Any:
    seed_all(0)
    return build_detector(config, num_classes=2).eval()


def batches(config: ExperimentConfig, *, size: int) -> list[Batch]:
    return list(batches_of(iter(TestingSet(config.data)), size=size))  # type: ignore[call-overload]


def assert_close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    assert (found - wanted).abs().max() <= RELATIVE * wanted.abs().max()


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.6, 0.75, 0.9])
@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("network", NETWORKS)
def test_shared_features_are_those_of_whole_clips(folder: Path, network: str, size: int, overlap: float) -> None:
    config = configured(folder, network, f"data.sampling.test_overlap={overlap}")
    backbone = built(config).backbone
    features = WindowFeatures(backbone, device=CPU)
    with torch.no_grad():
        for batch in batches(config, size=size):
            assert_close(features.of(batch), backbone(batch.frames, 16))


@pytest.mark.parametrize("network", NETWORKS)
def test_where_all_sub_clips_are_new_they_are_equal_to_the_last_bit(folder: Path, network: str) -> None:
    config = configured(folder, network)
    backbone = built(config).backbone
    with torch.no_grad():
        for batch in batches(config, size=1):
            features = WindowFeatures(backbone, device=CPU)
            assert torch.equal(features.of(batch), backbone(batch.frames, 16))
            assert features.num_computed == features.num_sub_clips == 32 // NETWORKS[network][1]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [1, 3])
def test_every_piece_of_a_video_is_computed_once(folder: Path, network: str, size: int) -> None:
    config = configured(folder, network)
    features = WindowFeatures(built(config).backbone, device=CPU)
    with torch.no_grad():
        for batch in batches(config, size=size):
            features.of(batch)
    # Two videos of 48 frames, three windows of 32 each.
    length = NETWORKS[network][1]
    assert (features.num_computed, features.num_sub_clips) == (2 * 48 // length, 2 * 3 * 32 // length)


def test_what_fills_up_a_short_video_is_computed_once(folder: Path) -> None:
    config = configured(folder, "pictures")
    (batch, *_) = batches(config, size=1)
    (numbers,) = batch.frame_numbers
    assert numbers is not None
    numbers[20:] = 19
    batch.frames[:, :, 20:] = batch.frames[:, :, 19:20]
    backbone = built(config).backbone
    features = WindowFeatures(backbone, device=CPU)
    with torch.no_grad():
        assert_close(features.of(batch), backbone(batch.frames, 16))
    assert features.num_computed == 20


def test_runs_that_come_in_turn_share_nothing_and_lose_nothing(folder: Path) -> None:
    config = configured(folder)
    first, second = batches(config, size=1)[:3], batches(config, size=1)[3:]
    backbone = built(config).backbone
    apart = WindowFeatures(backbone, device=CPU, runs=2)
    forgetful = WindowFeatures(backbone, device=CPU, runs=1)
    with torch.no_grad():
        for pair in zip(first, second, strict=True):
            for batch in pair:
                assert_close(apart.of(batch), backbone(batch.frames, 16))
                forgetful.of(batch)
    assert apart.num_computed == 2 * 6 and forgetful.num_computed == forgetful.num_sub_clips == 2 * 3 * 4


def test_memory_is_that_of_a_batch_of_features_for_each_run(folder: Path) -> None:
    config = configured(folder, "video", "data.sampling.test_overlap=0.9")
    features = WindowFeatures(built(config).backbone, device=CPU, runs=2)
    with torch.no_grad():
        for batch in batches(config, size=2):
            features.of(batch)
            kept = [piece for recent in features._recent for piece in recent.values()]
            assert len(kept) <= 2 * 2 * 4
            assert all(piece.untyped_storage().nbytes() == piece.nbytes for piece in kept)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_is_detected_with_and_without_sharing(folder: Path, network: str) -> None:
    config = configured(folder, network)
    model = built(config)
    found = {}
    for share in (True, False):
        detector = ClipDetector(model, config=config, device=CPU, video_labels=None, share=share)
        assert (detector.features is not None) == share
        found[share] = list(detector.in_clips(batches(config, size=2)))
    for shared, plain in zip(found[True], found[False], strict=True):
        assert torch.equal(shared.labels[:10], plain.labels[:10])
        assert shared.segments[:10] == pytest.approx(plain.segments[:10], abs=1e-3)
        assert shared.scores[:10] == pytest.approx(plain.scores[:10], rel=1e-4)


def save(path: Path, config: ExperimentConfig) -> None:
    about = {"config": config.model_dump_json(), "class_names": ["flash", "glow"]}
    save_checkpoint(path, {"weights": built(config).state_dict(), **about})


def test_testing_in_loader_processes_finds_the_same(folder: Path, tmp_path: Path) -> None:
    found = []
    for num_workers in (0, 2, 3):
        options = [f"training.num_workers={num_workers}", "training.batch_size=1"]
        config = configured(folder, "video", *options)
        save(tmp_path / "weights.pth", config)
        out = RunFolder(tmp_path / str(num_workers))
        experiment.test(config, processes=ALONE, folder=out, checkpoint=tmp_path / "weights.pth", evaluate=False)
        found.append(json.loads((out.path / "detections.json").read_text())["results"])
    alone, *others = found
    for other in others:
        assert list(other) == list(alone)
        for name in alone:
            for first, second in zip(alone[name][:10], other[name][:10], strict=True):
                assert first["segment"] == pytest.approx(second["segment"], abs=1e-3)
                assert first["score"] == pytest.approx(second["score"], rel=1e-4)


def test_predicting_finds_what_testing_finds(folder: Path) -> None:
    config = configured(folder, "video", "training.batch_size=1")
    model = built(config)
    tested = experiment.Tester(config, processes=ALONE).detect(model)[0]
    trained = TrainedDetector(path=folder, config=config, class_names=("flash", "glow"), model=model, video_labels=None)
    stream = ClipStream(config.data.video_path(tested.video_id), video_id=tested.video_id, config=config.data)
    predicted = detect_in_video(stream, trained=trained, device=CPU)
    assert torch.equal(predicted.segments, tested.segments) and torch.equal(predicted.scores, tested.scores)


def test_extracted_features_are_those_of_whole_clips(folder: Path, tmp_path: Path) -> None:
    config = configured(folder)
    backbone = built(config).backbone
    path = config.data.video_path("video4")
    video = VideoFile(video_id="video4", path=path, num_bytes=path.stat().st_size)
    extract(backbone, [video], config=config, weights=None, out=tmp_path, processes=ALONE)
    stored = read_features(tmp_path / "video4.safetensors")
    with torch.no_grad():
        for first_step, clip in zip(stored.starts, TestingSet(config.data), strict=False):
            assert_close(stored.window(first_step), backbone(clip.frames[None], 16)[0])
    assert len(stored.starts) == 3


def test_a_backbone_that_sees_the_whole_window_shares_nothing_and_says_why(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="re2tal")
    config = load_config(folder / "tiny.py", ["data.sampling.test_overlap=0.75"])
    model = built(config)
    assert ClipDetector(model, config=config, device=CPU, video_labels=None).features is None
    tell_of_sharing(model.backbone, config=config.data)
    assert "for every window anew: this backbone does not cut clips into sub-clips" in caplog.text
    (batch, *_) = batches(config, size=2)
    with torch.no_grad():
        assert torch.equal(WindowFeatures(model.backbone, device=CPU).of(batch), model.backbone(batch.frames, 16))


def test_why_features_are_not_shared_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="re2tal")
    config = configured(folder)
    backbone = built(config).backbone

    def why(*options: str) -> str | None:
        return why_not_shared(backbone, config=configured(folder, "video", *options).data)

    assert why() is None and why("data.sampling.test_overlap=0.5") is None
    assert "do not overlap" in str(why("data.sampling.test_overlap=0"))
    assert "begin every 12 frames of a clip, and the backbone takes sub-clips of 8" in str(
        why("data.sampling.test_overlap=0.6")
    )
    assert why("data.sampling={'kind': 'resize', 'num_steps': 16, 'frames_per_step': 2}") == "clips are whole videos"
    tell_of_sharing(backbone, config=config.data)
    assert "computed once, in sub-clips of 8 frames" in caplog.text
