"""backbone.reversible="auto": what is chosen fits, is told, kept, and changes no bit of a training."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from re2tal.cli.planning import plan
from re2tal.config import ExperimentConfig, load_config, override
from re2tal.config.building import build_detector
from re2tal.config.presets import demo
from re2tal.experiments import experiment
from re2tal.experiments.planning import StoragePlan, plan_storage, resumed_or_planned, storage
from re2tal.reversible import chains, spending
from re2tal.reversible import storage as stored_in
from re2tal.training import Processes, load_checkpoint, read_checkpoint
from tests.tiny_experiment import make_tiny_experiment

CPU = torch.device("cpu")


def config(*options: str) -> ExperimentConfig:
    """Small enough for a trial of milliseconds."""
    small = ("data.num_classes=5", "pyramid.arch=(1,0,2)", "backbone.blocks=(1,2,1)", "backbone.reversible=auto")
    frames = ("data.sampling.num_steps=16", "data.crop_size=(32,32)", "data.short_side_test=32")
    return override(demo(data=Path("nowhere")), [*small, *frames, "data.short_side_train=36", *options])


@pytest.fixture(autouse=True)
def storing_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a step that stores may take longer by chance."""
    monkeypatch.setattr(spending, "_LEAST_GAIN", -100.0)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dry runs take no time."""

    class Known:
        """A step takes as many GiB as a tile has MiB."""

        def __init__(self, config: ExperimentConfig, **_: object) -> None:
            size = config.backbone.tile_mib
            self.total = 2**30 * int(16 if size == "auto" else size)

        def of(self, *_: object, **__: object) -> "Known":
            return self

    monkeypatch.setattr(storage, "Estimates", Known)


def test_what_fits_is_stored_and_no_more(known: None) -> None:
    ample = plan_storage(config(), device=CPU, memory=2**36)
    assert ample.stored == ample.everything > 0
    assert "all activations are stored" in str(ample)
    half = plan_storage(config(), device=CPU, memory=ample.least + ample.everything // 2)
    assert ample.everything // 4 < half.stored <= ample.everything // 2
    assert half.total <= half.memory
    nothing = plan_storage(config(), device=CPU, memory=ample.least)
    assert (nothing.stored, nothing.tile_bytes) == (0, None)
    assert "nothing is stored" in str(nothing)
    assert StoragePlan.from_json(json.loads(json.dumps(half.as_json()))) == half


def test_tiles_are_smaller_only_where_nothing_else_fits(known: None) -> None:
    for gib, (least, tile_mib) in {16: (16, None), 15: (4, 4), 3: (1, 1)}.items():
        found = plan_storage(config(), device=CPU, memory=gib * 2**30)
        assert (found.least, found.tile_bytes) == (least * 2**30, tile_mib and tile_mib * 2**20)
        assert found.total <= found.memory
    backbone = build_detector(config(), num_classes=5).backbone
    found.apply(backbone)
    assert {chain.tile_size for chain in chains(backbone)} == {2**20}
    none_fits = plan_storage(config(), device=CPU, memory=2**20)
    assert (none_fits.least, none_fits.tile_bytes, none_fits.stored) == (16 * 2**30, None, 0)
    assert "it will not fit" in str(none_fits)
    assert plan_storage(config("backbone.tile_mib=8"), device=CPU, memory=2**20).tile_bytes is None


def test_what_a_checkpoint_tells_is_taken_up_while_it_fits(known: None) -> None:
    tried = config("training.memory=64GiB")
    backbone = build_detector(tried, num_classes=5).backbone
    first = resumed_or_planned(tried, None, device=CPU, backbone=backbone, processes=1)
    assert stored_in(backbone) == first.storage
    told = first.as_json() | {"seconds": (1.0, 0.5)}
    again = resumed_or_planned(tried, told, device=CPU, backbone=backbone, processes=1)
    assert again.seconds == (1.0, 0.5)
    for other in (config("training.memory=64MiB"), config("training.memory=64GiB", "training.batch_size=2")):
        assert resumed_or_planned(other, told, device=CPU, backbone=backbone, processes=1).seconds != (1.0, 0.5)
    for broken in ({}, "x", told | {"storage": {"no.such.chain": [1, 0]}}):
        assert resumed_or_planned(tried, broken, device=CPU, backbone=backbone, processes=1).total == first.total


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="memory must be a number above 0 with a unit"):
        config("training.memory=plenty")
    with pytest.raises(ValueError, match="set it to auto"):
        config("training.memory=6GiB", "backbone.reversible=True")
    with pytest.raises((ValueError, ValidationError)):
        config("backbone.reversible=sometimes")


def test_plan_tells_what_would_be_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_tiny_experiment(tmp_path)
    given: Any = {"device": "cpu", "memory": "64GiB", "cfg_options": ["backbone.reversible=auto"]}
    plan(path, quick=True, **given)
    assert "auto: all activations are stored" in capsys.readouterr().out
    plan(path, quick=True, json=True, **given)
    told = json.loads(capsys.readouterr().out)
    assert told["storage"]["stored"] == told["storage"]["everything"] > 0


def test_a_training_with_auto_is_the_same_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_tiny_experiment(tmp_path)
    weights = []
    for run_id, options in enumerate(
        (["backbone.reversible=True"], ["backbone.reversible=auto", "training.memory=64GiB"])
    ):
        tiny = load_config(path, options)
        folder = experiment.find_run(tiny, processes=Processes(), run_id=run_id)
        with caplog.at_level(logging.INFO, logger="re2tal"):
            experiment.train(tiny, processes=Processes(), folder=folder, evaluate=False)
        weights.append(load_checkpoint(folder.epoch(1))["training_weights"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert "memory: all activations are stored" in caplog.text
    told = StoragePlan.from_json(read_checkpoint(folder.epoch(1))["storage"])
    assert told.stored == told.everything > 0
    # As it was trained, and as it is.
    experiment.test(tiny, processes=Processes(), folder=folder, checkpoint=folder.epoch(1))
