"""Detections, ours or those of any program that writes ActivityNet's submissions, as labels.

Layout (activity-net.org/challenges/2020/tasks/guidelines.html): {"version", "results": {id: [{"segment": [start, end],
"label", "score"}]}, "external_data"}; `re2tal.detections.files` writes it. `re2tal predict` also writes one file for
each video, of the same layout.
"""

from typing import Any

from re2tal.labels.formats.published import add_segment
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Reading, ReadOptions

__all__ = ["is_detections", "read_detections"]


def is_detections(content: Any) -> bool:
    """Whether a JSON value holds detections."""
    results = content.get("results") if isinstance(content, dict) else None
    return isinstance(results, dict) and bool(results) and all(isinstance(rows, list) for rows in results.values())


def read_detections(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are those of the detections; fields are label and score, below which `--min-score` leaves them out."""
    reading = Reading(path=file.path, format="detections", is_detected=True)
    for video_id, rows in file.json["results"].items():
        reading.listed[video_id] = None
        for number, row in enumerate(rows):
            where = f"{file.path}, video {video_id!r}, detection {number}"
            add_segment(reading, where, video_id, row)
    return reading
