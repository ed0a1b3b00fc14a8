"""A browser for the pages."""

from collections.abc import Iterator
from typing import Any

import pytest
import report_page


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with report_page.browser(viewport={"width": 1280, "height": 900}) as opened:
        yield opened


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """A tab; whatever goes wrong in it fails the test."""
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    tab.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    tab.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    yield tab
    tab.close()
    assert wrong == []
