"""From the state of a review to an annotation file: entries of ActivityNet's layout, with who decided and when.

Only what is kept becomes an annotation. `labelled` tells the stretches that somebody has looked at: those that were
marked, and those of every segment that was decided on, rejected ones included, since what is known to be empty is
worth as much as what is known to be an action. Where the whole video has been looked at, the key is absent, as in files
that do not know it.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from re2tal.common.annotation_files import annotation_lines
from re2tal.common.atomic import atomic_text
from re2tal.report.review.material import Material
from re2tal.report.review.ranges import inside
from re2tal.report.review.state import FAR, ReviewSegment, VideoState, looked_at
from re2tal.video import PlaybackInfo

__all__ = ["about_file", "entry_of", "write_corrected"]

_DIGITS = 6
_ROUNDING_SECONDS = 0.01
"""As the reader of annotations has it."""
_NEW_SUBSET = "training"


def write_corrected(path: Path, *, about: Mapping[str, Any], database: Mapping[str, Any]) -> None:
    """Write the annotation file, whole or not at all."""
    with atomic_text(path) as file:
        file.writelines(annotation_lines(about, database))


def about_file(material: Material, *, annotations: Path | None, out: Path) -> dict[str, Any]:
    """What the file says beside its entries: as the input's, with the folder of the videos relative to `out`."""
    if annotations is not None and material.about:
        about = dict(material.about)
        if isinstance(about.get("videos"), str):
            about["videos"] = _relative((annotations.parent / about["videos"]).resolve(), out)
        return about
    paths = list(material.files.values())
    about = {"version": "re2tal 1", "videos": _relative(Path(os.path.commonpath([path.parent for path in paths])), out)}
    suffixes = {path.suffix for path in paths}
    folder = (out.parent / about["videos"]).resolve()
    for pattern in [f"{{id}}{suffix}" for suffix in ["", *sorted(suffixes)]]:
        if all((folder / pattern.replace("{id}", name)) == path.resolve() for name, path in material.files.items()):
            return {**about, "video_pattern": pattern}
    return about


def _relative(folder: Path, out: Path) -> str:
    try:
        return PurePath(os.path.relpath(folder, out.parent.resolve())).as_posix()
    except ValueError:  # another drive
        return str(folder)


def entry_of(state: VideoState, *, entry: Mapping[str, Any] | None, info: PlaybackInfo | None) -> dict[str, Any]:
    """The entry of a video that somebody has worked on.

    Args:
        state: after all edits.
        entry: of the input; None: the input has none, and the video goes into the subset "training".
        info: of the file; None: it cannot be read.
    """
    rows = entry["annotations"] if entry is not None else []
    told = {} if entry is None else dict(entry)
    known = told.get("duration") or (info and info.duration_seconds)
    values = [content.value for content in state.segments.values() if content.value is not None]
    annotations = [_annotation(value, rows, seconds=known or FAR) for value in values if value.status == "kept"]
    # What the input holds and no review can show, such as a segment that ends before it starts, stays.
    annotations += [row for place, row in enumerate(rows) if f"a{place}" not in state.segments]
    annotations.sort(key=lambda row: (*row["segment"], row["label"]))
    seconds = float(known or max((row["segment"][1] for row in annotations), default=0.0))
    if entry is None:
        told = {"subset": _NEW_SUBSET}
    told.setdefault("duration", round(seconds, _DIGITS))
    if entry is None and info is not None:
        told["fps"] = round(info.fps, _DIGITS)
    looked = inside(looked_at(state), 0.0, seconds)
    is_whole = any(start <= 0 and end >= seconds - _ROUNDING_SECONDS for start, end in looked)
    if is_whole and told.get("labelled") is None:
        return {**told, "annotations": annotations}
    ranges = [[round(start, _DIGITS), round(end, _DIGITS)] for start, end in looked]
    return {**told, "labelled": ranges, "annotations": annotations}


def _annotation(value: ReviewSegment, rows: list[dict[str, Any]], *, seconds: float) -> dict[str, Any]:
    """The row of a segment."""
    source = {} if value.source is None else rows[int(value.source[1:])]
    # Detections may reach past the end by a fraction of a step; what people annotated stays as it is.
    end = value.end if value.edited is None else max(min(value.end, seconds), value.start)
    row = {**source, "segment": [round(value.start, _DIGITS), round(end, _DIGITS)], "label": value.label}
    for name in ("score", "annotator", "edited"):
        row.pop(name, None)
        if getattr(value, name) is not None:
            row[name] = getattr(value, name)
    return row
