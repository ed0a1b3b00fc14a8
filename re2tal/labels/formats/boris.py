"""BORIS: its projects (.boris), and the two tables that it exports, of events and of aggregated events.

Layouts, as BORIS 4 to 9 write them (github.com/olivierfriard/BORIS, export_observation.py, export_events.py):

* Project, JSON, perhaps gzipped: `behaviors_conf` tells which codes are state events; `observations` have `type`
  ("MEDIA", "LIVE", "IMAGES"), `file` (media of each player; times count through those of player 1, one after the
  other), `media_info.length`, `time offset` (which is part of the times) and `events`, lists that begin with time,
  subject, code, modifier. A state event stands there twice, for start and stop, told apart by order alone.
* Tabular events: one row for each start, stop and point, with "Time", "Behavior", "Subject", "Behavior type" (older:
  "Status") and "Media file name" (older: "Media file path"). Older files begin with lines about the observation.
* Aggregated events: one row for each segment, with "Start (s)" and "Stop (s)"; a point has both alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PureWindowsPath
from typing import Any

from re2tal.common.untrusted import shown
from re2tal.labels.formats.events import POINT, START, STOP, CodedEvent, add_events
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.formats.spreadsheets import NOTHING
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, SourceError
from re2tal.labels.tables import Table
from re2tal.labels.times import Time, TimeError, number_of, parse_time

__all__ = ["boris_header", "is_boris_project", "read_boris_project", "read_boris_table"]

_HEADER_WITHIN = 100
"""Rows in which an older file's header is looked for."""
_PLAYER_1 = re.compile(r"player #1:\s*(?P<files>[^|]*)")


@dataclass(frozen=True, kw_only=True)
class _Playlist:
    """The media of player 1, played one after the other, and what is added to their time."""

    names: tuple[str, ...]
    lengths: tuple[float | None, ...]
    offset: float

    def measured(self, options: ReadOptions, *, all_of: bool = False) -> _Playlist:
        """With the lengths of the videos themselves where the file tells none that is needed."""
        if len(self.names) == 1 and not all_of:
            return self
        told = zip(self.names, self.lengths, strict=True)
        return replace(self, lengths=tuple(options.length_of(n) if length is None else length for n, length in told))

    def find(self, seconds: float, *, name: str | None = None) -> tuple[Media, ...]:
        """The video that shows a time, none if the lengths before it are not known; `name` if the table tells it."""
        exact = name in self.names  # else one file may have the name of another in another folder
        if name is not None and not exact and not any(_same_file(name, other) for other in self.names):
            return (Media(name=name, origin_seconds=-self.offset),)
        for media, end in self._in_turn():
            here = (
                (name == media.name if exact else _same_file(name, media.name)) if name is not None else seconds < end
            )
            if here:
                return (media,)
        return ()

    @property
    def in_turn(self) -> tuple[Media, ...]:
        """The videos of which it is known when they begin."""
        return tuple(media for media, _ in self._in_turn())

    def _in_turn(self) -> Iterator[tuple[Media, float]]:
        """With the times at which they end, "not a number" where that is not known; the last one goes on."""
        begin = self.offset
        for video, length in zip(self.names, (*self.lengths[:-1], math.inf), strict=True):
            end = begin + (math.nan if length is None else length)
            yield Media(name=video, origin_seconds=-begin), end
            if length is None:
                return
            begin = end

    def covered(self, interval: tuple[float, float] | None) -> Iterator[Coverage]:
        """All videos; where an observation was limited to an interval, which leaves the offset out, what lies in it."""
        lengths = [length for length in self.lengths if length is not None]
        if interval is None or len(lengths) < len(self.names):
            yield from (Coverage(media=(Media(name=name),)) for name in self.names)
            return
        whole = sum(lengths)
        start, stop = (self.offset + min(seconds, whole) for seconds in (interval[0], interval[1] or whole))
        for media, end in self._in_turn():
            first, last = max(start, -media.origin_seconds), min(stop, end)
            stretches = ((Time(seconds=first), Time(seconds=last)),) if last > first else ()
            yield Coverage(media=(media,), stretches=stretches, is_exact=True)


def is_boris_project(content: Any) -> bool:
    """Whether a JSON value is a project of BORIS."""
    return isinstance(content, dict) and "observations" in content and "behaviors_conf" in content


def read_boris_project(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the codes of behaviours; fields are behavior, subject, modifiers, category and observation."""
    reading = Reading(path=file.path, format="boris", label_fields=("behavior",))
    observations, ethogram = file.json.get("observations"), file.json.get("behaviors_conf")
    if not isinstance(observations, dict) or not isinstance(ethogram, dict):
        raise SourceError(f"{file.path} is no project of BORIS: it has no observations or no behaviours")
    behaviors = {str(entry.get("code")): entry for entry in ethogram.values() if isinstance(entry, dict)}
    for name, observation in observations.items():
        where = f"{file.path}, observation {name!r}"
        reason = _unusable(observation)
        if reason is not None:
            reading.drop("no video time", where, f"{reason}; all of its events are left out")
            continue
        playlist = _project_playlist(observation).measured(options)
        interval = _interval(observation)
        reading.covered += playlist.measured(options, all_of=interval is not None).covered(interval)
        events = _project_events(
            observation, name=name, where=where, behaviors=behaviors, playlist=playlist, reading=reading
        )
        add_events(events, reading=reading)
    return reading


def _unusable(observation: Any) -> str | None:
    if not isinstance(observation, dict) or not isinstance(observation.get("events"), list):
        return "is no observation with a list of events"
    if observation.get("type") != "MEDIA":
        return f"is of type {observation.get('type')!r}, not of video files"
    files = observation.get("file")
    if not isinstance(files, dict) or not isinstance(files.get("1"), list) or not files["1"]:
        return "names no media for player 1"
    if observation.get("media_creation_date_as_offset"):
        return "counts time by the clock (media creation date), not from the beginning of its video"
    return None


def _interval(observation: Mapping[str, Any]) -> tuple[float, float] | None:
    """The times that an observation was limited to, the second 0 for the end; None if it was not."""
    told = observation.get("observation time interval")
    if not isinstance(told, list) or len(told) != 2:
        return None
    start, end = (number_of(value) or 0.0 for value in told)
    return (start, end) if start > 0 or end > start else None


def _project_playlist(observation: Mapping[str, Any]) -> _Playlist:
    names = tuple(str(name) for name in observation["file"]["1"])
    info = observation.get("media_info")
    lengths = info.get("length") if isinstance(info, dict) else None
    known = lengths if isinstance(lengths, dict) else {}
    return _Playlist(
        names=names,
        lengths=tuple(number_of(known.get(name)) for name in names),
        offset=number_of(observation.get("time offset")) or 0.0,
    )


def _project_events(
    observation: Mapping[str, Any],
    *,
    name: str,
    where: str,
    behaviors: Mapping[str, Mapping[str, Any]],
    playlist: _Playlist,
    reading: Reading,
) -> Iterable[CodedEvent]:
    """The events with their status, which a project does not write down."""
    is_on: set[tuple[str, ...]] = set()
    sound: list[tuple[float, int, list[Any]]] = []
    for number, event in enumerate(observation["events"], start=1):
        seconds = number_of(event[0]) if isinstance(event, list) and len(event) > 2 else None
        if seconds is None:
            detail = f"an event is [time, subject, code, ...], got {shown(event)}"
            reading.drop("incomplete entry", f"{where}, event {number}", detail)
        else:
            sound.append((seconds, number, event))
    # A start and its stop are told apart by order alone, and files that were merged need not be in order.
    for seconds, number, event in sorted(sound, key=lambda item: item[:2]):
        here = f"{where}, event {number}"
        subject, code = str(event[1] or ""), str(event[2] or "")
        modifiers = str(event[3] or "") if len(event) > 3 else ""
        if code not in behaviors:
            reading.drop("incomplete entry", here, f"behaviour {code!r} is not in the ethogram, so its type is unknown")
            continue
        key = (name, subject, code, modifiers)
        if str(behaviors[code].get("type", "")).startswith("State"):
            status = STOP if key in is_on else START
            is_on ^= {key}
        else:
            status = POINT
        fields = {
            "behavior": code, "subject": subject, "modifiers": modifiers, "observation": name,
            "category": str(behaviors[code].get("category") or ""),
        }  # fmt: skip
        media, in_turn = playlist.find(seconds), playlist.in_turn
        yield CodedEvent(
            where=here, status=status, seconds=seconds, key=key, fields=fields, media=media, in_turn=in_turn
        )


def boris_header(table: Table) -> int | None:
    """Which row is the header of a table exported by BORIS; None if there is none."""
    for number, row in enumerate(table.rows[:_HEADER_WITHIN]):
        names = {cell.strip() for cell in row.cells}
        if {"Behavior", "Subject"} <= names and ("Time" in names or {"Start (s)", "Stop (s)"} <= names):
            return number
    return None


def read_boris_table(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the codes of behaviours; fields are behavior, subject, modifiers and the columns."""
    reading = Reading(path=file.path, format="boris", label_fields=("behavior",))
    number = boris_header(file.table)
    if number is None:
        raise SourceError(f'{file.path} is no table of BORIS: it has no columns "Behavior", "Subject" and times')
    # What older files say of the observation before the table.
    above = [[cell.strip() for cell in row.cells] for row in file.table.rows[:number] if len(row.cells) > 1]
    about = {name: value for name, value, *_ in above if value}
    rows: list[tuple[str, str, dict[str, str]]] = []
    for line, told in Table(rows=file.table.rows[number:]).entries():
        cells = about | told
        where = f"{file.path}, line {line}"
        media = _first(cells, "Media file name", "Media file path", "Media file")
        if not media or media.lower() in NOTHING or media == "Not found":
            reading.drop("no video time", where, "names no media file")
            continue
        reading.listed.setdefault(media, None)
        rows.append((where, media, cells))
    player_1 = tuple(value for name, value, *_ in above if name == "Player #1")
    in_turn = _played_in_turn(rows)
    events: list[CodedEvent] = []
    for where, media, cells in rows:
        played = player_1 or in_turn.get(cells.get("Observation id", ""))
        try:
            playlist = _table_playlist(cells, media=played or (media,)).measured(options)
            events += _row_events(cells, where=where, media=media, playlist=playlist)
        except TimeError as error:
            reading.drop("unparsable time", where, str(error), media=(Media(name=media),))
    add_events(events, reading=reading)
    return reading


def _played_in_turn(rows: Iterable[tuple[str, str, Mapping[str, str]]]) -> dict[str, tuple[str, ...]]:
    """The media of each observation in their order: times count on through them, so that each begins with its first."""
    begins: dict[str, dict[str, float]] = {}
    for _, media, cells in rows:
        seconds = number_of(_first(cells, "Time", "Start (s)"))
        if seconds is not None and (observation := cells.get("Observation id", "")):
            known = begins.setdefault(observation, {})
            known[media] = min(seconds, known.get(media, seconds))
    return {observation: tuple(sorted(known, key=known.__getitem__)) for observation, known in begins.items()}


def _row_events(cells: Mapping[str, str], *, where: str, media: str, playlist: _Playlist) -> list[CodedEvent]:
    modifiers = "|".join(cell for name, cell in cells.items() if name.startswith("Modifier") and cell)
    fields = {**cells, "behavior": cells["Behavior"], "subject": cells["Subject"], "modifiers": modifiers}
    key = (cells.get("Observation id", ""), cells["Subject"], cells["Behavior"], modifiers)
    kind = _first(cells, "Behavior type", "Status").upper()

    def event(status: str, column: str, *, number: str = "") -> CodedEvent:
        # Rows of segments are pairs already: the line tells them apart where segments of one behaviour overlap.
        seconds = parse_time(cells[column]).seconds
        of_time = playlist.find(seconds) if column == "Stop (s)" else ()  # perhaps in a later file than the row's
        return CodedEvent(
            where=where,
            status=status,
            seconds=seconds,
            key=(*key, number),
            fields=fields,
            media=of_time or playlist.find(seconds, name=media),
            listed_as=media,
            in_turn=playlist.in_turn,
        )

    if "Time" in cells:
        return [event(kind if kind in (START, STOP) else POINT, "Time")]
    if kind == POINT:
        return [event(POINT, "Start (s)")]
    if cells.get("Stop (s)", "").lower() in NOTHING:
        return [event(START, "Start (s)", number=where)]
    return [event(START, "Start (s)", number=where), event(STOP, "Stop (s)", number=where)]


def _table_playlist(cells: Mapping[str, str], *, media: tuple[str, ...]) -> _Playlist:
    """From `Source`, "player #1:a.mp4;b.mp4|player #2:c.mp4", and `Media duration (s)`, "10.0;20.0|30.0".

    Older tables have neither: they are of `media`, of unknown lengths.
    """
    found = _PLAYER_1.search(cells.get("Source", ""))
    names = tuple(name.strip() for name in found["files"].split(";") if name.strip()) if found else media
    told = cells.get("Media duration (s)", "").split("|")[0].split(";")
    lengths = [number_of(text) for text in told] + [None] * len(names)
    offset = number_of(cells.get("Time offset (s)")) or 0.0
    return _Playlist(names=names, lengths=tuple(lengths[: len(names)]), offset=offset)


def _same_file(name: str, other: str) -> bool:
    return name == other or PureWindowsPath(name).name == PureWindowsPath(other).name


def _first(cells: Mapping[str, str], *names: str) -> str:
    return next((cells[name] for name in names if cells.get(name)), "")
