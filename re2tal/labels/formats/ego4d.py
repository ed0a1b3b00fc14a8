"""Ego4D's moment queries: moments_train.json, moments_val.json and moments_test_unannotated.json.

Layout (ego4d-data.org/docs/data/annotations-schemas): {"videos": [{"video_uid", "split", "clips": [{"clip_uid",
"video_start_sec", "video_end_sec", "video_start_frame", "video_end_frame", "annotations": [{"annotator_uid", "labels":
[{"label", "primary", "video_start_time", "video_end_time"}]}]}]}]}. Times are seconds of the whole video. The clip is
what is annotated and searched, so that it is the video here; only labels of primary categories are queried for.
"""

from typing import Any

from re2tal.common.untrusted import shown
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Media, Reading, ReadOptions
from re2tal.labels.subsets import subset_name
from re2tal.labels.times import number_of

__all__ = ["is_ego4d", "read_ego4d"]

_RATES = (10, 100)
"""Frames per second; published detectors leave out the few clips whose frames and seconds do not agree."""


def is_ego4d(content: Any) -> bool:
    """Whether a JSON value is of this layout."""
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, list) or not videos:
        return False
    return all(isinstance(video, dict) and isinstance(video.get("clips"), list) for video in videos)


def read_ego4d(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels of all annotators together."""
    reading = Reading(path=file.path, format="ego4d")
    for video in file.json["videos"]:
        split = video.get("split")
        subset = subset_name(split) if isinstance(split, str) else None
        for clip in video["clips"]:
            _read_clip(clip, subset=subset, reading=reading)
    return reading


def _read_clip(clip: Any, *, subset: str | None, reading: Reading) -> None:
    name = clip.get("clip_uid") if isinstance(clip, dict) else None
    where = f"{reading.path}, clip {shown(name)}"
    start, end = _number(clip, "video_start_sec"), _number(clip, "video_end_sec")
    if not isinstance(name, str) or start is None or end is None or end <= max(start, 0.0):
        reading.drop("incomplete entry", where, f"a clip has a clip_uid, video_start_sec and _end_sec: {shown(clip)}")
        return
    start = max(start, 0.0)
    first, last = _number(clip, "video_start_frame"), _number(clip, "video_end_frame")
    rate = None if first is None or last is None else (last - max(first, 0.0)) / (end - start)
    if rate is not None and not _RATES[0] <= rate <= _RATES[1]:
        reading.drop("incomplete entry", where, f"its frames and seconds make {rate:.4g} frames per second; left out")
        return
    reading.tell_length(name, end - start, fps=rate)
    annotators = clip.get("annotations", [])
    if annotators or subset is None or subset == "testing":
        reading.listed[name] = subset
    for annotator in annotators if isinstance(annotators, list) else []:
        labels = annotator.get("labels") if isinstance(annotator, dict) else None
        for row in labels if isinstance(labels, list) else []:
            _read_label(row, annotator, start=start, name=name, where=where, subset=subset, reading=reading)


def _read_label(
    row: Any, annotator: Any, *, start: float, name: str, where: str, subset: str | None, reading: Reading
) -> None:
    if not isinstance(row, dict) or not row.get("primary"):
        return
    times = _number(row, "video_start_time"), _number(row, "video_end_time")
    if times[0] is None or times[1] is None or not isinstance(row.get("label"), str):
        reading.drop("incomplete entry", where, f"a label has video_start_time and video_end_time: {shown(row)}")
        return
    fields = {"label": row["label"], "annotator": str(annotator.get("annotator_uid", ""))}
    reading.add(where, (Media(name=name),), (times[0] - start, times[1] - start), fields, subset=subset)


def _number(row: Any, key: str) -> float | None:
    return number_of(row.get(key)) if isinstance(row, dict) else None
