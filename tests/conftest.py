"""Where the tests find goldens and footage, and what they skip without them."""

import os
from pathlib import Path

import pytest


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
