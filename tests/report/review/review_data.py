"""Videos, detections and annotations for the tests of the review, and edits as the page sends them."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.report.review import Journal, ReviewSession, read_material
from re2tal.video import write_video

FPS, SECONDS = 10, 20
_keys = itertools.count()


def write_clip(path: Path, *, seconds: int = SECONDS, fps: int = FPS) -> Path:
    """A small video whose frames get brighter."""
    count = seconds * fps
    frames = np.broadcast_to(np.linspace(0, 250, count, dtype=np.uint8)[:, None, None, None], (count, 32, 32, 3))
    write_video(path, frames, fps=fps)
    return path


def write_found(path: Path, videos: Mapping[str, list[tuple[float, float, str, float]]]) -> Path:
    """Detections."""
    results = {
        name: [{"segment": [start, end], "label": label, "score": score} for start, end, label, score in rows]
        for name, rows in videos.items()
    }
    path.write_text(json.dumps({"results": results}))
    return path


def write_labels(path: Path, database: Mapping[str, Any], **about: Any) -> Path:
    """Annotations."""
    path.write_text(json.dumps({**about, "database": database}))
    return path


def session_of(
    files: Mapping[str, Path], *, out: Path, annotations: Path | None = None, **sources: Any
) -> ReviewSession:
    """A review without a server."""
    material = read_material(files, annotations=annotations, **{"detections": None, **sources})
    journal = Journal(out.with_name(f"{out.stem}.journal.jsonl"), inputs=material.inputs)
    return ReviewSession(material, journal, annotations=annotations, out=out)


def edit(
    session: ReviewSession, video: str, changes: Mapping[str, Any] | None = None, *, looks: Any = (), key: str = ""
) -> dict[str, Any]:
    """An edit from what the session knows now; `changes` replaces fields of segments, None removes one."""
    segments = session.state_of(video).segments
    listed = []
    for name, fields in (changes or {}).items():
        content = segments.get(name)
        value = {} if content is None or content.value is None else content.value.model_dump(exclude_none=True)
        base = "" if content is None else content.revision
        listed.append({"id": name, "base": base, "value": None if fields is None else {**value, **fields}})
    told = [{"start": start, "end": end, "looked": looked} for start, end, looked in looks]
    return {"key": key or f"key-{next(_keys):06d}", "video": video, "changes": listed, "looks": told}


def database_of(path: Path) -> dict[str, Any]:
    """The entries of an annotation file."""
    database: dict[str, Any] = json.loads(path.read_text())["database"]
    return database
