"""The video files that the page shows: where they are, and how it gets at them.

Ids come from files of others, so an id that leads out of the folder it is looked for in finds nothing.
"""

import base64
import mimetypes
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from re2tal.common.untrusted import UnsafeNameError, path_inside
from re2tal.common.video_files import VIDEO_SUFFIXES, videos_passed_over
from re2tal.report.errors import ReportError

__all__ = ["MAX_EMBEDDED_BYTES", "FoundVideos", "data_of", "find_videos", "link_to", "videos_by_name"]

MAX_EMBEDDED_BYTES = 400_000_000
"""Of all files that go into one page; browsers refuse much larger ones."""

_PREFIX = "v_"
"""Before the ids in ActivityNet's file names."""


@dataclass(frozen=True, kw_only=True)
class FoundVideos:
    """Which videos have a file."""

    files: Mapping[str, Path]
    """By video id."""
    looked_for: str
    """Where they were looked for, in words."""
    passed_over: str = ""
    """What is in the folder and is no video, in words."""


def find_videos(
    ids: Iterable[str],
    *,
    folder: Path,
    path_of: Callable[[str], Path] | None = None,
    known: Mapping[str, Path] | None = None,
) -> FoundVideos:
    """The files of videos.

    Args:
        ids: of the videos.
        folder: where they are, at any depth, as `<id>.mp4` or with another suffix of video files, or `v_<id>.mp4`.
        path_of: tells the one place of a video's file in the folder, instead of searching, or raises a ValueError.
        known: the files by video id, instead of any search.
    """
    if known is not None:
        files = {name: known[name] for name in ids if name in known and _is_file(known[name])}
        return FoundVideos(files=files, looked_for="where they were when they were predicted on")
    if path_of is None:
        by_name = videos_by_name(folder)
        files = {name: path for name in ids if (path := by_name.get(name) or by_name.get(_PREFIX + name)) is not None}
        looked_for = f"{folder}, as <id> with the suffix of a video file"
        return FoundVideos(files=files, looked_for=looked_for, passed_over=videos_passed_over(folder))
    inside = Path(os.path.normpath(folder))
    files = {}
    for name in ids:
        try:
            path = Path(os.path.normpath(path_of(name)))
        except ValueError:  # no name of a file in the folder
            continue
        if path.is_relative_to(inside) and _is_file(path):
            files[name] = path
    return FoundVideos(files=files, looked_for=str(path_of("<id>")))


def videos_by_name(folder: Path) -> dict[str, Path]:
    """Video files below a folder, by their names without suffix and by their paths in the folder without suffix."""
    if not folder.is_dir():
        raise ReportError(f"there is no folder of videos {folder}; give --videos the folder that holds the files")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_SUFFIXES and _is_file(path) and not _leads_out(path, folder):
            found.setdefault(path.stem, path)
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return found


def link_to(path: Path, *, page: Path) -> str:
    """An address of a file that a page in another place can use: relative, every odd character quoted."""
    try:
        relative = os.path.relpath(path, page.parent)
    except ValueError:  # another drive
        return path.resolve().as_uri()
    # A colon before the first slash would be read as a scheme; quote() quotes it.
    return quote(Path(relative).as_posix(), errors="surrogateescape")


def data_of(path: Path) -> tuple[str, str]:
    """The content of a file as base64, and its type."""
    kind = mimetypes.guess_type(path.name)[0] or "video/mp4"
    try:
        return base64.b64encode(path.read_bytes()).decode("ascii"), kind
    except OSError as error:
        raise ReportError(f"video {path} cannot be read ({error.strerror}); leave --embed out to link it") from None


def _leads_out(path: Path, folder: Path) -> bool:
    """Whether a file is somewhere else by a link: a folder that somebody packed may hold links to anything."""
    try:
        path_inside(folder, path.relative_to(folder).as_posix())
    except UnsafeNameError:
        return True
    return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long for a file
        return False
