"""Spreadsheets: every sheet of Excel's .xlsx, .xlsm, .xlsb and .xls and of OpenDocument's .ods is a table."""

import re
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from re2tal.labels.records import SourceError
from re2tal.labels.tables import Table, TableRow

__all__ = ["is_workbook", "sheets_of"]

_OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OPEN_DOCUMENT = b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet"
_MOST_BYTES = 2**31
"""That the parts of a workbook may unpack to."""
_DURATION = re.compile(r"PT(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?")


def is_workbook(raw: bytes) -> bool:
    """Whether a file is a spreadsheet."""
    if raw.startswith(_OLD_EXCEL):
        return True
    if not raw.startswith(b"PK\x03\x04"):
        return False
    return _OPEN_DOCUMENT in raw[:200] or any(name.startswith("xl/workbook.") for name in _sizes(raw))


def _sizes(raw: bytes) -> dict[str, int]:
    try:
        with zipfile.ZipFile(BytesIO(raw)) as files:
            return {member.filename: member.file_size for member in files.infolist()[:100_000]}
    except Exception:  # a damaged archive makes its reader fail in any way
        return {}


def sheets_of(path: Path, raw: bytes) -> Iterator[tuple[str, Table]]:
    """Names and tables of all sheets that hold anything; cells as people would type them.

    Raises:
        SourceError: it cannot be read, and why.
    """
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    if sum(_sizes(raw).values()) > _MOST_BYTES:
        raise SourceError(f"{path} unpacks to more than {_MOST_BYTES >> 20} MiB, which annotations are not")
    try:
        with CalamineWorkbook.from_object(BytesIO(raw)) as book:
            for name in book.sheet_names:
                cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
                rows = [TableRow(line=line, cells=tuple(map(_text, row))) for line, row in enumerate(cells, start=1)]
                table = Table(rows=tuple(row for row in rows if not row.is_blank), delimiter="\t")
                if table.rows:
                    yield name, table
    except PasswordError:
        raise SourceError(f"{path} is locked with a password; save it without one") from None
    except (CalamineError, OSError, ValueError, KeyError) as error:
        raise SourceError(f"{path} is no readable spreadsheet: {str(error)[:200]}; save it again, or as CSV") from None


def _text(value: Any) -> str:
    """Whole numbers without a point, and times of day, by which spreadsheets keep what is typed as 0:01:30, as such."""
    match value:
        case bool():
            return str(int(value))
        case float() | int():
            return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)
        case datetime() | date():
            return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
        case time():
            return _clock(value.hour * 3600 + value.minute * 60 + value.second, value.microsecond)
        case timedelta():
            sign = "-" if value < timedelta(0) else ""
            value = abs(value)
            return sign + _clock(value.days * 86400 + value.seconds, value.microseconds)
    text = str(value)
    found = _DURATION.fullmatch(text)
    if found and len(text) > 2:  # as OpenDocument keeps more than a day
        seconds = int(found["hours"] or 0) * 3600 + int(found["minutes"] or 0) * 60
        return _clock(seconds, round(float(found["seconds"] or 0) * 1e6))
    return text


def _clock(seconds: int, microseconds: int) -> str:
    seconds, microseconds = seconds + microseconds // 10**6, microseconds % 10**6
    fraction = f".{microseconds:06d}".rstrip("0") if microseconds else ""
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
