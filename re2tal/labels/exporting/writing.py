"""From labels to the files of other programs."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from re2tal.common.atomic import atomic_text
from re2tal.common.extension import ExtensionError, load_object
from re2tal.common.untrusted import UnsafeNameError, path_inside, shown, some
from re2tal.labels.exporting.content import ExportContent, ExportError, ExportNotes, ExportOptions, ExportVideo
from re2tal.labels.exporting.media import videos_of
from re2tal.labels.exporting.source import read_export_source
from re2tal.labels.exporting.writers import WRITERS, LabelWriter

__all__ = ["ExportReport", "export_labels", "find_writer"]

_SUFFIXES = (".boris", ".eaf", ".json", ".txt", ".srt", ".vtt", ".TextGrid", ".csv")
"""What looks like the name of a file rather than of a folder."""


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written."""

    files: tuple[Path, ...]
    num_videos: int
    num_labels: int
    num_below: int
    """Left out for their score."""
    min_score: float
    best_score: float | None
    """Of all detections."""
    skipped: Mapping[str, str]
    """Videos that could not be written, and why."""
    notes: ExportNotes

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "files": list(map(str, self.files)),
            "num_videos": self.num_videos,
            "num_labels": self.num_labels,
            "num_below_min_score": self.num_below,
            "min_score": self.min_score,
            "skipped": dict(self.skipped),
            "notes": self.notes.as_json(),
        }


def find_writer(name: str) -> LabelWriter:
    """The writer of a format: one of `WRITERS`, or the source of one's own, "path/to/file.py:Name".

    Raises:
        ExportError: there is no such format, or what the source names is no writer.
    """
    if name in WRITERS:
        return WRITERS[name]
    if ".py:" not in name:
        raise ExportError(
            f"there is no format {shown(name)}; known are {', '.join(WRITERS)}, or a format of your own as "
            "path/to/file.py:Name"
        )
    try:
        named = load_object(name)
        writer: LabelWriter = named() if isinstance(named, type) else named
    except (ExtensionError, TypeError) as error:
        raise ExportError(f"--format {shown(name)}: {error}") from None
    if not all(callable(getattr(writer, method, None)) for method in ("file_of", "texts")):
        raise ExportError(f"{name} must have the methods file_of and texts of LabelWriter, got {named!r:.100}")
    return writer


def export_labels(
    source: Path, *, format_: str, out: Path, options: ExportOptions, tell: Callable[[int, int], None]
) -> ExportReport:
    """Write the labels of a file in another format. Nothing is written unless everything can be.

    Args:
        source: detections or annotations, see `read_export_source`.
        format_: see `find_writer`.
        out: a folder; or the file, if it has the ending of the format and one file is all there is to write.
        options: see there.
        tell: is told how many videos of how many have been looked at.

    Raises:
        ExportError: the source or the format cannot be used, or files are there already.
        SourceError: there is no folder of videos.
    """
    writer, notes = find_writer(format_), ExportNotes()
    read = read_export_source(source, min_score=options.min_score, notes=notes)
    videos, folder = videos_of(read, options, tell=tell, notes=notes)
    targets, skipped = _targets(writer, videos, out=out)
    texts: dict[Path, str] = {}
    for path, group in targets.items():
        content = ExportContent(
            videos=group,
            class_names=read.class_names,
            changed=read.changed,
            folder=folder,
            point=options.point,
            notes=notes,
        )
        texts |= writer.texts(content, path)
    written = [video for group in targets.values() for video in group]
    _write(texts, overwrite=options.overwrite)
    return ExportReport(
        files=tuple(texts),
        num_videos=len(written),
        num_labels=sum(len(video.items) for video in written),
        num_below=read.num_below,
        min_score=options.min_score,
        best_score=read.best_score,
        skipped=skipped,
        notes=notes,
    )


def _targets(
    writer: LabelWriter, videos: Sequence[ExportVideo], *, out: Path
) -> tuple[dict[Path, list[ExportVideo]], dict[str, str]]:
    """The videos of each file, and those whose id cannot be the name of one."""
    named: dict[str, list[ExportVideo]] = defaultdict(list)
    for video in videos:
        named[writer.file_of(video)].append(video)
    suffix = Path(writer.file_of(ExportVideo(video_id="video", items=()))).suffix
    if out.suffix.lower() == suffix.lower() and not out.is_dir():
        if len(named) > 1:
            raise ExportError(
                f"{out} is one file, and the labels make {len(named)}, such as {shown(next(iter(named)))}; give a "
                "folder with --out"
            )
        return {out: list(videos)}, {}
    if not out.is_dir() and (out.exists() or out.suffix in _SUFFIXES):
        raise ExportError(
            f"a file of the format ends with {suffix}, got {out}; give another name, or a folder, with --out"
        )
    targets: dict[Path, list[ExportVideo]] = {}
    skipped: dict[str, str] = {}
    for name, group in named.items():
        try:
            path = path_inside(out, name)
            if path in targets:
                raise UnsafeNameError(f"{shown(name)} is the file of video {shown(targets[path][0].video_id)}, too")
            targets[path] = group
        except UnsafeNameError as error:
            skipped |= {video.video_id: str(error) for video in group}
    if not targets:
        raise ExportError(f"no file can be written: {next(iter(skipped.values()))}")
    return targets, skipped


def _write(texts: Mapping[Path, str], *, overwrite: bool) -> None:
    changed = {path: text for path, text in texts.items() if not _is_there(path, text)}
    there = [str(path) for path in changed if path.exists()]
    if there and not overwrite:
        raise ExportError(
            f"{len(there)} files are there already with other content ({some(there)}); give another --out, or "
            "--overwrite if nothing in them is needed"
        )
    for path, text in changed.items():
        with atomic_text(path) as file:
            file.write(text)


def _is_there(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode("utf-8", "backslashreplace")
    except OSError:
        return False
