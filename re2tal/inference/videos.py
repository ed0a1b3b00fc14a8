"""The same work on many videos: shared out over processes, resumed where it stopped, broken videos passed over."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from re2tal.common.atomic import atomic_text
from re2tal.common.untrusted import is_text, readable
from re2tal.inference.inputs import VideoFile
from re2tal.inference.progress import VideoProgress, showing_progress
from re2tal.training import Processes, log
from re2tal.video import VideoError

__all__ = ["SKIPS", "Outcome", "for_every_video", "share_out"]

SKIPS = "skipped.json"
"""File with the videos that could not be used, and why."""

_MOST_TOLD = 20
"""Skipped videos that are told one by one."""
_LONGEST_NAME = 220


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the videos."""

    videos: tuple[VideoFile, ...]
    num_done_before: int
    """That an earlier call had finished."""
    skipped: dict[str, str] = field(default_factory=dict)
    """By video id: why the video cannot be used."""

    @property
    def usable(self) -> tuple[VideoFile, ...]:
        """The videos whose work is done, now or earlier."""
        return tuple(video for video in self.videos if video.video_id not in self.skipped)

    def write_skips(self, folder: Path) -> None:
        """List the skipped videos in `skipped.json`; without any there is no such file."""
        path = folder / SKIPS
        if not self.skipped:
            path.unlink(missing_ok=True)
            return
        files = {video.video_id: str(video.path) for video in self.videos}
        with atomic_text(path) as file:
            json.dump(
                {name: {"file": files[name], "reason": why} for name, why in self.skipped.items()}, file, indent=2
            )


def for_every_video(
    videos: Sequence[VideoFile],
    work: Callable[[VideoFile, VideoProgress], None],
    *,
    is_done: Callable[[VideoFile], bool],
    processes: Processes,
    console: Console | None = None,
) -> Outcome:
    """Do `work` for each of the videos that is not done yet; every process gets the outcome.

    Args:
        videos: of all processes; what the main process has counts.
        work: keeps its result itself; a VideoError means that the video cannot be used.
        is_done: whether the result of an earlier call is there; asked by the main process.
        processes: among which the videos are shared out.
        console: for progress.
    """
    everything = processes.from_main(tuple(videos))
    waiting = processes.from_main([video for video in everything if not is_done(video)] if processes.is_main else [])
    own = share_out(waiting, processes.world_size)[processes.rank]
    if len(waiting) < len(everything):
        log.info("%d of %d videos are done already", len(everything) - len(waiting), len(everything))
    skipped: list[tuple[str, str]] = []
    with showing_progress(own, console=console) as progress:
        for video in own:
            try:
                _require_usable_name(video)
                work(video, progress)
            except VideoError as error:
                skipped.append((video.video_id, str(error)))
                if len(skipped) <= _MOST_TOLD:
                    log.warning("%s", readable(f"skipped {video.video_id}: {error}"))
                if len(skipped) == _MOST_TOLD:
                    log.warning("further videos that cannot be used are not told one by one")
            progress.finish(video)
    return Outcome(
        videos=everything,
        num_done_before=len(everything) - len(waiting),
        skipped=dict(sorted(processes.gather(skipped))),
    )


def _require_usable_name(video: VideoFile) -> None:
    """Results are named after the video, in text that is UTF-8 and with names that file systems end at 255 bytes."""
    if not is_text(video.video_id):
        raise VideoError(f"{video.path}: results are named after the video, whose name is no UTF-8; rename the file")
    name = video.video_id.rpartition("/")[2]
    if len(name.encode()) > _LONGEST_NAME:
        raise VideoError(
            f"{video.path}: results are named after the video, whose name has {len(name.encode())} bytes, more than "
            f"{_LONGEST_NAME}; give the file a shorter name"
        )


def share_out(videos: Iterable[VideoFile], count: int) -> list[list[VideoFile]]:
    """`count` lists of videos whose files are together about equally large; the largest come first."""
    shares: list[list[VideoFile]] = [[] for _ in range(count)]
    loads = [0] * count
    for video in sorted(videos, key=lambda video: (-video.num_bytes, video.video_id)):
        least = loads.index(min(loads))
        shares[least].append(video)
        loads[least] += max(video.num_bytes, 1)
    return shares
