"""Training from pixels in every precision, and the same seed for the same run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

import pytest
import torch
from torch import Tensor

from re2tal.config import ExperimentConfig, load_config
from re2tal.experiments import experiment
from re2tal.networks.backbones import SwinConfig
from re2tal.training import Processes, RunFolder, load_checkpoint, logging_to

SWIN = SwinConfig(
    embed_dim=8,
    depths=(2, 2),
    num_heads=(1, 2),
    patch_size=(2, 4, 4),
    window_size=(2, 3, 3),
    drop_path=0.5,
    reversible=True,
    freeze_norms=False,
)
"""Draws random numbers in its chains and in between."""


def trained(config: ExperimentConfig, folder: Path, **options: bool) -> dict[str, Tensor]:
    """The weights after training."""
    run = RunFolder(folder)
    experiment.train(config, processes=Processes(), folder=run, evaluate=False, **options)
    weights: dict[str, Tensor] = load_checkpoint(run.epoch(config.training.epochs - 1))["training_weights"]
    return weights


# Precision


def test_the_loss_falls_alike_in_every_precision(tiny: Path, tmp_path: Path) -> None:
    losses = {}
    for amp in ("none", "bf16", "fp16"):
        changes = [f"training.amp={amp}", "training.epochs=10", "training.log_every=1", "head.initial_normalizer=10"]
        changes += ["training.learning_rate=4e-3", "training.backbone_learning_rate=1e-3"]
        trained(load_config(tiny, changes), tmp_path / amp)
        lines = [json.loads(line) for line in (tmp_path / amp / "metrics.jsonl").read_text().splitlines()]
        losses[amp] = [line["loss"] for line in lines]
        assert all(line["reconstruction_error"] == 0 for line in lines)
        assert len(losses[amp]) == 20 and mean(losses[amp][-4:]) < 0.8 * mean(losses[amp][:4]), losses
    for amp in ("bf16", "fp16"):
        assert losses[amp] != losses["none"]
        assert mean(losses[amp][-4:]) == pytest.approx(mean(losses["none"][-4:]), rel=0.1), losses


# Seeds


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("network", "count"), [("slowfast", 2), ("swin", 1)])
def test_the_same_seed_gives_the_same_run_bit_for_bit(tiny: Path, tmp_path: Path, network: str, count: int) -> None:
    """Whatever the process has drawn before, with one thread and with two, with loader processes and without."""
    config = load_config(tiny, ["training.epochs=1", "training.warmup_epochs=0"])
    if network == "swin":
        config = config.model_copy(update={"backbone": SWIN})
    helped = config.model_copy(update={"training": config.training.model_copy(update={"num_workers": 2})})
    with threads(count):
        first = trained(config, tmp_path / "first")
        torch.rand(3)
        second = trained(helped, tmp_path / "second")
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_another_seed_gives_another_run(tiny: Path, tmp_path: Path) -> None:
    first = trained(load_config(tiny, ["training.seed=1"]), tmp_path / "first")
    second = trained(load_config(tiny, ["training.seed=2"]), tmp_path / "second")
    assert not any(torch.equal(value, second[name]) for name, value in first.items() if name.endswith("conv.weight"))


def test_what_disable_deterministic_gives_up_is_told(tiny: Path, tmp_path: Path) -> None:
    config = load_config(tiny, ["training.epochs=1", "training.warmup_epochs=0"])
    told = {}
    for deterministic in (True, False):
        folder = tmp_path / str(deterministic)
        with logging_to(folder / "log.txt"):
            trained(config, folder, deterministic=deterministic)
        told[deterministic] = (folder / "log.txt").read_text()
    assert "--disable_deterministic: " in told[False] and "two runs of one seed" in told[False]
    assert "disable_deterministic" not in told[True]
