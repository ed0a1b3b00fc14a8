"""Tables as CSV files that spreadsheets and statistics programs open alike."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from re2tal.common.atomic import atomic_text
from re2tal.common.untrusted import spreadsheet_safe

__all__ = ["write_csv"]

_DECIMALS = 6


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> None:
    """Write a table, whole or not at all, in UTF-8 with commas and decimal points; None is an empty cell.

    The file begins with a byte order mark if it holds more than ASCII, and only then: Excel needs it to read other
    letters, and programs that would take it for a part of the first heading are spared it where it is of no use.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows([_cell(value) for value in row] for row in rows)
    content = text.getvalue()
    with atomic_text(path) as file:
        file.write(content if content.isascii() else f"\ufeff{content}")


def _cell(value: str | float | None) -> str | int:
    if isinstance(value, str):
        return spreadsheet_safe(value)
    if value is None or value != value:
        return ""
    return value if isinstance(value, int) else f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")
