"""Reading what is to be exported: detections, or annotations of any layout that the package knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeGuard

from re2tal.common.annotation_files import AnnotationFileError, read_annotation_file, read_json
from re2tal.common.untrusted import is_number, shown
from re2tal.labels.exporting.content import ExportError, ExportItem, ExportNotes, distinct, plain

__all__ = ["ExportSource", "Listed", "read_export_source"]

_LONGEST_SECONDS = 4e6
"""46 days. ELAN's times end soon after, and what is longer is a fault."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A video as a file lists it."""

    items: tuple[ExportItem, ...]
    duration_seconds: float | None
    fps: float | None


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """What a file holds."""

    videos: Mapping[str, Listed]
    """By id."""
    class_names: tuple[str, ...]
    changed: datetime
    are_detections: bool
    """And not annotations."""
    num_below: int
    """Detections that were left out for their score."""
    best_score: float | None
    """Of all detections; None if there are none."""
    folder: Path | None
    """Of the videos, if the file tells it."""
    video_pattern: str | None
    """From ids to files in that folder."""


def read_export_source(path: Path, *, min_score: float, notes: ExportNotes) -> ExportSource:
    """Read the labels of all videos; an entry that cannot be used is noted and left out.

    What somebody has annotated is kept whatever its score.

    Args:
        path: detections as `re2tal predict` and `test` write them ({"results": {id: [row]}}), or annotations.
        min_score: detections below it are left out.
        notes: takes what is left out or changed.

    Raises:
        ExportError: the file is absent, unreadable or holds no videos.
    """
    rows_of, entries, about = _read(path)
    if not rows_of:
        raise ExportError(f"{path} lists no videos; give detections of re2tal predict, or annotations")
    rows = {name: _usable_rows(listed, video_id=name, notes=notes) for name, listed in rows_of.items()}
    names = distinct(sorted({row["label"] for listed in rows.values() for row in listed}), _clean)
    for label, name in names.items():
        if label != name:
            notes.add("labels had characters that files of text cannot hold", f"{shown(label)} as {shown(name)}")
    items = {name: [_item(row, names=names) for row in listed] for name, listed in rows.items()}
    every = [item for listed in items.values() for item in listed]
    are_detections = "results" in about
    kept = {
        name: [item for item in listed if not are_detections or item.score is None or item.score >= min_score]
        for name, listed in items.items()
    }
    told, pattern = about.get("videos"), about.get("video_pattern")
    return ExportSource(
        videos={
            name: Listed(
                items=tuple(sorted(kept[name])),
                duration_seconds=_positive(entries.get(name), "duration"),
                fps=_positive(entries.get(name), "fps"),
            )
            for name in rows_of
        },
        class_names=tuple(sorted(names.values())),
        changed=datetime.fromtimestamp(int(path.stat().st_mtime), UTC),
        are_detections=are_detections,
        num_below=len(every) - sum(map(len, kept.values())),
        best_score=max((item.score for item in every if item.score is not None), default=None),
        folder=path.parent / told if isinstance(told, str) else None,
        video_pattern=pattern if isinstance(pattern, str) else None,
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Rows by video, entries by video if the file has any, and what it says of itself."""
    fix = "give detections.json of re2tal predict, or a file of annotations"
    try:
        content = None if path.is_dir() or path.suffix == ".zip" else read_json(path, what="labels", fix=fix)
        if isinstance(content, dict) and isinstance(content.get("results"), dict):
            return content["results"], {}, content
        entries = read_annotation_file(path, what="labels", fix=fix).database
    except AnnotationFileError as error:
        raise ExportError(f'{error}. Detections have a key "results"') from None
    rows = {name: entry.get("annotations") if isinstance(entry, dict) else entry for name, entry in entries.items()}
    return rows, entries, content if isinstance(content, dict) else {}


def _usable_rows(listed: Any, *, video_id: str, notes: ExportNotes) -> list[dict[str, Any]]:
    if not isinstance(listed, list):
        notes.add("videos without a list of labels, which are exported without any", shown(video_id))
        return []
    usable = []
    for row in listed:
        if (fault := _fault(row)) is not None:
            notes.add(f"left out: {fault}", f"video {shown(video_id)}: {shown(row)}")
        else:
            usable.append(row)
    return usable


def _fault(row: Any) -> str | None:
    segment = row.get("segment") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(row.get("label"), str):
        return "entries without a label"
    if not isinstance(segment, list) or len(segment) != 2 or not all(map(_is_number, segment)):
        return "entries whose segment is not [start, end] in seconds"
    return "entries that end before they start" if segment[0] > segment[1] else None


def _is_number(value: Any) -> TypeGuard[float]:
    return is_number(value) and abs(value) < _LONGEST_SECONDS


def _clean(label: str) -> str:
    return plain(label) or "unlabelled"


def _item(row: Mapping[str, Any], *, names: Mapping[str, str]) -> ExportItem:
    start, end = (round(1000 * seconds) for seconds in row["segment"])
    score, annotator = row.get("score"), row.get("annotator")
    return ExportItem(
        start_ms=start,
        end_ms=end,
        label=names[row["label"]],
        score=float(score) if _is_number(score) else None,
        annotator=plain(annotator) or None if isinstance(annotator, str) else None,
    )


def _positive(entry: Any, name: str) -> float | None:
    value = entry.get(name) if isinstance(entry, dict) else None
    return float(value) if _is_number(value) and value > 0 else None
