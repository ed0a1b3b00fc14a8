"""The eight experiments in small: their commands under torchrun on a folder laid out as the configs expect."""

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from re2tal.config import load_config
from tests.gradient_worker import changes, gradients

REPOSITORY = Path(__file__).parents[1]
CONFIGS = sorted((REPOSITORY / "configs" / "re2tal").glob("*.py"))


@pytest.fixture(scope="session")
def script() -> ModuleType:
    return import_module("tools.rehearse")


@pytest.fixture(scope="session")
def folder(script: ModuleType, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and weights of both data sets."""
    folder = tmp_path_factory.mktemp("rehearsal")
    script.lay_out(folder, data / "annotations")
    return folder


@pytest.mark.slow  # a minute each: four commands and two trainings
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_command_of_the_page_works(config: Path, script: ModuleType, folder: Path) -> None:
    result = script.rehearse(config, folder=folder, processes=2 if "re2tal" in config.stem else 1)
    assert result["num_predictions"] > 0
    assert 0 <= result["average_mAP"] <= 1


def test_only_sizes_are_reduced(script: ModuleType) -> None:
    words = {option.split("=")[0].split(".")[0] for options in script.REDUCED.values() for option in options}
    assert words == {"data", "pyramid", "training", "backbone"}
    for config in CONFIGS:
        real, reduced = load_config(config), load_config(config, script.options_of(config))
        assert reduced.backbone.reversible == real.backbone.reversible
        assert reduced.backbone.pretrained == real.backbone.pretrained
        assert reduced.training.amp == real.training.amp == "fp16"
        same = ("name", "work_dir", "head", "augment", "postprocess", "evaluation")
        assert all(getattr(reduced, part) == getattr(real, part) for part in same)


@pytest.mark.slow  # half a minute
def test_two_processes_give_the_gradients_of_one(
    script: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments = {str(path): [*script.options_of(path), *changes(load_config(path))] for path in CONFIGS}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    worker = [*launcher, str(REPOSITORY / "tests" / "gradient_worker.py")]
    script.call([*worker, json.dumps(experiments), str(tmp_path)], folder=folder)
    monkeypatch.chdir(folder)
    for path, options in experiments.items():
        one = gradients(load_config(path, options))
        two = [torch.load(tmp_path / f"{Path(path).stem}_{rank}.pth", weights_only=True) for rank in range(2)]
        assert len(one) > 100
        largest = max(float(value.norm()) for value in one.values())
        for name, value in one.items():
            assert torch.equal(two[0][name], two[1][name])
            error = float((two[0][name] - value).norm())
            assert error <= 1e-11 * max(float(value.norm()), 1e-3 * largest), f"{path}: {name} is off by {error:.1e}"
