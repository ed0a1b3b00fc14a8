"""Tasks of Label Studio, with detections as predictions and annotations as annotations.

Layout (labelstud.io/tags/timelinelabels, /guide/predictions): a region of TimelineLabels has one range of frames, which
count from 1, both ends included, at the rate that the Video tag is told. Its older template for times, an Audio tag in
step with the video, has seconds, but shows no video without sound. The labelling interface that the tasks fit is
written beside them. Files of the disk are reached below the folder that Label Studio was started with
(LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from re2tal.common.untrusted import shown
from re2tal.labels.exporting.colours import colour
from re2tal.labels.exporting.content import ExportContent, ExportError, ExportItem, ExportVideo

__all__ = ["LabelStudioTasks"]

_CONTROL, _VIDEO = "label", "video"
_MODEL = "re2tal"
_LOCAL_FILES = "/data/local-files/?d="


class LabelStudioTasks:
    """All videos in one file, and the labelling interface."""

    def file_of(self, video: ExportVideo) -> str:
        """One for all."""
        return "tasks.json"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """The tasks and the interface."""
        tasks = [_task(video, content) for video in content.videos]
        return {
            path: json.dumps(tasks, ensure_ascii=False, indent=1) + "\n",
            path.with_suffix(".xml"): _interface(content.class_names),
        }


def _interface(class_names: Iterable[str]) -> str:
    view = Element("View")
    SubElement(view, "Video", name=_VIDEO, value="$video", frameRate="$fps", timelineHeight="200")
    labels = SubElement(view, "TimelineLabels", name=_CONTROL, toName=_VIDEO)
    for number, label in enumerate(class_names):
        SubElement(labels, "Label", value=label, background=colour(number))
    ElementTree.indent(view)
    return ElementTree.tostring(view, "unicode") + "\n"


def _task(video: ExportVideo, content: ExportContent) -> dict[str, Any]:
    task: dict[str, Any] = {"data": {"video": _address(video, content), "id": video.video_id}}
    if video.fps is None:
        if not video.items:
            return task
        raise ExportError(
            f"Label Studio counts frames, and the rate of video {shown(video.video_id)} is not known; give the folder "
            "of the videos with --videos, or their rate with --fps"
        )
    task["data"]["fps"] = video.fps
    by_annotator: dict[str | None, list[ExportItem]] = defaultdict(list)
    for item in video.items:
        by_annotator[item.annotator].append(item)
    sets = [{"result": _regions(items, video)} for items in by_annotator.values()]
    if video.is_detected:
        scores = [item.score for item in video.items if item.score is not None]
        about = {"model_version": _MODEL, "score": round(sum(scores) / max(len(scores), 1), 4)}
        task["predictions"] = [{**about, **each} for each in sets]
    else:
        task["annotations"] = sets
    if any(round(item.start_ms * video.fps / 1000) * 1000 != item.start_ms * video.fps for item in video.items):
        content.notes.add("videos whose times were rounded to frames, which Label Studio counts", shown(video.video_id))
    return task


def _address(video: ExportVideo, content: ExportContent) -> str:
    if video.path is None:
        return _LOCAL_FILES + quote(video.file_name)
    root = content.folder
    below = video.path.relative_to(root) if root and video.path.is_relative_to(root) else Path(video.path.name)
    return _LOCAL_FILES + quote(below.as_posix())


def _regions(items: Iterable[ExportItem], video: ExportVideo) -> list[dict[str, Any]]:
    assert video.fps is not None
    regions = []
    for number, item in enumerate(items, start=1):
        first = round(item.start_ms * video.fps / 1000) + 1
        last = max(round(item.end_ms * video.fps / 1000), first)
        region: dict[str, Any] = {
            "id": f"re2tal{number}",
            "from_name": _CONTROL,
            "to_name": _VIDEO,
            "type": "timelinelabels",
            "origin": "prediction" if video.is_detected else "manual",
            "value": {"ranges": [{"start": first, "end": last}], "timelinelabels": [item.label]},
        }
        if item.score is not None:
            region["score"] = round(item.score, 4)
        if item.annotator is not None:
            region["meta"] = {"text": [f"annotator {item.annotator}"]}
        regions.append(region)
    return regions
