"""Tables with one annotation a row: anyone's CSV, EPIC-KITCHENS and Charades.

Layouts:

* A header with a video, a start, an end (or a duration) and a label, in the usual spellings (`columns`); or no header
  and the columns video, start, end, label; or start, end, label in a file named like its video (Audacity's labels).
* EPIC-KITCHENS-100 and -55 (github.com/epic-kitchens/epic-kitchens-100-annotations): `video_id`, `start_timestamp` and
  `stop_timestamp` as hh:mm:ss.ss, `narration`, `verb`, `noun` and more; a file for each subset. Its frame numbers
  belong to extracted pictures and are not used.
* Charades (Charades_v1_train.csv; its README at prior.allenai.org/projects/data/charades): `id`, `actions` as
  "c092 11.90 21.20;c147 0.00 12.60" in seconds, `length` and more.
"""

from collections.abc import Sequence
from pathlib import Path

from re2tal.common.untrusted import from_spreadsheet, some
from re2tal.labels.columns import Columns, find_columns
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, SourceError, named_like
from re2tal.labels.subsets import subset_in_name, subset_name
from re2tal.labels.tables import Table, TableRow
from re2tal.labels.times import Time, TimeError, Unit, number_of, parse_time

__all__ = ["NOTHING", "is_charades", "is_epic_kitchens", "read_charades_table", "read_csv", "read_epic_kitchens"]

_TITLE_ROWS, _MOST_TITLES = 20, 2
"""Rows among which a header is looked for where the first has so few cells."""
NOTHING = frozenset({"", "na", "n/a", "nan", "none", "null", "-"})
"""What tables write where there is no value."""

_EPIC = ("video_id", "start_timestamp", "stop_timestamp", "narration")
_CHARADES = ("id", "actions", "length")


def is_epic_kitchens(head: Table) -> bool:
    """Whether a table has the columns of EPIC-KITCHENS."""
    return {*_EPIC} <= {*head.names}


def is_charades(head: Table) -> bool:
    """Whether a table has the columns of Charades."""
    return {*_CHARADES} <= {*head.names}


def read_epic_kitchens(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the verbs, unless `options.label` names other columns."""
    reading = Reading(path=file.path, format="epic-kitchens", label_fields=("verb",))
    names = file.table.names
    missing = [name for name in _EPIC[:3] if name not in names]
    if missing:
        raise SourceError(f"{file.path} is no table of EPIC-KITCHENS: it has no column {', '.join(missing)}")
    roles = {"video": "video_id", "start": "start_timestamp", "end": "stop_timestamp", **options.columns}
    columns = find_columns(names, named=roles)
    subset = subset_in_name(file.path.stem)
    for row in file.table.rows[1:]:
        _read_row(row, header=names, columns=columns, unit="seconds", subset=subset, reading=reading)
    return reading


def read_charades_table(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the names of `options.class_names`, or the codes c000 to c156."""
    reading = Reading(path=file.path, format="charades")
    if not {"id", "actions"} <= {*file.table.names}:
        raise SourceError(f"{file.path} is no table of Charades: it has no columns id and actions")
    subset = subset_in_name(file.path.stem)
    for line, cells in file.table.entries():
        where, video_id = f"{file.path}, line {line}", cells["id"]
        reading.listed[video_id] = subset
        reading.tell_length(video_id, cells.get("length"))
        for action in filter(None, cells["actions"].split(";")):
            _read_charades_action(
                action, where=where, video_id=video_id, subset=subset, options=options, reading=reading
            )
    return reading


def _read_charades_action(
    text: str, *, where: str, video_id: str, subset: str | None, options: ReadOptions, reading: Reading
) -> None:
    words = text.split()
    if len(words) != 3:
        reading.drop("incomplete entry", where, f"an action is a class and two times, got {text[:60]!r}")
        return
    number = words[0].removeprefix("c")
    is_number = number.isdecimal() and len(number) < 10
    label = options.class_names.get(int(number), words[0]) if is_number else words[0]
    fields = {"label": label, "class": words[0], "video": video_id}
    reading.add(where, (Media(name=video_id),), (words[1], words[2]), fields, subset=subset)


def read_csv(file: SourceFile, options: ReadOptions) -> Reading:
    """One annotation a row."""
    path, table = file.path, file.table
    reading = Reading(path=path, format="csv")
    if not table.rows:
        raise SourceError(f"{path} is empty")
    header, rows, columns = _header(path, table, options=options)
    for row in rows:
        _read_row(row, header=header, columns=columns, unit=options.unit or columns.unit, subset=None, reading=reading)
    if "label" in columns.of:
        reading.label_fields = (header[columns.of["label"]],)
    if "video" not in columns.of:
        reading.notes.append(f"{path} has no column for the video; taken to annotate the video {path.stem!r}")
    return reading


def _header(path: Path, table: Table, *, options: ReadOptions) -> tuple[Sequence[str], Sequence[TableRow], Columns]:
    """Names of the columns, the rows after them, and which column is what."""
    first = table.names
    if (begin := _title_rows(table)) is not None:
        return _header(path, Table(rows=table.rows[begin:]), options=options)
    if not options.columns and (without := _headerless(first)):
        names = [*without, *(f"column {number}" for number in range(len(without) + 1, len(first) + 1))]
        return names, table.rows, find_columns(names, named={})
    try:
        columns = find_columns(first, named=options.columns)
    except SourceError as error:
        raise SourceError(f"{path} {error}") from None
    there = some(map(repr, first))
    if "start" not in columns.of or not {"end", "duration"} & columns.of.keys():
        raise SourceError(
            f"{path} has no columns that are known as start and end; it has {there}; name them, such as --columns "
            "video=clip start=t_on end=t_off, or the layout of the file with --format (a table of frames has a row for "
            "each, in order, and a column of 0 and 1 for each class)"
        )
    if "label" not in columns.of and not options.label:
        raise SourceError(f"{path} has no column that is known as the label; it has {there}; name it with --label")
    return first, table.rows[1:], columns


def _title_rows(table: Table) -> int | None:
    """How many rows stand above the header, such as a title; None if there are none, or no header is recognised."""

    def is_header(row: TableRow) -> bool:
        known = find_columns(row.cells, named={}).of
        return "start" in known and bool({"end", "duration"} & known.keys()) and {"label", "video"} <= known.keys()

    if _headerless(table.names) or len({*filter(None, table.names)}) > _MOST_TITLES:
        return None
    return next((number for number, row in enumerate(table.rows[:_TITLE_ROWS]) if is_header(row)), None) or None


def _headerless(first: Sequence[str]) -> list[str]:
    """Names for columns of a table whose first row is an annotation; empty if it seems to be a header."""
    are_times = [number_of(cell) is not None for cell in first]
    if len(first) >= 4 and are_times[1:4] == [True, True, False]:
        return ["video", "start", "end", "label"]
    return ["start", "end", "label"] if are_times == [True, True, False] else []


def _read_row(
    row: TableRow, *, header: Sequence[str], columns: Columns, unit: Unit | None, subset: str | None, reading: Reading
) -> None:
    where = f"{reading.path}, line {row.line}"
    fields = {name: from_spreadsheet(cell.strip()) for name, cell in zip(header, row.cells, strict=False) if name}

    def cell(role: str) -> str:
        number = columns.of.get(role)
        return "" if number is None or number >= len(row.cells) else from_spreadsheet(row.cells[number].strip())

    if "video" in columns.of and not cell("video"):
        reading.drop("incomplete entry", where, f"names no video: {' | '.join(row.cells)[:80]!r}")
        return
    if any(text.strip() for text in row.cells[len(header) :]) or "\n" in cell("video"):
        reading.drop("incomplete entry", where, _misread(row, header))
        return
    media = (Media(name=cell("video")),) if "video" in columns.of else named_like(reading.path)
    told = subset_name(cell("subset")) or subset
    ends = "end" if "end" in columns.of else "duration"
    if "video" in columns.of:
        reading.listed.setdefault(media[0].name, told)
    elif not reading.covered:
        reading.covered.append(Coverage(media=media, subset=told))
    if all(cell(role).lower() in NOTHING for role in ("start", ends)) and not cell("label"):
        return  # a video without annotations
    try:
        start = parse_time(cell("start"), unit=unit or "seconds")
        end = None if cell(ends).lower() in NOTHING else parse_time(cell(ends), unit=unit or "seconds")
    except TimeError as error:
        reading.drop("unparsable time", where, str(error), media=media)
        return
    if end is not None and ends == "duration":
        end = Time(seconds=start.seconds + end.seconds, frames=start.frames + end.frames)
    reading.add(where, media, (start, end), fields, subset=told)


def _misread(row: TableRow, header: Sequence[str]) -> str:
    """What a row says that has been split in the wrong places, whose times and label would be others."""
    what = f"has {len(row.cells)} cells under {len(header)} columns" if len(row.cells) > len(header) else "is several"
    return (
        f"{what}: {' | '.join(row.cells)[:80]!r}; text with a comma needs quotation marks, which are closed again, and "
        "decimal commas another delimiter"
    )
