"""Videos in folders, with names of every kind."""

from pathlib import Path

import pytest

from tests.labels.conftest import SECONDS, make_videos

IDS = ("a", "day 1/b", "ü & c")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`IDS`, of 12 s at 10 frames per second."""
    return make_videos(tmp_path_factory.mktemp("videos"), {f"{name}.mp4": SECONDS for name in IDS})
