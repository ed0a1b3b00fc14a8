"""Writes the cells of a spreadsheet as JSON; a program of its own, see `workbooks`.

    python workbook_cells.py FILE

One line for each sheet, [name, [[number of the row, [text of each cell]]]], without what is empty. Ends with status 3
and one line on what is wrong where the file is no spreadsheet that can be read.
"""

import json
import re
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

_MOST_CELLS = 50_000_000
_MOST_BYTES = 8 * 2**30
"""Of memory. A cell in the far corner of a sheet makes the reader take room for all cells before it."""
_DURATION = re.compile(r"PT(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?")


def main(path: str) -> None:
    """Read a file and write to standard output."""
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    _limit_memory()
    try:
        with open(path, "rb") as file, CalamineWorkbook.from_filelike(file) as book:  # noqa: PTH123  # by its content
            for name in book.sheet_names:
                print(json.dumps([name, list(_rows(book.get_sheet_by_name(name)))]))
    except PasswordError:
        _end("it is locked with a password")
    except (CalamineError, OSError, ValueError, KeyError) as error:
        _end(str(error))


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or hard > _MOST_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, hard))


def _end(message: str) -> None:
    print(" ".join(message.split())[:200], file=sys.stderr)
    sys.exit(3)


def _rows(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    if sheet.total_height * sheet.total_width > _MOST_CELLS:
        _end(f"sheet {sheet.name!r} has {sheet.total_height} x {sheet.total_width} cells")
    table = sheet.to_python(skip_empty_area=False)
    for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():  # of which only the first cell has the value
        if left == right and top < len(table):  # a title across columns stands once
            for row in table[top + 1 : bottom + 1]:
                row[left] = table[top][left]
    for number, row in enumerate(table, start=1):
        cells = list(map(_text, row))
        while cells and not cells[-1].strip():
            cells.pop()
        if cells:
            yield number, cells


def _text(value: Any) -> str:
    """Whole numbers without a point, and times of day, by which spreadsheets keep what is typed as 0:01:30, as such."""
    match value:
        case bool():
            return str(int(value))
        case float() | int():
            return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(value)
        case datetime():
            return value.isoformat(sep=" ")
        case date():
            return value.isoformat()
        case time():
            return _clock(value.hour * 3600 + value.minute * 60 + value.second, value.microsecond)
        case timedelta():
            sign, length = ("-", -value) if value < timedelta(0) else ("", value)
            return sign + _clock(length.days * 86400 + length.seconds, length.microseconds)
    text = str(value)
    found = _DURATION.fullmatch(text)
    if found and len(text) > len("PT"):  # as OpenDocument keeps more than a day
        minutes = int(found["hours"] or 0) * 60 + int(found["minutes"] or 0)
        seconds, microseconds = divmod(round(float(found["seconds"] or 0) * 1e6), 10**6)
        return _clock(minutes * 60 + seconds, microseconds)
    return text


def _clock(seconds: int, microseconds: int) -> str:
    fraction = f".{microseconds:06d}".rstrip("0") if microseconds else ""
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


if __name__ == "__main__":
    main(sys.argv[1])
