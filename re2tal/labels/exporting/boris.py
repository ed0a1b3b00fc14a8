"""A project of BORIS: one observation for each video, one behaviour for each class.

Layout, project format 7.0, which BORIS 7 to 9 open (github.com/olivierfriard/BORIS, config.py, project_functions.py,
observation_operations.py): an event is [time, subject, code, modifier, comment, frame index]. A state event stands
there twice. Start and stop are told apart by order alone, among the events of one subject, code and modifier. A subject
does a behaviour once at a time: coding it with another modifier ends it, and durations without modifiers are paired
across them. So what overlaps within a class gets subjects of its own. BORIS reads the file in the encoding of the
system, so it holds ASCII. Media paths may be relative to the project. A pipe is not allowed in codes. Keys are single
characters, told apart without regard to capitals.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any

import av

from re2tal.common.untrusted import shown
from re2tal.labels.exporting.colours import colour
from re2tal.labels.exporting.content import ExportContent, ExportItem, ExportVideo, distinct, lanes_of, plain

__all__ = ["BorisProject"]

_PLAYERS = 8
_NOT_KNOWN = "NA"


class BorisProject:
    """All videos in one project."""

    def file_of(self, video: ExportVideo) -> str:
        """One for all."""
        return "labels.boris"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """The project."""
        coding = _Coding(content)
        names = distinct((video.video_id for video in content.videos), plain)
        project = {
            "time_format": "hh:mm:ss",
            "project_date": _date(content),
            "project_name": path.stem,
            "project_description": "Exported by re2tal; scores of detections stand in the comments",
            "project_format_version": "7.0",
            "subjects_conf": coding.subjects(),
            "behaviors_conf": coding.ethogram(),
            "observations": {
                names[video.video_id]: _observation(video, path, date=_date(content), events=coding.events(video))
                for video in content.videos
            },
            "behavioral_categories": [],
            "behavioral_categories_config": {},
            "independent_variables": {},
            "coding_map": {},
            "behaviors_coding_map": [],
            "converters": {},
        }
        return {path: json.dumps(project, indent=1) + "\n"}


class _Coding:
    """How classes become behaviours, and items events."""

    def __init__(self, content: ExportContent) -> None:
        items = [item for video in content.videos for item in video.items]
        self._codes = content.distinct(
            lambda label: label.replace("|", "/"), what="classes were renamed, since BORIS allows no | in a code"
        )
        # Others keep their points as states that end as they begin.
        self._points = {item.label for item in items} - {item.label for item in items if not item.is_point}
        self._lanes = {video.video_id: _lanes(video.items) for video in content.videos}
        for label in self._codes:
            content.notes.add(
                "overlapping actions of a class have subjects such as 'overlap 2', or BORIS would mispair them",
                shown(label),
                count=sum(len(lane) for lanes in self._lanes.values() for lane in lanes.get(label, ())[1:]),
            )

    def subjects(self) -> dict[str, Any]:
        """For all but the lowest of overlapping actions, which have none."""
        depth = max((len(lanes) for of_video in self._lanes.values() for lanes in of_video.values()), default=1)
        about = {"key": "", "description": "actions that begin while another of their class lasts"}
        return {str(place - 2): {**about, "name": _subject(place)} for place in range(2, depth + 1)}

    def ethogram(self) -> dict[str, Any]:
        """A behaviour for each class."""
        keys = _keys(self._codes.values())
        return {
            str(number): {
                "type": "Point event" if label in self._points else "State event",
                "key": keys[code],
                "code": code,
                "description": "",
                "color": colour(number),
                "category": "",
                "modifiers": {},
                "excluded": "",
                "coding map": "",
            }
            for number, (label, code) in enumerate(self._codes.items())
        }

    def events(self, video: ExportVideo) -> list[list[Any]]:
        """In order of time; those of the same time in the order in which BORIS pairs them."""
        events = []
        for label, lanes in self._lanes[video.video_id].items():
            for place, lane in enumerate(lanes, start=1):
                about = [_subject(place), self._codes[label], ""]
                for item in lane:
                    events.append([item.start_ms / 1000, *about, _comment(item), _NOT_KNOWN])
                    if label not in self._points:
                        events.append([item.end_ms / 1000, *about, "", _NOT_KNOWN])
        return sorted(events, key=lambda event: event[0])


def _subject(place: int) -> str:
    return "" if place == 1 else f"overlap {place}"


def _lanes(items: Iterable[ExportItem]) -> dict[str, list[list[ExportItem]]]:
    by_label: dict[str, list[ExportItem]] = defaultdict(list)
    for item in items:
        by_label[item.label].append(item)
    return {label: lanes_of(listed) for label, listed in by_label.items()}


def _comment(item: ExportItem) -> str:
    score = "" if item.score is None else f"score {item.score:.4f}"
    annotator = "" if item.annotator is None else f"annotator {item.annotator}"
    return "; ".join(filter(None, (score, annotator)))


def _date(content: ExportContent) -> str:
    return f"{content.changed:%Y-%m-%dT%H:%M:%S}"


def _keys(codes: Iterable[str]) -> dict[str, str]:
    """A letter or digit for each class, its own if that is free; none once they are used up."""
    free = dict.fromkeys(ascii_lowercase + digits)
    keys = {}
    for code in codes:
        key = next((letter for letter in [*code.lower(), *free] if letter in free), "")
        free.pop(key, None)
        keys[code] = key
    return keys


def _observation(video: ExportVideo, project: Path, *, date: str, events: list[list[Any]]) -> dict[str, Any]:
    media = video.beside(project)
    info: dict[str, Any] = {"length": {}, "fps": {}, "hasVideo": {}, "hasAudio": {}, "offset": {"1": 0.0}}
    info["display"] = {media: "Nothing"}  # beside the picture: neither spectrogram nor waveform
    if video.duration_seconds is not None and video.fps is not None:
        told = (video.duration_seconds, video.fps, True, video.path is not None and _has_sound(video.path))
        for name, value in zip(("length", "fps", "hasVideo", "hasAudio"), told, strict=True):
            info[name][media] = value
    return {
        "file": {str(player): [media] if player == 1 else [] for player in range(1, _PLAYERS + 1)},
        "type": "MEDIA",
        "date": date,
        "description": "",
        "time offset": 0.0,
        "events": events,
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "media_creation_date_as_offset": False,
        "media_scan_sampling_duration": 0,
        "image_display_duration": 1,
        "close_behaviors_between_videos": False,
        "media_info": info,
    }


def _has_sound(path: Path) -> bool:
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.audio)
    except (OSError, ValueError, av.FFmpegError):
        return False
