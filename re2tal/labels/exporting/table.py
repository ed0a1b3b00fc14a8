"""One table of all videos, for spreadsheets and everything else."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from re2tal.common.untrusted import spreadsheet_safe
from re2tal.labels.exporting.content import ExportContent, ExportVideo

__all__ = ["LabelTable"]


class LabelTable:
    """A row for each label: video, start and end in seconds, label, score and annotator if there are any."""

    def file_of(self, video: ExportVideo) -> str:
        """One for all."""
        return "labels.csv"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """The table; names that a spreadsheet would run as a formula get an apostrophe in front."""
        items = [(video, item) for video in content.videos for item in video.items]
        has_scores = any(item.score is not None for _, item in items)
        has_annotators = any(item.annotator is not None for _, item in items)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        header = ["video", "start_seconds", "end_seconds", "label"]
        table.writerow(header + ["score"] * has_scores + ["annotator"] * has_annotators)
        for video, item in items:
            score = "" if item.score is None else f"{item.score:.4f}"
            table.writerow(
                [
                    spreadsheet_safe(video.video_id),
                    f"{item.start_ms / 1000:.3f}",
                    f"{item.end_ms / 1000:.3f}",
                    spreadsheet_safe(item.label),
                    *[score] * has_scores,
                    *[spreadsheet_safe(item.annotator or "")] * has_annotators,
                ]
            )
        return {path: text.getvalue()}
