"""What people have said of the videos so far: which stretches are labelled, and which detections they have."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from re2tal.common.annotation_files import AnnotationFileError, read_annotation_file
from re2tal.common.labelled import Stretches, read_labelled
from re2tal.common.untrusted import shown
from re2tal.inference.suggesting.traces import VideoTrace

__all__ = ["by_video", "read_labelled_stretches", "with_detections"]

T = TypeVar("T")

_NO_END = 1e9
"""Seconds; where a file does not tell a length, stretches are cut to the video's own later."""


def read_labelled_stretches(path: Path) -> dict[str, Stretches | None]:
    """By video id, what an annotation file says that somebody has looked at; None: all of the video.

    Raises:
        AnnotationFileError: it cannot be read, or says so in no way that could be understood.
    """
    fix = "give the path of the labels to --annotations"
    file = read_annotation_file(path, needs_subsets=False, what="file of annotations", fix=fix)
    found: dict[str, Stretches | None] = {}
    for video_id, entry in file.database.items():
        try:
            duration = entry.get("duration")
            end = float(duration) if isinstance(duration, int | float) else _NO_END
            segments = [row["segment"] for row in entry.get("annotations", [])]
            found[video_id] = read_labelled(entry.get("labelled"), annotated=segments, duration=end)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise AnnotationFileError(
                f"{path}, video {shown(video_id)}: cannot tell what is labelled ({error}); correct the entry"
            ) from None
    return found


def by_video(video_ids: Sequence[str], said: Mapping[str, T]) -> dict[str, T]:
    """What a file says of each of the videos that it knows.

    A file may call a video by its path below another folder than the one that was named now: ids are the same if the
    one ends with the other, and no other id of the file does.
    """
    short: dict[str, list[str]] = {}
    for key in said:
        short.setdefault(_parts(key)[-1], []).append(key)
    found = {}
    for video_id in video_ids:
        if video_id in said:
            found[video_id] = said[video_id]
            continue
        alike = [key for key in short.get(_parts(video_id)[-1], []) if _ends_alike(video_id, key)]
        if len(alike) == 1 and alike[0] not in video_ids:
            found[video_id] = said[alike[0]]
    return found


def _parts(video_id: str) -> list[str]:
    """Folders and name; ActivityNet's annotations leave out the prefix v_ of its files."""
    *folders, name = video_id.split("/")
    return [*folders, name.removeprefix("v_")]


def _ends_alike(one: str, other: str) -> bool:
    """Whether one id is the other below a further folder."""
    length = min(len(_parts(one)), len(_parts(other)))
    return _parts(one)[-length:] == _parts(other)[-length:]


def with_detections(trace: VideoTrace, rows: np.ndarray) -> VideoTrace:
    """The trace with other detections: (N, 4) rows of start and end in seconds, score, class index."""
    return replace(
        trace,
        segments=rows[:, :2],
        scores=rows[:, 2].clip(0, 1).astype(np.float32),
        labels=rows[:, 3].astype(np.int64),
    )
