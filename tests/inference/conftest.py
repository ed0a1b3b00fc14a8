"""A detector trained for a moment on tiny videos."""

from pathlib import Path

import pytest
import torch

from re2tal.config import load_config
from re2tal.experiments import experiment
from re2tal.training import Processes, RunFolder
from tests.tiny_experiment import make_tiny_experiment

ALONE = Processes()
ONE_BY_ONE = "training.batch_size=1"
"""Clips computed one at a time: sums then do not depend on their company, and equal is equal to the last bit."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config; its videos have three windows each."""
    return make_tiny_experiment(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def checkpoint(tiny: Path) -> Path:
    folder = RunFolder(tiny.parent / "trained")
    config = load_config(tiny, ["training.epochs=1", "training.warmup_epochs=0", ONE_BY_ONE])
    before = torch.backends.cudnn.deterministic
    experiment.train(config, processes=ALONE, folder=folder)
    torch.backends.cudnn.deterministic = before
    return folder.best
