"""Spreadsheets: every sheet of Excel's .xlsx, .xlsm, .xlsb and .xls and of OpenDocument's .ods is a table.

They are read in a process of its own: the library that reads them aborts where a damaged or malicious file makes it ask
for more memory than there is, and takes the whole process with it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from re2tal.labels.formats.refused import archived
from re2tal.labels.records import SourceError
from re2tal.labels.tables import Table, TableRow

__all__ = ["is_workbook", "sheets_of"]

_OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OPEN_DOCUMENT = b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet"
_READER = Path(__file__).with_name("workbook_cells.py")
_TOLD = 3
"""Status of the reader where it says what is wrong."""
_MOST_SECONDS = 600


def is_workbook(raw: bytes) -> bool:
    """Whether a file is a spreadsheet."""
    if raw.startswith(_OLD_EXCEL):
        return True
    if not raw.startswith(b"PK\x03\x04"):
        return False
    return _OPEN_DOCUMENT in raw[:200] or any(name.startswith("xl/workbook.") for name in archived(raw))


def sheets_of(path: Path) -> Iterator[tuple[str, Table]]:
    """Names and tables of all sheets that hold anything; cells as people would type them.

    Raises:
        SourceError: it cannot be read, and why.
    """
    command = [sys.executable, "-P", str(_READER), str(path.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_MOST_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"{path} cannot be read: {str(error)[-200:]}; save it as CSV") from None
    if done.returncode:
        told = (
            done.stderr.decode(errors="replace").strip()[:200] if done.returncode == _TOLD else "it is damaged or huge"
        )
        raise SourceError(f"{path} is no readable spreadsheet: {told}; save it again, without a password, or as CSV")
    for line in done.stdout.splitlines():
        name, rows = json.loads(line)
        if rows:
            yield name, Table(rows=tuple(TableRow(line=number, cells=tuple(cells)) for number, cells in rows))
