"""How far the work on many videos has got: a live bar in a terminal, else a line now and then."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress

from re2tal.common.untrusted import visible
from re2tal.inference.inputs import VideoFile
from re2tal.training.progress import format_seconds

__all__ = ["VideoProgress", "showing_progress"]

_SECONDS_BETWEEN_LINES = 30.0


class VideoProgress:
    """Counts clips of videos, weighing videos by the size of their files: nothing else is known before one is opened.

    Args:
        videos: all that will be worked on, in order.
        tell: is given the share that is done and a line on it, as often as there is something new.
    """

    def __init__(self, videos: Sequence[VideoFile], *, tell: Callable[[float, str], None]) -> None:
        self._total = sum(_weight(video) for video in videos)
        self._count = len(videos)
        self._tell = tell
        self._start = time.monotonic()
        self._weight_done = 0
        self._videos_done = 0
        self._clips_done = 0

    def clip(self, video: VideoFile, done: int, total: int) -> None:
        """Note that `done` of the `total` clips of a video are done."""
        self._clips_done += 1
        self._say(video, done / max(total, 1))

    def finish(self, video: VideoFile) -> None:
        """Note that a video is done, or found to be unusable."""
        self._weight_done += _weight(video)
        self._videos_done += 1

    def _say(self, video: VideoFile, share: float) -> None:
        done = (self._weight_done + share * _weight(video)) / self._total
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rate = self._clips_done / elapsed
        left = format_seconds(elapsed * (1 - done) / done)
        number = min(self._videos_done + 1, self._count)
        self._tell(
            done,
            f"video {number} of {self._count}, {visible(video.video_id)}: {100 * share:.0f} %  {rate:.2f} clips/s  "
            f"{left} left",
        )


@contextmanager
def showing_progress(videos: Sequence[VideoFile], *, console: Console | None) -> Iterator[VideoProgress]:
    """Progress shown in `console`; None shows nothing."""
    if console is None:
        yield VideoProgress(videos, tell=lambda done, line: None)
    elif not console.is_terminal:
        yield VideoProgress(videos, tell=_now_and_then(console))
    else:
        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
        with RichProgress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield VideoProgress(videos, tell=lambda done, line: bar.update(task, completed=done, description=line))


def _now_and_then(console: Console) -> Callable[[float, str], None]:
    last = time.monotonic()

    def tell(done: float, line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            console.print(f"{100 * done:.0f} %  {line}", highlight=False, soft_wrap=True, markup=False)

    return tell


def _weight(video: VideoFile) -> int:
    return max(video.num_bytes, 1)
