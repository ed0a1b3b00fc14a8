"""A page of a review in a browser, and what is pressed, seen and written there."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import review
from review import served

from tests.report.browsing import wait_until
from tests.report.review.review_data import database_of

FOUND = {
    "m1": [(2.0, 4.0, "walk", 0.9), (6.0, 7.0, "groom", 0.6), (10.0, 14.0, "walk", 0.5), (10.2, 14.0, "walk", 0.4)],
    "m2": [(3.0, 5.0, "groom", 0.35)],
}


@contextmanager
def reviewing(tab: Any, videos: Mapping[str, Path], **options: Any) -> Iterator[Any]:
    """The tab shows a review; after, it leaves it, or it would ask a server that is gone."""
    with served(videos, **options) as (address, _):
        opened(tab, address)
        yield tab
        tab.goto("about:blank")


def opened(page: Any, address: str) -> None:
    page.goto(address)
    review.wait_until_ready(page)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def saved(page: Any) -> None:
    wait_until(page, "model.pending.length === 0 && model.isOnline")


def written(path: Path, *, video: str = "m1", count: int) -> dict[str, Any]:
    """The entry of a video once it has `count` annotations; the file follows the edits after a moment."""
    end = time.monotonic() + 30
    while True:
        entry = database_of(path).get(video) if path.exists() else None
        if entry is not None and len(entry["annotations"]) == count:
            return entry
        assert time.monotonic() < end, entry
        time.sleep(0.05)


def rows(entry: dict[str, Any]) -> list[tuple[float, float, str]]:
    return [(*row["segment"], row["label"]) for row in entry["annotations"]]


def chosen(page: Any) -> Any:
    return page.evaluate(
        "edits.segment && [edits.segment.start, edits.segment.end, edits.segment.label, edits.segment.status]"
    )


def said(page: Any) -> str:
    return str(page.locator("#about-segment").inner_text()).replace("\u2068", "").replace("\u2069", "")
