"""Detections as text for people: tables for spreadsheets, subtitles for video players."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from re2tal.common.subtitles import cue_text, cue_times
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
        label = " ".join(_CONTROL.sub(" ", row["label"]).split())
        cues.append(f"{cue_times(start, end)}\n{cue_text(label)} {row['score']:.2f}\n")
    return "\n".join(cues)
