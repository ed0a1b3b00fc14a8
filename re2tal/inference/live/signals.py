"""The end of a stream that nobody else ends: Ctrl-C and SIGTERM."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Any

__all__ = ["StopRequest", "stopping_by_signals"]


class StopRequest:
    """Asks for an end with all that is finished written."""

    def __init__(self) -> None:
        self._event = Event()
        self.reason = ""

    def stop(self, reason: str) -> None:
        """Ask for it."""
        self.reason = self.reason or reason
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


@contextmanager
def stopping_by_signals() -> Iterator[StopRequest]:
    """A request that SIGINT (Ctrl-C) or SIGTERM makes; a second signal ends the process as usual."""
    request = StopRequest()
    before: dict[signal.Signals, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        request.stop(signal.Signals(number).name)
        for name, handler in before.items():
            signal.signal(name, handler)

    if current_thread() is main_thread():  # Python allows it nowhere else
        before = {name: signal.signal(name, handle) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
