"""A browser for the pages."""

from collections.abc import Iterator
from typing import Any

import pytest
import report_page

from tests.report.browsing import watched


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with report_page.browser(viewport={"width": 1280, "height": 900}) as opened:
        yield opened


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """A tab; whatever goes wrong in it fails the test."""
    with watched(context, lambda url: url.startswith("http")) as tab:
        dialogs: list[str] = []
        tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        yield tab
        assert dialogs == []
