"""The coefficients of a rewired backbone go from the pretrained network's to Re2TAL's, and checkpoints tell them."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from re2tal.config import ConfigError, load_config
from re2tal.networks.backbones import SwinConfig, build_backbone
from re2tal.training.annealing import Annealing, annealed, coefficients
from re2tal.weights import load_detector, read_weights
from tests.tiny_experiment import make_tiny_experiment


def test_the_first_step_has_the_start_and_the_last_one_re2tal() -> None:
    pairs = [annealed(step, start=(0.9, 0.1), steps=5) for step in range(7)]
    alphas, betas = zip(*pairs, strict=True)
    assert alphas == pytest.approx([0.9, 0.675, 0.45, 0.225, 0, 0, 0])
    assert betas == pytest.approx([0.1, 0.325, 0.55, 0.775, 1, 1, 1])
    assert pairs[4] == pairs[6] == (0, 1)


def test_a_plain_backbone_cannot_be_annealed() -> None:
    holder = nn.Module()
    holder.backbone = build_backbone(SwinConfig(embed_dim=8, depths=(1, 1), num_heads=(1, 1)))
    with pytest.raises(ValueError, match="has no reversible chain; set backbone.reversible=True"):
        Annealing([holder], steps=3)


ANNEALED = ["backbone.alpha=0.75", "backbone.beta=0.25", "training.epochs=3", "training.anneal_epochs=2.5"]


@pytest.fixture(scope="module")
def experiment_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_experiment(tmp_path_factory.mktemp("annealing"))


def test_a_resumed_run_anneals_as_the_undisturbed_one_and_is_tested_with_its_coefficients(
    experiment_file: Path,
) -> None:
    from re2tal.config.building import build_detector
    from re2tal.experiments import experiment
    from re2tal.inference import load_trained
    from re2tal.training import Processes, RunFolder

    config = load_config(experiment_file, ANNEALED)
    processes = Processes()
    first, second = (RunFolder(config.work_dir / name) for name in ("undisturbed", "resumed"))
    experiment.train(config, processes=processes, folder=first)
    experiment.train(config, processes=processes, folder=second, resume=first.epoch(0))
    told = [read_weights(first.epoch(epoch)).coefficients for epoch in range(3)]
    # Two steps an epoch, of which the fifth has Re2TAL's.
    assert told == [(0.5625, pytest.approx(0.4375, abs=2e-4)), (0.1875, pytest.approx(0.8125, abs=2e-4)), (0, 1)]
    for epoch in (1, 2):
        ours, theirs = (torch.load(folder.epoch(epoch), weights_only=True) for folder in (second, first))
        assert ours["coefficients"] == theirs["coefficients"]
        assert all(torch.equal(value, theirs["weights"][name]) for name, value in ours["weights"].items())
    trained = load_trained(first.epoch(0))
    assert coefficients(trained.model) == told[0]
    model = build_detector(config, num_classes=2)
    load_detector(model, read_weights(first.epoch(2)), kind="slowfast", reversible=True)
    assert coefficients(model) == (0, 1)
    records = re.findall(r'"alpha": ([\d.]+), "beta": ([\d.]+)', first.metrics.read_text())
    assert (float(records[-1][0]), float(records[-1][1])) == (0, 1)


def test_settings_that_contradict_each_other_are_told(experiment_file: Path) -> None:
    for options, message in (
        (["training.anneal_epochs=1"], "there they are; begin with backbone.alpha=0.9"),
        (["backbone.reversible=False", "backbone.alpha=1"], "set reversible=True, or alpha=0 and beta=1"),
        (["backbone.alpha=1", "training.anneal_epochs=9"], "at most the 2 epochs of the training, got 9"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(experiment_file, options)
