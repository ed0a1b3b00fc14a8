"""Detections as a file in the layout of ActivityNet's evaluation server."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from re2tal.types import Detections

__all__ = ["write_detections"]


def write_detections(path: Path, *, detections: Iterable[Detections], class_names: Sequence[str]) -> None:
    """Write detections of several videos, all or nothing: an interrupted write leaves the old file.

    Args:
        path: of the JSON file; its folder is made if need be.
        detections: one per video.
        class_names: the name of label 0, 1, ...
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for video in detections:
        if video.video_id in results:
            raise ValueError(
                f"each video may come once, got {video.video_id!r} twice; merge its windows first (merge_windows)"
            )
        results[video.video_id] = _entries(video, class_names=class_names)
    content = json.dumps({"version": "ActivityNet-1.3", "results": results, "external_data": {}}, allow_nan=False)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(content, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _entries(video: Detections, *, class_names: Sequence[str]) -> list[dict[str, Any]]:
    if not (video.segments.isfinite().all() and video.scores.isfinite().all()):
        raise ValueError(
            f"segments and scores must be finite, got NaN or infinity in video {video.video_id!r}; "
            "the network's weights are probably broken: test an earlier checkpoint"
        )
    largest = int(video.labels.max()) if len(video.labels) else -1
    if largest >= len(class_names):
        raise ValueError(
            f"labels must be below the number of class names, got label {largest} in video {video.video_id!r} "
            f"with {len(class_names)} names; pass the class list that the network was trained on"
        )
    return [
        {"segment": segment, "label": class_names[label], "score": score}
        for segment, score, label in zip(
            video.segments.tolist(), video.scores.tolist(), video.labels.tolist(), strict=True
        )
    ]
