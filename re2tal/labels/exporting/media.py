"""The video files that labels are of: where they are, how long, at what rate."""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from re2tal.common.untrusted import UnsafeNameError, path_inside, shown
from re2tal.labels.exporting.content import ExportItem, ExportNotes, ExportOptions, ExportVideo
from re2tal.labels.exporting.source import ExportSource
from re2tal.labels.records import SourceError
from re2tal.labels.videos import VideoFolder, probe_all

__all__ = ["videos_of"]

_ROUNDING_MS = 10
"""Overhangs that the import does not report either."""


def videos_of(
    source: ExportSource, options: ExportOptions, *, tell: Callable[[int, int], None], notes: ExportNotes
) -> tuple[list[ExportVideo], Path | None]:
    """The videos with their files, and the folder of those. Labels that lie outside of a file are cut off.

    Args:
        source: of the labels.
        options: where to look for files, if not in the folder that the labels tell.
        tell: is told how many files of how many have been looked at.
        notes: takes which files are not found, and what is cut off.

    Raises:
        SourceError: there is no folder of that name, or it holds no videos.
    """
    folder = options.videos
    if folder is None and source.folder is not None and source.folder.is_dir() and not options.known:
        folder = source.folder
    found = options.known or _find(source, folder=folder, allow_links=options.allow_links, notes=notes)
    paths = {name: path.resolve() for name, path in found.items()}
    infos = probe_all(Path(), [PurePosixPath(path.as_posix()) for path in paths.values()], tell=tell)
    videos = []
    for name, listed in source.videos.items():
        path = paths.get(name)
        info = None if path is None else infos[PurePosixPath(path.as_posix())]
        if isinstance(info, str):
            notes.add("videos that cannot be read", info)
        if path is None:
            notes.add("videos whose file is not known, so that they are named by their id; --videos FOLDER finds them",
                      shown(name))  # fmt: skip
        duration, rate = listed.duration_seconds, listed.fps
        if info is not None and not isinstance(info, str):
            duration, rate = info.duration_seconds, info.fps
        rate = rate or options.fps
        items = _clipped(listed.items, duration_seconds=duration, notes=notes)
        videos.append(
            ExportVideo(
                video_id=name,
                items=tuple(sorted(items)),
                path=path,
                duration_seconds=duration,
                fps=None if rate is None else round(rate, 6),
                is_detected=source.are_detections,
            )
        )
    return videos, _common_folder(paths.values()) if folder is None else folder.resolve()


def _common_folder(paths: Iterable[Path]) -> Path | None:
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # none, or on several drives of Windows
        return None


def _find(source: ExportSource, *, folder: Path | None, allow_links: bool, notes: ExportNotes) -> dict[str, Path]:
    """As the pattern of the labels tells, else whatever is named like the video."""
    if folder is None:
        return {}
    files = VideoFolder(folder, allow_links=allow_links)
    exact = {str(file.with_suffix("")): file for file in reversed(files.files)} | {
        str(file): file for file in files.files
    }
    found = {}
    for name in source.videos:
        path = _by_pattern(name, source.video_pattern, folder=folder, allow_links=allow_links)
        if path is None:
            try:
                file = exact.get(name) or files.find(name)
                path = None if file is None else folder / file
            except SourceError as error:
                notes.add("videos that may be one of several files", str(error))
        if path is not None:
            found[name] = path
    return found


def _by_pattern(name: str, pattern: str | None, *, folder: Path, allow_links: bool) -> Path | None:
    try:
        path = path_inside(folder, (pattern or "").replace("{id}", name), allow_links=allow_links)
    except UnsafeNameError:
        return None
    return path if path.is_file() else None


def _clipped(items: Iterable[ExportItem], *, duration_seconds: float | None, notes: ExportNotes) -> list[ExportItem]:
    """What lies inside of a video, whose length may not be known."""
    last = math.inf if duration_seconds is None else round(1000 * duration_seconds)
    inside = []
    for item in items:
        about = f"{shown(item.label)} from {item.start_ms / 1000:g} to {item.end_ms / 1000:g} s"
        start, end = max(item.start_ms, 0), int(min(item.end_ms, last))
        if start > end or (start == end and not item.is_point):
            notes.add("left out: labels that lie outside of their video", about)
            continue
        if max(start - item.start_ms, item.end_ms - end) > _ROUNDING_MS:
            notes.add("labels that were clipped to their video", about)
        inside.append(replace(item, start_ms=start, end_ms=end))
    return inside
