"""How a stream is getting on: its time, the speed of the machine, how far it is behind."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from re2tal.common.untrusted import visible
from re2tal.training import log
from re2tal.training.progress import format_seconds

__all__ = ["LiveProgress"]

_SECONDS_BETWEEN_LINES = 30.0
_LATEST = 5


class LiveProgress:
    """One line that is kept up to date in a terminal, else a line now and then.

    Args:
        console: None shows nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._status: Status | None = None
        self._told = time.monotonic()
        self._shares: deque[float] = deque(maxlen=_LATEST)
        self._is_slow = False
        self.seconds_behind = 0.0
        """From when the last frame of the latest window came to when it was done, and of a file what is not read."""

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Inside, it is shown."""
        if self._console is None or not self._console.is_terminal:
            yield
            return
        with self._console.status("waiting for frames") as self._status:
            yield

    @property
    def speed(self) -> float:
        """Seconds of the stream in a second, of the latest windows; 0 before the first."""
        return 1 / max(sum(self._shares) / len(self._shares), 1e-9) if self._shares else 0.0

    def window(self, *, took: float, stream: float, behind: float) -> None:
        """Note a window.

        Args:
            took: seconds that were spent on it, in the slower of detecting and decoding.
            stream: seconds of the stream from one window to the next.
            behind: see `seconds_behind`.
        """
        self._shares.append(took / stream)
        self.seconds_behind = behind
        was_slow, self._is_slow = self._is_slow, len(self._shares) == _LATEST and self.speed < 1
        if self._is_slow and not was_slow:
            log.warning(
                "slower than real time: a window takes %.2f s, and a new one comes every %.2f s; take a faster device, "
                "a smaller network, or a lower data.sampling.test_overlap",
                took,
                stream,
            )

    def tell(self, *, seconds: float, counts: dict[str, int], latest: dict[str, Any] | None) -> None:
        """Show how far the stream is."""
        if self._console is None:
            return
        found = f"{counts['num_detections']} detections"
        if latest is not None:
            found += f", last: {visible(latest['label'])} {latest['score']:.2f} at {latest['segment'][0]:.1f} s"
        gaps = f"  {counts['num_gaps']} gaps" if counts["num_gaps"] else ""
        text = f"{format_seconds(seconds)} of the stream  {self.speed:.1f} x real time  "
        text += f"{self.seconds_behind:.1f} s behind  {found}{gaps}"
        if self._status is not None:
            self._status.update(Text(text))
        elif time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            self._console.print(text, highlight=False, soft_wrap=True, markup=False)
