"""What a person names on a command line -> video files, each with an id of its own."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from re2tal.common.video_files import VIDEO_SUFFIXES, videos_passed_over

__all__ = ["InputError", "VideoFile", "find_videos"]


class InputError(ValueError):
    """Nothing that could be a video where one is named."""


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """One video to work on."""

    video_id: str
    """Its path below the folder that was named (or below that which all named files share), without ending."""
    path: Path
    num_bytes: int
    """0 if the file cannot be looked at; opening it will tell why."""


def find_videos(named: Sequence[Path]) -> list[VideoFile]:
    """The videos that `named` means, each once, sorted by id.

    A folder means every file in it and below whose name ends like a video's and does not begin with a dot; a pattern
    with * or ? means what it matches; a file means itself, whatever it is called. Files that differ in their ending
    alone keep it in their ids.

    Raises:
        InputError: something that is named is not there, or there is no video in it.
    """
    found: dict[Path, Path | None] = {}  # file -> the folder that was named; both absolute
    for name in named:
        for path in _meant(name):
            folder = path if path.is_dir() else None
            files = _videos_in(path) if folder is not None else [path]
            if not files:
                told = videos_passed_over(path) or "it is empty"
                raise InputError(
                    f"{path} holds no video files, such as .mp4 ({told}); name a file of another ending itself"
                )
            for file in files:
                found.setdefault(_absolute(file), None if folder is None else _absolute(folder))
    shared = _shared_folder([file for file, folder in found.items() if folder is None])
    several = len({folder for folder in found.values() if folder is not None}) > 1
    below = {
        file: file.relative_to(shared) if folder is None else file.relative_to(folder.parent if several else folder)
        for file, folder in found.items()
    }
    count = Counter(path.with_suffix("") for path in below.values())
    ids = {file: (path.with_suffix("") if count[path.with_suffix("")] == 1 else path) for file, path in below.items()}
    videos = [VideoFile(video_id=path.as_posix(), path=file, num_bytes=_size_of(file)) for file, path in ids.items()]
    if twice := [name for name, number in Counter(video.video_id for video in videos).items() if number > 1]:
        raise InputError(
            f"two of the named videos would both be called {twice[0]!r}; name the folder that holds both, or call the "
            "command once for each"
        )
    return sorted(videos, key=lambda video: video.video_id)


def _meant(name: Path) -> list[Path]:
    if name.exists():
        return [name]
    if any(character in str(name) for character in "*?["):
        matches = [Path(match) for match in sorted(glob.glob(str(name), recursive=True))]  # noqa: PTH207  # any root
        if matches:
            return matches
        raise InputError(f"nothing matches the pattern {name}; check the folder")
    raise InputError(f"there is no video or folder {name}; check the path")


def _videos_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and _is_file(path)
    )


def _is_file(path: Path) -> bool:
    """Also where a link leads nowhere, which opening it will tell."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def _absolute(path: Path) -> Path:
    """Without following links: a link to a video is called as the link is."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links


def _shared_folder(files: Sequence[Path]) -> Path:
    """The deepest folder that all files are in."""
    return Path(os.path.commonpath([file.parent for file in files])) if files else Path()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
