"""Detections as a file in the layout of ActivityNet's evaluation server."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from re2tal.common.atomic import atomic_text
from re2tal.common.types import Detections

__all__ = ["rows_of", "write_detections", "write_rows", "writing_rows"]


def write_detections(path: Path, *, detections: Iterable[Detections], class_names: Sequence[str]) -> None:
    """Write detections of several videos, all or nothing: an interrupted write leaves the old file.

    Args:
        path: of the JSON file; its folder is made if need be.
        detections: one per video.
        class_names: the name of label 0, 1, ...
    """
    write_rows(path, ((video.video_id, rows_of(video, class_names=class_names)) for video in detections))


def write_rows(path: Path, videos: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]) -> None:
    """Write the rows (see `rows_of`) of several videos, as `write_detections`; one video is in memory at a time."""
    with writing_rows(path) as write:
        for video_id, rows in videos:
            write(video_id, rows)


@contextmanager
def writing_rows(path: Path) -> Iterator[Callable[[str, Sequence[Mapping[str, Any]]], None]]:
    """Write one video after the other: gives a function that takes its id and rows."""
    known: set[str] = set()

    def write(video_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if video_id in known:
            raise ValueError(
                f"each video may come once, got {video_id!r} twice; merge its windows first (merge_windows)"
            )
        file.write(f"{', ' if known else ''}{json.dumps(video_id)}: {json.dumps(rows, allow_nan=False)}")
        known.add(video_id)

    with atomic_text(path) as file:
        file.write('{"version": "ActivityNet-1.3", "results": {')
        yield write
        file.write('}, "external_data": {}}')


def rows_of(video: Detections, *, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Detections as rows of a submission: {"segment": [start, end] in seconds, "label", "score"}."""
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
