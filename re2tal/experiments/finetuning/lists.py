"""Which trimmed videos there are, and of which class each is."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from re2tal.common.untrusted import some
from re2tal.common.video_files import VIDEO_SUFFIXES, videos_passed_over
from re2tal.experiments.finetuning.config import ClipSource

__all__ = ["ClipList", "ClipListError", "TrimmedVideo", "list_clips"]

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


class ClipListError(ValueError):
    """Videos or a list of them that cannot be used, and why."""


@dataclass(frozen=True, kw_only=True)
class TrimmedVideo:
    """A file, its class, and what the list says of its time."""

    path: Path
    label: str
    seconds: tuple[float, float] | None = None
    """From where to where the class is shown in the video that the file was, or still is, part of."""


@dataclass(frozen=True, kw_only=True)
class ClipList:
    """The videos of one source."""

    videos: tuple[TrimmedVideo, ...]
    absent: tuple[str, ...]
    """Listed files that are not there."""
    passed_over: str = ""
    """What lies in the folders of the classes and is taken for no video, in words."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted({video.label for video in self.videos}))

    def require_classes(self, known: Sequence[str], *, source: ClipSource) -> None:
        """Refuse labels that the network was not built for."""
        if unknown := sorted(set(self.class_names) - set(known)):
            raise ClipListError(
                f"{_of(source)} has classes that the training videos do not have: {some(unknown)}; "
                "name classes alike in data.train and data.test"
            )


def list_clips(source: ClipSource) -> ClipList:
    """The videos of `source`.

    Raises:
        ClipListError: there are none, or the list cannot be read; says where and what to do.
    """
    if not source.videos.is_dir():
        raise ClipListError(f"there is no folder {source.videos}; set videos to the folder of the video files")
    found = _in_folders(source.videos) if source.labels is None else _listed(source.labels, source)
    if not found.videos:
        hint = f"; none of {len(found.absent)} listed files is there, such as {found.absent[0]}" if found.absent else ""
        raise ClipListError(
            f"{_of(source)} has no video{hint}; put videos into a folder for each class, or give their list as labels"
        )
    return found


def _of(source: ClipSource) -> str:
    return str(source.labels or source.videos) + ("" if source.split is None else f", split {source.split!r},")


def _in_folders(folder: Path) -> ClipList:
    videos = tuple(
        TrimmedVideo(path=path, label=inside.name)
        for inside in sorted(folder.iterdir())
        if inside.is_dir()
        for path in sorted(inside.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES
    )
    taken = {video.path for video in videos}
    return ClipList(videos=videos, absent=(), passed_over=videos_passed_over(folder, taken=taken))


def _listed(path: Path, source: ClipSource) -> ClipList:
    videos, absent = [], []
    for label, video_id, seconds in _rows(path, source.split):
        name = f"{video_id}_{round(seconds[0]):06d}_{round(seconds[1]):06d}.mp4"
        places = [source.videos / part / file for file in (name, f"{video_id}.mp4") for part in ("", label)]
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            absent.append(name)
        else:
            videos.append(TrimmedVideo(path=file, label=label, seconds=seconds))
    return ClipList(videos=tuple(videos), absent=tuple(absent))


def _rows(path: Path, split: str | None) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """Label, id, and seconds of the rows of a split."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [*_COLUMNS, *([] if split is None else ["split"])]
            if lacking := [column for column in columns if column not in (reader.fieldnames or ())]:
                raise ClipListError(
                    f"{path} lacks the column {lacking[0]!r}, it has {some(reader.fieldnames or ()) or 'none'}; "
                    f"a list of Kinetics has {', '.join((*_COLUMNS, 'split'))}"
                )
            for row in reader:
                if split is None or row["split"] == split:
                    yield _row(row, f"{path}, line {reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ClipListError(f"the list {path} cannot be read: {error}; give a CSV of Kinetics' layout") from error


def _row(row: Mapping[str, str | None], where: str) -> tuple[str, str, tuple[float, float]]:
    label, video_id, start, end = ((row[column] or "").strip() for column in _COLUMNS)
    try:
        seconds = float(start), float(end)
    except ValueError:
        seconds = (0.0, 0.0)
    if not 0 <= seconds[0] < seconds[1] < 1e6:
        raise ClipListError(
            f"{where}: time_start and time_end must be seconds, the first below the second, got {start!r} and {end!r}"
        )
    # They become parts of paths.
    if not label or not video_id or any(mark in name for name in (label, video_id) for mark in ("/", "\\", "\0")):
        raise ClipListError(f"{where}: label and youtube_id must be names without slashes, got {label!r}, {video_id!r}")
    return label, video_id, seconds
