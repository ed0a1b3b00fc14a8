"""Where the tests find goldens and footage, what they skip without them; and how they run commands."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal import cli
from tests.tiny_experiment import make_tiny_experiment


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, Path(__file__).parents[1] / default))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set {variable} to where it is")
    return folder


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of the reference's numbers."""
    return _folder("RE2TAL_GOLDENS", "../shared/goldens")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real footage, annotations and predictions."""
    return _folder("RE2TAL_DATA", "../shared/data")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of the tiny experiment, which the tests of a module share."""
    return make_tiny_experiment(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def _restore_cudnn() -> Iterator[None]:
    """What a run sets is of its process."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@pytest.fixture
def re2tal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command in this process; returns its exit status or message."""

    def run(*arguments: object) -> Any:
        monkeypatch.setattr(sys, "argv", ["re2tal", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as end:
            return end.code or 0
        return 0

    return run
