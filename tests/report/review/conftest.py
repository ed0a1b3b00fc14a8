"""Tabs, and a review to open in one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from review import served

from tests.report.browsing import watched
from tests.report.review.browsing import FOUND, opened
from tests.report.review.review_data import write_clip, write_found


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {name: write_clip(folder / f"{name}.mp4") for name in ("m1", "m2")}


@pytest.fixture
def tab(context: Any) -> Iterator[Any]:
    """A tab; whatever goes wrong in it fails the test."""
    with watched(context, lambda url: "//127.0.0.1:" not in url) as opened_tab:
        yield opened_tab


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "corrected.json"


@pytest.fixture
def address(tab: Any, videos: dict[str, Path], tmp_path: Path, out: Path) -> Iterator[str]:
    found = write_found(tmp_path / "detections.json", FOUND)
    with served(videos, out=out, detections=found) as (where, _):
        yield where
        tab.goto("about:blank")  # or it would ask a server that is gone


@pytest.fixture
def page(tab: Any, address: str) -> Any:
    """The tab, with the review of `FOUND`."""
    opened(tab, address)
    return tab
