"""A backbone learns classes of trimmed clips, and a detector starts from it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.config import load_config, load_settings
from re2tal.experiments import experiment
from re2tal.experiments.experiment import find_run
from re2tal.experiments.finetuning import FinetuneConfig
from re2tal.experiments.finetuning.finetune import finetune
from re2tal.networks.backbones import build_backbone
from re2tal.training import Processes, RunFolder
from re2tal.weights import load_pretrained, read_weights
from tests.finetuning.tiny_clips import BACKBONE, tiny_finetuning, write_folders
from tests.tiny_experiment import make_tiny_experiment

PEERS = Processes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finetuning")
    write_folders(folder)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFolder:
    """A finished run of four epochs."""
    run = RunFolder(folder / "run")
    finetune(tiny_finetuning(folder), processes=PEERS, folder=run)
    return run


def accuracies(run: RunFolder) -> list[float]:
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [record["top1"] for record in records if record["kind"] == "evaluation"]


def test_it_learns(run: RunFolder) -> None:
    assert len(accuracies(run)) == 4
    assert max(accuracies(run)) == 1.0


def test_it_goes_on_bit_for_bit_where_it_stopped(folder: Path, run: RunFolder) -> None:
    resumed = RunFolder(folder / "resumed")
    weights = finetune(tiny_finetuning(folder), processes=PEERS, folder=resumed, resume=run.epoch(1))
    ours, theirs = (torch.load(part.epoch(3), weights_only=True) for part in (resumed, run))
    for key in ("weights", "training_weights"):
        assert all(torch.equal(value, theirs[key][name]) for name, value in ours[key].items())
    assert weights == resumed.path / "backbone.safetensors" and weights.is_file()


def test_a_detector_starts_from_its_backbone(run: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As docs/finetuning.md says: with `backbone.pretrained` alone."""
    weights = run.path / "backbone.safetensors"
    file = read_weights(weights)
    assert file.layout.part == "backbone" and file.layout.rewired and file.averaged
    assert file.coefficients == (0, 1)
    best = torch.load(run.best, weights_only=True)["weights"]
    assert "head.weight" in best and not any("head" in name for name in file.tensors)
    config = load_config(
        make_tiny_experiment(tmp_path),
        [f"backbone.pretrained={weights}", "training.epochs=1", "training.warmup_epochs=0"],
    )
    network = build_backbone(BACKBONE).network
    placed = load_pretrained(network, path=weights, kind="slowfast", reversible=True).placement
    assert not placed.differences()
    assert all(torch.equal(value, best[f"backbone.network.{name}"]) for name, value in network.state_dict().items())
    with caplog.at_level("INFO", logger="re2tal"):
        experiment.train(config, processes=PEERS, folder=RunFolder(tmp_path / "run"))
    assert f"backbone from {weights}" in caplog.text and "pretrained weights" not in caplog.text


def test_coefficients_are_annealed_and_told_with_the_weights(folder: Path, tmp_path: Path) -> None:
    config = tiny_finetuning(folder)
    training = config.training.model_copy(update={"epochs": 2, "anneal_epochs": 1.5})
    backbone = BACKBONE.model_copy(update={"alpha": 1.0, "beta": 0.125})
    run = RunFolder(tmp_path)
    weights = finetune(tiny_finetuning(folder, training=training, backbone=backbone), processes=PEERS, folder=run)
    # Two steps an epoch, of which the third has Re2TAL's.
    told = [read_weights(run.epoch(epoch)).coefficients for epoch in range(2)]
    assert told == [(0.5, pytest.approx(0.5625)), (0, 1)]
    file = read_weights(weights)
    assert file.epoch is not None and file.coefficients == told[file.epoch]


CONFIG = """
from pathlib import Path
from tests.finetuning.tiny_clips import tiny_finetuning

config = tiny_finetuning(Path({folder!r}))
"""


def test_the_command(folder: Path, tmp_path: Path, re2tal: Callable[..., Any]) -> None:
    path = tmp_path / "clips.py"
    path.write_text(CONFIG.format(folder=str(folder)))
    options = ["training.epochs=1", "training.warmup_epochs=0", f"work_dir={tmp_path}"]
    assert re2tal("finetune", str(path), "--cfg-options", *options) == 0
    run = find_run(tiny_finetuning(folder, work_dir=tmp_path), processes=PEERS)
    assert (run.path / "backbone.safetensors").is_file()
    assert "top-1" in run.log.read_text()
    told = re2tal("finetune", path, "--cfg-options", f"data.test.videos={tmp_path / 'none'}", f"work_dir={tmp_path}")
    assert f"there is no folder {tmp_path / 'none'}" in told
    assert "must assign an ExperimentConfig to `config`, it assigns a FinetuneConfig" in re2tal("train", path)


def test_classes_of_the_test_videos_must_be_those_of_training(folder: Path, tmp_path: Path) -> None:
    config = tiny_finetuning(folder)
    (tmp_path / "loud").mkdir()
    (tmp_path / "loud/a.mp4").write_bytes((folder / "test/dark/0.mp4").read_bytes())
    data = config.data.model_copy(update={"test": config.data.test.model_copy(update={"videos": tmp_path})})
    with pytest.raises(ValueError, match="classes that the training videos do not have: loud"):
        finetune(config.model_copy(update={"data": data}), processes=PEERS, folder=RunFolder(tmp_path / "run"))


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs/finetune").glob("*.py")))
def test_the_configs_are_read_and_their_backbone_is_a_detector_s(path: Path) -> None:
    config = load_settings(path, kind=FinetuneConfig)
    detector = load_config(
        Path(__file__).parents[2] / "configs/re2tal/e2e_thumos_re2tal_actionformer_swin_tiny.py"
    ).backbone
    with torch.device("meta"):
        ours, theirs = (build_backbone(part).state_dict() for part in (config.backbone, detector))
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}
