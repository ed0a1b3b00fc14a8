"""Detections, ours or those of any program that writes ActivityNet's submissions, as labels.

Layout (activity-net.org/challenges/2020/tasks/guidelines.html): {"version", "results": {id: [{"segment": [start, end],
"label", "score"}]}, "external_data"}; `re2tal.detections.files` writes it. `re2tal predict` also writes one file for
each video, of the same layout.
"""

from pathlib import Path
from typing import Any

from re2tal.common.untrusted import shown
from re2tal.labels.formats.published import add_segment
from re2tal.labels.records import Reading, SourceError

__all__ = ["is_detections", "read_detections"]


def is_detections(content: Any) -> bool:
    """Whether a JSON value holds detections."""
    results = content.get("results") if isinstance(content, dict) else None
    return isinstance(results, dict) and bool(results) and all(isinstance(rows, list) for rows in results.values())


def read_detections(path: Path, content: Any) -> Reading:
    """Labels are those of the detections; fields are label and score, below which `--min-score` leaves them out."""
    if not is_detections(content):
        raise SourceError(f'{path} holds no detections: it has no "results" with a list for each video')
    reading = Reading(path=path, format="detections", is_detected=True)
    for video_id, rows in content["results"].items():
        reading.listed[video_id] = None
        for number, row in enumerate(rows):
            where = f"{path}, video {video_id!r}, detection {number}"
            segment = row.get("segment") if isinstance(row, dict) else None
            if not isinstance(segment, list) or len(segment) != 2:
                reading.drop("incomplete entry", where, f"has no segment [start, end]: {shown(row)}")
                continue
            fields = {
                name: str(row[name]) for name in ("label", "score") if isinstance(row.get(name), (str, int, float))
            }
            add_segment(reading, where, video_id, segment[0], segment[1], fields=fields, subset=None)
    return reading
