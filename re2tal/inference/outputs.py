"""Detections as text for people: tables for spreadsheets, subtitles for video players."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from re2tal.common.untrusted import spreadsheet_safe

__all__ = ["Row", "csv_text", "vtt_text"]

Row = Mapping[str, Any]
"""One detection: "segment" ([start, end] in seconds), "label", "score"."""

_CSV_HEADER = ("video", "start_seconds", "end_seconds", "label", "score")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def csv_text(video_id: str, rows: Sequence[Row], *, header: bool = True) -> str:
    """The detections of a video as CSV: video, start and end in seconds, label, score.

    A name that a spreadsheet would run as a formula gets an apostrophe in front; control characters become spaces.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if header:
        table.writerow(_CSV_HEADER)
    for row in rows:
        start, end = row["segment"]
        table.writerow(
            (
                spreadsheet_safe(video_id),
                f"{start:.3f}",
                f"{end:.3f}",
                spreadsheet_safe(row["label"]),
                f"{row['score']:.4f}",
            )
        )
    return text.getvalue()


def vtt_text(rows: Iterable[Row]) -> str:
    """Detections as WebVTT: subtitles that show label and score while an action lasts, in the order of time."""
    cues = ["WEBVTT\n"]
    for row in sorted(rows, key=lambda row: (row["segment"], -row["score"])):
        start, end = (round(1000 * seconds) for seconds in row["segment"])
        end = max(end, start + 1)  # a cue must last
        cues.append(f"{_clock(start)} --> {_clock(end)}\n{_escaped(row['label'])} {row['score']:.2f}\n")
    return "\n".join(cues)


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


def _escaped(text: str) -> str:
    """On one line, and no tag, arrow or control character in it."""
    return " ".join(_CONTROL.sub(" ", text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
