"""Noldus' programs: events of The Observer XT and raw data of EthoVision XT, as text or in a workbook.

Layouts:

* The Observer XT, exported events: a row for each event, with `Observation`, `Subject`, `Behavior`, `Modifier_1` and so
  on, `Event_Type` ("State start", "State stop", "Point"), and the time since the beginning of the observation in any of
  `Time_Relative_sf` (seconds with fractions), `Time_Relative_hmsf`, `Time_Relative_hms` and others.
* EthoVision XT, raw data: lines about the trial, of which the first tells how many they are ("Number of header lines:")
  and the last two name the columns and their units; then a row for each sample, with `Trial time` and `Recording time`
  in seconds, and 0 or 1 for zones, behaviours and states, "-" where there is no value.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath

from re2tal.labels.formats.events import POINT, START, STOP, CodedEvent, add_events
from re2tal.labels.formats.per_frame import frame_columns, read_frame_rows
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, SourceError, named_like
from re2tal.labels.tables import Table, TableRow
from re2tal.labels.times import TimeError, parse_time

__all__ = ["is_ethovision", "is_observer", "read_ethovision", "read_observer"]

_OBSERVER = {"Behavior", "Event_Type"}
_OBSERVER_TIMES = ("Time_Relative_sf", "Time_Relative_s", "Time_Relative_hmsf", "Time_Relative_hms")
_ETHOVISION = "number of header lines"


def is_observer(head: Table) -> bool:
    """Whether a table has the columns of The Observer's events."""
    return {*head.names} >= _OBSERVER and any(name.startswith("Time_") for name in head.names)


def read_observer(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the behaviours; fields are behavior, subject, modifiers, observation and the columns."""
    reading = Reading(path=file.path, format="observer", label_fields=("behavior",))
    names = file.table.names
    time = next((name for name in _OBSERVER_TIMES if name in names), None)
    if not {*names} >= _OBSERVER or time is None:
        raise SourceError(
            f"{file.path} is no table of The Observer's events with times since their beginning: it needs the columns "
            f"Behavior, Event_Type and one of {', '.join(_OBSERVER_TIMES)}; choose them in the export"
        )
    add_events(_observer_events(file.table, time=time, reading=reading), reading=reading)
    return reading


def _observer_events(table: Table, *, time: str, reading: Reading) -> Iterator[CodedEvent]:
    for line, cells in table.entries():
        where = f"{reading.path}, line {line}"
        behavior, kind = cells["Behavior"], cells["Event_Type"].lower()
        if not behavior or not kind:
            continue  # comments, and the beginning and end of an observation
        status = next((known for known in (START, STOP, POINT) if known.lower() in kind), None)
        if status is None:
            reading.drop(
                "incomplete entry", where, f"Event_Type is {cells['Event_Type']!r:.40}, no start, stop or point"
            )
            continue
        try:
            seconds = parse_time(cells[time]).seconds
        except TimeError as error:
            reading.drop("unparsable time", where, str(error))
            continue
        modifiers = "|".join(cell for name, cell in cells.items() if name.startswith("Modifier") and cell)
        fields = {
            **cells, "behavior": behavior, "subject": cells.get("Subject", ""), "modifiers": modifiers,
            "observation": cells.get("Observation", ""),
        }  # fmt: skip
        media = _observation_media(cells, path=reading.path)
        if not any(known.media == media for known in reading.covered):
            reading.covered.append(Coverage(media=media))
        key = (fields["observation"], fields["subject"], behavior, modifiers)
        yield CodedEvent(where=where, status=status, seconds=seconds, key=key, fields=fields, media=media)


def _observation_media(cells: Mapping[str, str], *, path: Path) -> tuple[Media, ...]:
    """Observations are named by hand, mostly as the video; an export of one may be named as the video itself."""
    told = [cells[name] for name in ("Video_File", "Media_File", "Observation") if cells.get(name)]
    return (*(Media(name=name) for name in told), *named_like(path))


def is_ethovision(head: Table) -> bool:
    """Whether a table begins as EthoVision's raw data do."""
    return bool(head.rows) and head.rows[0].cells[0].strip().lower().startswith(_ETHOVISION)


def read_ethovision(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the names of the columns of 0 and 1, such as zones and behaviours."""
    path, table = file.path, file.table
    reading = Reading(path=path, format="ethovision")
    lines = _number_of_lines(path, table)
    about = {
        row.cells[0].strip().lower().rstrip(":"): row.cells[1].strip()
        for row in table.rows
        if len(row.cells) > 1 and row.line <= lines
    }
    header = next((row for row in table.rows if row.line <= lines and _is_header(row)), None)
    data = tuple(row for row in table.rows if row.line > lines)
    columns = None if header is None else frame_columns(Table(rows=(header, *data)))
    if columns is None:
        raise SourceError(
            f"{path} is EthoVision's raw data without a column of 0 and 1; export behaviours, zones or other states "
            "with the track"
        )
    video = about.get("video file", "")
    told = (Media(name=PureWindowsPath(video).name),) if video else ()
    read_frame_rows(data, columns=columns, media=(*told, *named_like(path)), reading=reading)
    return reading


def _number_of_lines(path: Path, table: Table) -> int:
    cells = table.rows[0].cells if table.rows else ()
    try:
        return int(float(cells[1]))
    except (IndexError, ValueError, OverflowError):
        raise SourceError(
            f"{path} is no raw data of EthoVision: it must begin with the number of its header lines"
        ) from None


def _is_header(row: TableRow) -> bool:
    return {"trial time", "recording time"} & {cell.strip().lower() for cell in row.cells} != set()
