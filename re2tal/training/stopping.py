"""SIGTERM and Ctrl-C as requests: the step at hand is finished and saved before the process leaves."""

import atexit
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

__all__ = ["LeaveSignalsToMain", "StopSignals", "Stopped"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SAME_REQUEST_SECONDS = 1.0
"""torchrun passes on the Ctrl-C that its processes got from the terminal, too."""


class Stopped(SystemExit):
    """Training was asked to stop by a signal; ends the process with the status that shells give such an end."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class StopSignals:
    """Notes the first SIGTERM or SIGINT while it is entered; a second one acts as if nobody listened.

    Only a process's main thread can listen; in others nothing is noted.
    """

    def __init__(self, *, is_told: bool = True) -> None:
        self.asked = 0
        """Number of the signal; 0: none came."""
        self._is_told = is_told
        self._since = 0.0
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, where all is saved, the first signal raises `Stopped`."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.asked:
            self.asked, self._since = number, now
            if self._at_once:
                raise Stopped(number)
            if self._is_told:
                # Not by the log or `print`, which may be at work where the signal came.
                os.write(2, b"\nstopping after this step; once more to stop at once\n")
        elif now - self._since > _SAME_REQUEST_SECONDS:
            self.__exit__()
            signal.raise_signal(number)


class LeaveSignalsToMain:
    """For loader processes: a signal to all processes of a run must not take the clips of the last step away.

    They end when the main process does, or if it has died.
    """

    def __init__(self) -> None:
        # In shared memory: `multiprocessing` ends daemons with SIGTERM, and then waits for them.
        self._is_leaving = torch.zeros((), dtype=torch.bool).share_memory_()
        atexit.register(self._is_leaving.fill_, True)

    def __call__(self, worker: int) -> None:
        """In loader process number `worker`."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._end_with_main)

    def _end_with_main(self, number: int, frame: FrameType | None) -> None:
        if self._is_leaving:
            os._exit(0)
