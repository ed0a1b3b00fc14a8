"""SoccerNet's labels of matches: Labels-v2.json, Labels.json and those of balls.

Layout (soccer-net.org, github.com/SilvioGiancola/SoccerNetv2-DevKit): {"UrlLocal": "league/season/match/",
"annotations": [{"gameTime": "1 - 00:31", "label", "position": "31049", "team", "visibility"}]}, of which the first
number is the half, and `position` milliseconds of its video; older files have no position. Detections are "predictions"
with a "confidence". The halves of a match are `1_720p.mkv` and `2_720p.mkv` (or 224p, or HQ) in a folder that is called
as the match.
"""

import re
from typing import Any

from re2tal.common.untrusted import shown
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions
from re2tal.labels.times import TimeError, parse_time

__all__ = ["is_soccernet", "read_soccernet"]

_GAME_TIME = re.compile(r"\s*(?P<half>[1-9])\s*-\s*(?P<clock>\S+)\s*")
_FILES = ("{half}_720p", "{half}_224p", "{half}_HQ", "{half}")
_WHOLE = ("720p", "224p")
"""Of matches that are one file."""


def is_soccernet(content: Any) -> bool:
    """Whether a JSON value is of a match of SoccerNet."""
    rows = _rows(content)
    if not rows:
        return rows is not None and "UrlLocal" in content
    return all(isinstance(row, dict) for row in rows) and any("gameTime" in row for row in rows)


def _rows(content: Any) -> list[Any] | None:
    found = content.get("annotations", content.get("predictions")) if isinstance(content, dict) else None
    return found if isinstance(found, list) else None


def read_soccernet(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are those of the events, which are points in time; fields are label, team, visibility and score."""
    path, content = file.path, file.json
    reading = Reading(path=path, format="soccernet", is_detected="annotations" not in content)
    told = content.get("UrlLocal")
    parts = [part for part in re.split(r"[/\\]", told if isinstance(told, str) else "") if part]
    match = parts[-1] if parts else path.resolve().parent.name
    halves = {half: _media(match, half) for half in ("1", "2")}
    if parts:
        halves["1"] += (Media(name="/".join(parts)),)  # a whole match
    for number, row in enumerate(_rows(content) or ()):
        where = f"{path}, annotation {number}"
        found = _GAME_TIME.fullmatch(str(row.get("gameTime", "")))
        if found is None:
            reading.drop("incomplete entry", where, f"has no gameTime such as '1 - 00:31': {shown(row)}")
            continue
        position = row.get("position")
        try:
            if isinstance(position, (str, int)) and str(position).strip():
                start = parse_time(str(position), unit="milliseconds")
            else:
                start = parse_time(found["clock"])
        except TimeError as error:
            reading.drop("unparsable time", where, str(error))
            continue
        media = halves.setdefault(found["half"], _media(match, found["half"]))
        fields = {name: value for name in ("label", "team", "visibility") if isinstance(value := row.get(name), str)}
        fields |= {"score": str(row["confidence"])} if "confidence" in row else {}
        reading.add(where, media, (round(start.seconds, 3), None), fields)
    reading.covered += [Coverage(media=media) for media in halves.values()]
    return reading


def _media(match: str, half: str) -> tuple[Media, ...]:
    names = [name.format(half=half) for name in _FILES] + list(_WHOLE if half == "1" else ())
    return tuple(Media(name=f"{match}/{name}", of_folder=True) for name in names)
