"""Which files are taken for videos, or for labels, where a folder is named, and how the others are told."""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

__all__ = ["SOUND_SUFFIXES", "VIDEO_SUFFIXES", "PassedOver", "plain_name", "videos_passed_over"]

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".qt", ".avi", ".divx", ".mkv", ".webm", ".mpg", ".mpeg", ".mpe", ".mpv", ".m1v", ".m2v",
    ".wmv", ".asf", ".wtv", ".flv", ".f4v", ".mts", ".m2ts", ".m2t", ".ts", ".trp", ".mod", ".tod", ".3gp", ".3g2",
    ".ogv", ".ogm", ".mxf", ".vob", ".rm", ".rmvb", ".insv", ".lrv", ".nut", ".dv", ".h264", ".264", ".avc", ".h265",
    ".265", ".hevc", ".ivf", ".obu", ".mjpeg", ".mjpg", ".mj2", ".y4m", ".gif", ".apng",
)  # fmt: skip
"""In lower case; names may have capitals."""

SOUND_SUFFIXES = (".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".wma", ".aif", ".aiff")
"""Of sound that programs for annotation keep beside a video, under its name."""

_CAMERA = "raw film of a camera; convert it with its maker's program"
_UNREAD: Mapping[str, str] = {
    **dict.fromkeys((".braw", ".r3d", ".ari", ".arri", ".crm", ".dng", ".cine", ".mraw", ".seq"), _CAMERA),
    **dict.fromkeys((".part", ".crdownload", ".download", ".partial", ".tmp"), "not whole yet; finish copying it"),
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".gz", ".tgz"), "unpack it"),
    ".yuv": "pictures without their size; convert them to .y4m", ".rgb": "pictures without their size; convert to .y4m",
    ".swf": "convert it with ffmpeg", ".exr": "pictures; join them to a video with ffmpeg",
    ".lnk": "a link of Windows; name what it leads to", ".mp4v": "call it .mp4", ".mp": "call it .mp4",
}  # fmt: skip
"""What looks like a video and is none to us, with what to do."""
_ENDINGS_TOLD = 5
_LONGEST_ENDING, _LONGEST_NAME = 12, 60


def plain_name(name: str) -> str:
    """What names have in common that look alike: capitals and ways to write an accent do not matter."""
    return unicodedata.normalize("NFC", name).casefold()


class PassedOver:
    """Counts the files of a folder that are not taken, by ending, to tell them in one line of bounded length."""

    def __init__(self, hints: Mapping[str, str] = _UNREAD) -> None:
        self._hints = hints
        self._count: Counter[str] = Counter()
        self._first: dict[str, Path] = {}

    def add(self, path: Path) -> None:
        """One more file."""
        ending = path.suffix.lower()[:_LONGEST_ENDING]
        self._count[ending] += 1
        self._first.setdefault(ending, path)

    def __bool__(self) -> bool:
        return bool(self._count)

    def told(self, folder: Path) -> str:
        """Such as `passed over in day1: 2 x .braw (a.braw: raw film ...), 12 x .json (a.json)`."""
        order = sorted(self._count, key=lambda ending: (ending not in self._hints, -self._count[ending], ending))
        parts = [self._part(ending, folder=folder) for ending in order[:_ENDINGS_TOLD]]
        if rest := order[_ENDINGS_TOLD:]:
            parts.append(f"{sum(self._count[ending] for ending in rest)} files of {len(rest)} other endings")
        return f"passed over in {folder}: {', '.join(parts)}"

    def _part(self, ending: str, *, folder: Path) -> str:
        hint = f": {self._hints[ending]}" if ending in self._hints else ""
        name = self._first[ending].relative_to(folder).as_posix()
        shown = name if len(name) <= _LONGEST_NAME else f"...{name[-_LONGEST_NAME:]}"
        return f"{self._count[ending]} x {ending or 'no ending'} ({shown}{hint})"


def videos_passed_over(folder: Path, *, taken: Collection[Path] | None = None) -> str:
    """One line on what lies below a folder of videos and is not taken; empty if there is none.

    That is files that are no videos by their names, and folders that may not be read. Hidden files and folders are not
    counted.

    Args:
        folder: see there.
        taken: the files that are taken; None: those with an ending of `VIDEO_SUFFIXES`.
    """
    passed_over, closed = PassedOver(), list[Path]()
    for path in _files(folder, closed=closed):
        is_taken = path in taken if taken is not None else path.suffix.lower() in VIDEO_SUFFIXES
        if not is_taken:
            passed_over.add(path)
    told = [passed_over.told(folder)] if passed_over else []
    if closed:
        told.append(f"{len(closed)} folders that you may not read, such as {closed[0]}")
    return "; ".join(told)


def _files(folder: Path, *, closed: list[Path]) -> Iterator[Path]:
    """All files but hidden ones; folders that may not be read are added to `closed`."""
    for place, folders, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))
