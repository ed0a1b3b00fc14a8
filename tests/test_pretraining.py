"""Pre-training on frames without labels, from the command to a detector that starts from it."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from re2tal.config import ExperimentConfig, load_config
from re2tal.data import annotations_of
from re2tal.experiments import experiment
from re2tal.experiments.pretraining import PretrainingError, TubeMasking, frames_alone, pretrain
from re2tal.networks.backbones import build_backbone
from re2tal.training import Processes, RunFolder, Stopped, Trainer
from re2tal.weights import load_pretrained, read_weights
from tests.tiny_experiment import make_tiny_experiment

pytest.importorskip("transformers")

ALONE = Processes()
BACKBONE = (
    "backbone={'kind':'videomae','width':12,'depth':2,'heads':2,'hidden':20,'patch':4,'size':(16,16),'clip_frames':8,"
    "'drop_path':0.0,'reversible':%s}"
)
MASKING = TubeMasking(epochs=4, mask_ratio=0.75, decoder_depth=1, learning_rate=5e-3)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The tiny experiment, without any file of a test video, and one training video without labels."""
    path = make_tiny_experiment(tmp_path / "tiny")
    for video in ("video4", "video5"):
        (path.parent / "videos" / f"{video}.mp4").unlink()
    file = path.parent / "annotations.json"
    database = json.loads(file.read_text())["database"]
    database["video1"]["annotations"] = []
    file.write_text(json.dumps({"database": database}))
    return path


def config_of(path: Path, *, reversible: bool = False) -> ExperimentConfig:
    return load_config(path, [BACKBONE % reversible])


def losses(run: RunFolder) -> list[float]:
    return [json.loads(line)["loss"] for line in run.metrics.read_text().splitlines()]


@pytest.mark.parametrize("reversible", [False, True])
def test_a_detector_starts_from_it(
    tiny: Path, tmp_path: Path, reversible: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config, run = config_of(tiny, reversible=reversible), RunFolder(tmp_path / "run")
    weights = pretrain(config, MASKING, processes=ALONE, folder=run)
    assert losses(run)[-1] < losses(run)[0]
    file = read_weights(weights)
    assert (file.layout.kind, file.layout.part, file.layout.rewired) == ("videomae", "backbone", reversible)
    network = build_backbone(config.backbone).network
    placed = load_pretrained(network, path=weights, kind="videomae", reversible=reversible).placement
    assert not placed.differences()
    kept = torch.load(run.epoch(3), weights_only=True)["weights"]
    for name, value in network.state_dict().items():
        assert torch.equal(value, kept["net.videomae." + name.removeprefix("net.")])
    options = [f"backbone.pretrained={weights}", "training.epochs=1", "training.warmup_epochs=0"]
    detector = load_config(tiny, [BACKBONE % reversible, *options])
    with caplog.at_level("INFO", logger="re2tal"):
        experiment.train(detector, processes=ALONE, folder=RunFolder(tmp_path / "detector"), evaluate=False)
    assert f"backbone from {weights}" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_every_training_video_is_seen_everywhere_and_no_other(tiny: Path) -> None:
    clips = frames_alone(config_of(tiny), annotations_of(config_of(tiny).data))
    first = set()
    for epoch in range(30):
        clips.set_epoch(epoch)
        for index in range(len(clips)):
            assert clips[index].video_id == f"video{index}" and clips[index].labels.tolist() in ([], [0])
            numbers = clips[index].frame_numbers
            assert numbers is not None
            first.add(int(numbers[0]))
    assert len(clips) == 4  # labelled or not
    assert {0, 16} <= first <= set(range(17))  # of 48 frames, windows of 32


def test_one_seed_gives_one_result_also_where_the_run_was_stopped(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(name: str, *, resume: Literal["auto"] | None = None, seed: int = 42) -> Mapping[str, torch.Tensor]:
        config, run = config_of(tiny), RunFolder(tmp_path / name)
        config = config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})
        return read_weights(pretrain(config, MASKING, processes=ALONE, folder=run, resume=resume)).tensors

    with monkeypatch.context() as patched:
        step, count = Trainer.step, iter(range(100))

        def interrupted(trainer: Trainer, batches: Any) -> dict[str, float]:
            if next(count) == 5:  # of eight, in the third epoch
                os.kill(os.getpid(), signal.SIGTERM)
            return step(trainer, batches)

        patched.setattr(Trainer, "step", interrupted)
        with pytest.raises(Stopped):
            weights("stopped")
    assert not (tmp_path / "stopped" / "backbone.safetensors").exists()
    first, stopped, other = weights("first"), weights("stopped", resume="auto"), weights("other", seed=1)
    assert all(torch.equal(value, stopped[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


def test_the_command(
    tiny: Path, tmp_path: Path, re2tal: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--cfg-options", f"work_dir={tmp_path / 'exps'}", BACKBONE % False]
    assert re2tal("pretrain", tiny, "--epochs", "2", "--mask-ratio", "0.5", "--seed", "3", *options) == 0
    weights = tmp_path / "exps/pretraining/gpu1_id0/backbone.safetensors"
    assert weights.is_file() and f"Results: {weights}" in capsys.readouterr().out
    log = (weights.parent / "log.txt").read_text()
    assert "tube masking of 4 training videos, 8 of 16 tokens of a time hidden" in log and "step 4/4" in log
    told = re2tal("pretrain", tiny, "--mask-ratio", "0.99", *options)
    assert "hides 16 of the 16 tokens" in told and "from 0.07 to 0.93" in told
    assert "mask_ratio must be in (0, 1), got 1" in re2tal("pretrain", tiny, "--mask-ratio", "1", *options)
    assert "epochs must be at least 1, got 0" in re2tal("pretrain", tiny, "--epochs", "0", *options)
    assert "tube masking trains a VideoMAE, and the config's backbone is a SlowFastConfig" in re2tal("pretrain", tiny)


def test_it_goes_on_from_the_config_s_weights(tiny: Path, tmp_path: Path) -> None:
    first = pretrain(config_of(tiny), MASKING, processes=ALONE, folder=RunFolder(tmp_path / "first"))
    config = load_config(tiny, [BACKBONE % False, f"backbone.pretrained={first}", "backbone.frozen=True"])
    run = RunFolder(tmp_path / "second")
    still = TubeMasking(epochs=1, mask_ratio=0.75, decoder_depth=1, learning_rate=1e-12)
    second = read_weights(pretrain(config, still, processes=ALONE, folder=run)).tensors
    for name, value in read_weights(first).tensors.items():
        torch.testing.assert_close(second[name], value)


def test_stored_features_are_refused(tiny: Path, tmp_path: Path) -> None:
    config = config_of(tiny)
    config = config.model_copy(update={"data": config.data.model_copy(update={"features": tmp_path})})
    with pytest.raises(PretrainingError, match=r"of frames.*data\.features=None"):
        pretrain(config, MASKING, processes=ALONE, folder=RunFolder(tmp_path))
