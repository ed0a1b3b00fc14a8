"""Plain text tracks, one for each video: Audacity's labels, SubRip and WebVTT.

Layouts: Audacity, a line of start, end (seconds) and label between tabs (manual.audacityteam.org, "Importing and
Exporting Labels"); SubRip (.srt), numbered blocks with `hh:mm:ss,mmm --> hh:mm:ss,mmm`; WebVTT (w3.org/TR/webvtt1), the
same with points in the times, escapes for &, < and >, and an identifier above each cue, which holds the score.
"""

from collections.abc import Mapping
from pathlib import Path

from re2tal.common.subtitles import cue_text, cue_times
from re2tal.common.untrusted import shown
from re2tal.labels.exporting.content import ExportContent, ExportVideo, lasting

__all__ = ["AudacityTrack", "SubRipFile", "WebVttFile"]

_BRACKETS = str.maketrans("<>", "\u2039\u203a")


class AudacityTrack:
    """One video in one label track."""

    def file_of(self, video: ExportVideo) -> str:
        """Each its own."""
        return f"{video.video_id}.txt"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """A line for each label."""
        (video,) = content.videos
        lines = [f"{item.start_ms / 1000:.6f}\t{item.end_ms / 1000:.6f}\t{item.label}\n" for item in video.items]
        return {path: "".join(lines)}


class SubRipFile:
    """One video in one file of subtitles."""

    def file_of(self, video: ExportVideo) -> str:
        """Each its own."""
        return f"{video.video_id}.srt"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """A block for each label; arrows and tags, which players obey, are broken up."""
        (video,) = content.videos
        blocks = []
        for number, item in enumerate(lasting(video.items, content.notes), start=1):
            text = item.label.translate(_BRACKETS)
            if text != item.label:
                content.notes.add("labels have other brackets in the place of < and >, which are tags", shown(text))
            blocks.append(f"{number}\n{cue_times(item.start_ms, item.end_ms, point=',')}\n{text}\n")
        return {path: "\n".join(blocks)}


class WebVttFile:
    """One video in one file of subtitles."""

    def file_of(self, video: ExportVideo) -> str:
        """Each its own."""
        return f"{video.video_id}.vtt"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """A cue for each label."""
        (video,) = content.videos
        cues = ["WEBVTT\n"]
        for item in lasting(video.items, content.notes):
            score = "" if item.score is None else f"score {item.score:.4f}\n"
            cues.append(f"{score}{cue_times(item.start_ms, item.end_ms)}\n{cue_text(item.label)}\n")
        return {path: "\n".join(cues)}
