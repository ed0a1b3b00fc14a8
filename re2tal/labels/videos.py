"""The videos of a folder, found by whatever an annotation file calls them."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from re2tal.common.annotation_files import plain_ids
from re2tal.common.untrusted import is_text, some
from re2tal.common.video_files import SOUND_SUFFIXES, VIDEO_SUFFIXES, plain_name, videos_passed_over
from re2tal.labels.records import SourceError
from re2tal.video import VideoError, VideoInfo, probe

__all__ = ["VideoFolder", "common_pattern", "probe_all"]


class VideoFolder:
    """The video files below a folder, at any depth."""

    def __init__(self, root: Path, *, allow_links: bool = False) -> None:
        if not root.is_dir():
            raise SourceError(f"there is no folder {root}; give the folder of the videos with --videos")
        self.root = root
        self.linked: list[Path] = []
        """Links that lead out of the folder and are not followed, unless `allow_links` is set."""
        self.unnameable: list[Path] = []
        """Files whose names are no text in UTF-8, which annotations cannot hold."""
        self.files: tuple[PurePosixPath, ...] = tuple(sorted(self._walk(allow_links=allow_links)))
        """Paths relative to the folder."""
        if not self.files:
            links = f"; {len(self.linked)} links lead out of it, and --allow-links follows them" if self.linked else ""
            raise SourceError(f"{root} holds no video files; {videos_passed_over(root) or 'it is empty'}{links}")
        self._by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        for file in self.files:
            for name in {plain_name(file.name), plain_name(file.stem)}:
                self._by_name[name].append(file)

    def _walk(self, *, allow_links: bool) -> Iterator[PurePosixPath]:
        whole = self.root.resolve()

        def is_wanted(path: Path) -> bool:
            if path.name.startswith("."):
                return False
            if not path.is_symlink():
                return True
            target = path.resolve()
            if path.parent.resolve().is_relative_to(target):  # leads to a folder around it, and so on without end
                return False
            if allow_links or target.is_relative_to(whole):
                return True
            self.linked.append(path)
            return False

        for folder, folders, names in os.walk(self.root, followlinks=True):
            folders[:] = sorted(name for name in folders if is_wanted(Path(folder, name)))
            for name in sorted(names):
                path = Path(folder, name)
                if not name.lower().endswith(VIDEO_SUFFIXES) or not is_wanted(path):
                    continue
                if not is_text(str(path.relative_to(self.root))):
                    self.unnameable.append(path)
                else:
                    yield PurePosixPath(path.relative_to(self.root).as_posix())

    def matching(self, patterns: Sequence[str]) -> set[PurePosixPath]:
        """The files that `--empty` means, by patterns of their paths.

        Raises:
            SourceError: one means none.
        """
        found: set[PurePosixPath] = set()
        for pattern in patterns:
            meant = {file for file in self.files if fnmatchcase(str(file), pattern)}
            if not meant:
                there = some([str(file) for file in self.files])
                raise SourceError(f"--empty {pattern!r} is the path of no video below {self.root}; there are {there}")
            found |= meant
        return found

    def find(self, name: str, *, in_folder: bool = False) -> PurePosixPath | None:
        """The file that an annotation calls `name`: an id or a file name, with folders or without, or an address.

        The name must agree, with or without its ending; capitals and ways to write an accent need not. Of several
        files, those in the folders that `name` tells, and of the ending and the capitals that it has, are preferred.

        Args:
            name: see there.
            in_folder: whether a file in a folder of another name is not meant.

        Raises:
            SourceError: several files are meant equally.
        """
        parts = _parts(name)
        if not parts:
            return None
        last = plain_name(parts[-1])
        names = (last, _without_suffix(last), f"v_{_without_suffix(last)}")  # as ActivityNet's files are named
        candidates = next((self._by_name[known] for known in names if known in self._by_name), [])
        if in_folder:
            here = {plain_name(part) for part in parts[:-1]}
            candidates = [file for file in candidates if not here or len(file.parts) == 1 or here & _folders(file)]
        if len(candidates) < 2:
            return candidates[0] if candidates else None

        def agreement(file: PurePosixPath) -> tuple[int, bool, bool]:
            folders = 0
            for told, there in zip(reversed(parts[:-1]), reversed(file.parts[:-1]), strict=False):
                if plain_name(told) != plain_name(there):
                    break
                folders += 1
            is_whole = plain_name(file.name) == last
            return folders, is_whole, parts[-1] in (file.name, file.stem)

        best = max(map(agreement, candidates))
        chosen = [file for file in candidates if agreement(file) == best]
        if len(chosen) > 1:
            listed = " and ".join(str(self.root / file) for file in chosen[:3])
            raise SourceError(
                f"video {name!r} may be {listed}; write the folder or the ending into the annotations, such as "
                f"'{chosen[0]}', or give the folder of one of them with --videos"
            )
        return chosen[0]


def _parts(name: str) -> tuple[str, ...]:
    """Folders and name, whatever system they were written on; `%20` only in addresses."""
    text = unquote(name.split("://", 1)[1]) if "://" in name else name.removeprefix("file:")
    return tuple(part for part in text.strip().replace("\\", "/").split("/") if part not in ("", ".", ".."))


def _folders(file: PurePosixPath) -> set[str]:
    return {plain_name(part) for part in file.parts[:-1]}


def _without_suffix(name: str) -> str:
    """A file of sound that is linked beside a video is called like it."""
    suffixes = (*VIDEO_SUFFIXES, *SOUND_SUFFIXES)
    return next((name.removesuffix(suffix) for suffix in suffixes if name.endswith(suffix)), name)


def common_pattern(files: Sequence[PurePosixPath]) -> tuple[str, dict[PurePosixPath, str]]:
    """How `DataConfig.video_pattern` leads from ids to files, and the ids.

    Ids are paths without the ending if all files have the same, else with it; and as the reader of annotations knows
    ids of YouTube with a prefix, without that.
    """
    suffixes = {file.suffix for file in files}
    suffix = suffixes.pop() if len(suffixes) == 1 else ""
    ids = {file: str(file).removesuffix(suffix) for file in files}
    plain = plain_ids({name: None for name in ids.values()})
    if ids and not plain.keys() & set(ids.values()):
        return "v_{id}" + suffix, {file: name.removeprefix("v_") for file, name in ids.items()}
    return "{id}" + suffix, ids


def lengths_in(root: Path | None, *, allow_links: bool = False) -> Callable[[str], float | None]:
    """Seconds of the videos below a folder, by what labels call them; they are looked for when they are asked for.

    Without a folder, none is known.
    """

    @cache
    def folder() -> VideoFolder:
        if root is None:
            raise SourceError("the videos are not at hand")
        return VideoFolder(root, allow_links=allow_links)

    @cache
    def length_of(name: str) -> float | None:
        try:
            file = folder().find(name)
        except SourceError:  # which the import tells
            return None
        info = None if file is None else _probe(folder().root / file)
        return info.duration_seconds if isinstance(info, VideoInfo) else None

    return length_of


def probe_all(
    root: Path, files: Sequence[PurePosixPath], *, tell: Callable[[int, int], None]
) -> dict[PurePosixPath, VideoInfo | str]:
    """Length, rate and size of every file; where it cannot be read, why."""
    found: dict[PurePosixPath, VideoInfo | str] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # FFmpeg reads outside of Python's lock
        waiting = {pool.submit(_probe, root / file): file for file in files}
        try:
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                tell(len(found), len(files))
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def _probe(path: Path) -> VideoInfo | str:
    try:
        return probe(path)
    except (VideoError, OSError) as error:
        return str(error)
    except Exception as error:  # a file may hold anything, and one must not stop the others
        return f"{path}: {type(error).__name__}: {error}"
