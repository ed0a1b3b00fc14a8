"""Chapters, as descriptions of YouTube's videos list them: one line for each action, "1:02:03 label".

re2tal export detections.json --format examples/labels/chapters.py:ChapterList --out chapters
"""

from collections.abc import Mapping
from pathlib import Path

from re2tal.labels.exporting import ExportContent, ExportVideo


class ChapterList:
    """One text file for each video. A chapter ends where the next begins, so ends and scores are not kept."""

    def file_of(self, video: ExportVideo) -> str:
        """Named like its video."""
        return f"{video.video_id}.txt"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """A line for each action; the first chapter begins with the video."""
        (video,) = content.videos
        lines = [] if video.items and video.items[0].start_ms < 1000 else ["0:00:00 beginning"]
        for item in video.items:
            minutes, seconds = divmod(item.start_ms // 1000, 60)
            lines.append(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} {item.label}")
        return {path: "\n".join(lines) + "\n"}
