"""What a run tells: a live bar in a terminal, lines in its log, JSON lines for programs."""

import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
from rich.progress import Progress as RichProgress

from re2tal.common.atomic import atomic_text
from re2tal.common.untrusted import JsonError, parse_json, readable, shown, visible_lines
from re2tal.training.disk import telling_of_full_disk

__all__ = ["Progress", "Records", "counting", "format_seconds", "log", "logging_to", "tell_counts"]

log = logging.getLogger("re2tal")


class _Visible(logging.Formatter):
    """Names of others in a message are shown, not obeyed, by the terminal that shows the log."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


class _Readable(logging.Formatter):
    """For the terminal; the file has the whole of what is cut here."""

    def format(self, record: logging.LogRecord) -> str:
        return readable(super().format(record))


@contextmanager
def logging_to(path: Path, *, is_main: bool = True) -> Iterator[Console]:
    """Write the log to `path` and to the terminal; other processes than the main one only say what is wrong.

    Whatever ends the run, the file says where.
    """
    console = Console(stderr=True)
    shown: logging.Handler
    if console.is_terminal:
        shown = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
        shown.setFormatter(_Readable("%(message)s"))
    else:
        shown = logging.StreamHandler(console.file)
        shown.setFormatter(_Readable("%(asctime)s %(message)s", "%H:%M:%S"))
    shown.setLevel(logging.INFO if is_main else logging.WARNING)
    # Opened when there is something to say, which for the others is at most why they stop.
    written = _LogFile(path, encoding="utf-8", delay=True)
    written.setLevel(logging.DEBUG if is_main else logging.ERROR)
    written.setFormatter(_Visible("%(asctime)s %(levelname)s %(message)s"))
    path.parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [shown, written]
    level = log.level
    log.setLevel(logging.DEBUG)
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield console
    except BaseException:
        log.removeHandler(shown)
        log.error("stopped", exc_info=True)
        raise
    finally:
        log.setLevel(level)
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


class _LogFile(logging.FileHandler):
    """Lines that a full disk does not take are left out: the run has to end for another file, and says so."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class RecordsError(ValueError):
    """A file of records that cannot be read."""


class Records:
    """A file of JSON objects, one a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one object, on the disk before anything that is saved later."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with telling_of_full_disk(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All objects so far; a last line that was cut off is left out.

        Raises:
            RecordsError: another line is damaged.
        """
        if not self.path.exists():
            return []
        *whole, _ = self.path.read_bytes().split(b"\n")
        return [self._record(line, number) for number, line in enumerate(whole, start=1) if line]

    def _record(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = parse_json(line)
        except JsonError as error:
            raise RecordsError(f"{self.path}, line {number} is damaged ({error}); remove the line") from None
        if not isinstance(record, dict) or "kind" not in record:
            raise RecordsError(f"{self.path}, line {number} is no record of a training: {shown(record)}; remove it")
        return record

    def keep(self, *, epochs: int, step: int) -> None:
        """Drop what a run that goes on behind `epochs` whole epochs and optimizer step `step` will write again."""

        def is_kept(record: dict[str, Any]) -> bool:
            return record["step"] <= step if "step" in record else record["epoch"] < epochs

        kept = [record for record in self.read() if is_kept(record)]
        if self.path.exists():
            with telling_of_full_disk(self.path), atomic_text(self.path) as file:
                file.writelines(json.dumps(record) + "\n" for record in kept)


class Progress:
    """Counts optimizer steps and says how fast they go and how long the rest will take.

    Use it as a context manager. The clock only runs between `resume()` and the following steps, so
    evaluations and checkpoints do not count.
    """

    def __init__(self, *, total_steps: int, clips_per_step: int, console: Console | None = None) -> None:
        self.total_steps = total_steps
        self.clips_per_step = clips_per_step
        self._recent: deque[float] = deque(maxlen=50)
        self._last = time.perf_counter()
        live = console is not None and console.is_terminal
        self._bar = RichProgress(*_columns(), console=console, transient=True, disable=not live)
        self._task = self._bar.add_task("training", total=total_steps, state="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def resume(self) -> None:
        """Start the clock again after a break."""
        self._last = time.perf_counter()

    def step(self, done_steps: int, *, losses: Mapping[str, float]) -> None:
        """Note that `done_steps` of all steps are done."""
        now = time.perf_counter()
        self._recent.append(now - self._last)
        self._last = now
        self._bar.update(self._task, completed=done_steps, state=self.describe(done_steps, losses=losses))

    def describe(self, done_steps: int, *, losses: Mapping[str, float]) -> str:
        """Losses, rate and time left on one line."""
        shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        left = format_seconds((self.total_steps - done_steps) * self.seconds_per_step)
        return f"{shown}  {self.clips_per_second:.2f} clips/s  {left} left"

    @property
    def seconds_per_step(self) -> float:
        """Mean of the latest steps; 0 before the first."""
        return sum(self._recent) / len(self._recent) if self._recent else 0.0

    @property
    def clips_per_second(self) -> float:
        """Over all processes, mean of the latest steps."""
        return self.clips_per_step / self.seconds_per_step if self.seconds_per_step else 0.0


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many things are done on the error stream: a live bar in a terminal, else ten lines.

    Args:
        what: the things, in the plural.

    Yields:
        A function that takes how many are done, and of how many.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield tell_counts(what, tell=lambda line: console.print(line, highlight=False, soft_wrap=True))
        return
    start = time.monotonic()
    with RichProgress(*_columns(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None, state="")
        yield lambda done, total: bar.update(task, completed=done, total=total, state=_pace(what, done, total, start))


def _columns() -> tuple[ProgressColumn, ...]:
    """What a live bar shows: what is counted, how far it is, and how fast it goes."""
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}")


def tell_counts(what: str, *, tell: Callable[[str], None]) -> Callable[[int, int], None]:
    """A function that tells, ten times in all, how many are done, at what rate, and how long the rest takes."""
    start = time.monotonic()

    def told(done: int, total: int) -> None:
        if done * 10 // total > (done - 1) * 10 // total:
            tell(f"{done} of {total} {what}  {_pace(what, done, total, start)}")

    return told


def _pace(what: str, done: int, total: int, start: float) -> str:
    rate = done / max(time.monotonic() - start, 1e-9)
    return f"{rate:.1f} {what}/s  {format_seconds((total - done) / rate)} left" if done else ""


def format_seconds(seconds: float) -> str:
    """`7 s`, `1:02 min`, `3:05:00 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"
