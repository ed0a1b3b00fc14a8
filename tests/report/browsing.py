"""Tabs of a browser."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def watched(context: Any, is_foreign: Callable[[str], bool]) -> Iterator[Any]:
    """A tab; whatever goes wrong in it, or any address it asks that is not the page's own, fails the test."""
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    tab.on("request", lambda request: wrong.append(request.url) if is_foreign(request.url) else None)
    yield tab
    tab.close()
    assert wrong == []


def wait_until(page: Any, expression: str, *, seconds: float = 30) -> None:
    """The pages' policy forbids playwright's own way to wait for an expression."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(20)
