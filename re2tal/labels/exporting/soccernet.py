"""SoccerNet's files of spotted events: results_spotting.json of detections, Labels-v2.json of annotations.

Layout (github.com/SilvioGiancola/SoccerNetv2-DevKit, Evaluation/README.md; PyPI's SoccerNet,
Evaluation/ActionSpotting.py): a game is a folder with a file for each half, 1_224p.mkv and 2_224p.mkv, and one JSON
file on both. Events are points; `position` counts milliseconds of the half, as text, and `gameTime` shows them as
"half - mm:ss". A video that is named otherwise is a game of one half.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from re2tal.labels.exporting.content import ExportContent, ExportItem, ExportVideo, plain

__all__ = ["SoccerNetFile"]

_HALF = re.compile(r"(?:(?P<game>.+)/)?(?P<half>[12])_(?:\d+p|HQ|LQ)(?:\.\w+)?")


class SoccerNetFile:
    """One game in one file, in a folder of the game's name."""

    def file_of(self, video: ExportVideo) -> str:
        """Both halves of a game share one."""
        game, _ = _game(video)
        return "/".join(filter(None, (game, "results_spotting.json" if video.is_detected else "Labels-v2.json")))

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """The events of all halves in order."""
        game, _ = _game(content.videos[0])
        is_scored = content.videos[0].is_detected
        halves = sorted(content.videos, key=lambda video: _game(video)[1])
        events = [
            _event(item, half=_game(video)[1], point=content.point, is_scored=is_scored)
            for video in halves
            for item in video.items
        ]
        if is_scored:  # of several of a class in half a second, its evaluation counts the last
            events.sort(key=lambda event: float(event["confidence"]))
        lasting = sum(not item.is_point for video in halves for item in video.items)
        content.notes.add(f"actions became points, the {content.point} of each", count=lasting)
        about = {"UrlLocal": plain(game)} if is_scored else {"UrlLocal": plain(game), "UrlYoutube": ""}
        named = {"predictions" if is_scored else "annotations": events}
        return {path: json.dumps({**about, **named}, ensure_ascii=False, indent=4) + "\n"}


def _game(video: ExportVideo) -> tuple[str, str]:
    """The folder of the game, and the half."""
    found = _HALF.fullmatch(video.video_id)
    return (found["game"] or "", found["half"]) if found else (video.video_id, "1")


def _event(item: ExportItem, *, half: str, point: str, is_scored: bool) -> dict[str, Any]:
    match point:
        case "start":
            position = item.start_ms
        case "middle":
            position = (item.start_ms + item.end_ms) // 2
        case "end":
            position = item.end_ms
        case _:
            raise ValueError(f"a point is the start, middle or end of an action, got {point!r}")
    minutes, seconds = divmod(position // 1000, 60)
    event = {"gameTime": f"{half} - {minutes:02d}:{seconds:02d}", "label": item.label, "position": str(position)}
    if is_scored:
        return {**event, "half": half, "confidence": str(1.0 if item.score is None else item.score)}
    return {**event, "team": "not applicable", "visibility": "visible"}
