"""Tables as CSV files that spreadsheets and statistics programs open alike."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from re2tal.common.atomic import atomic_text

__all__ = ["harmless", "write_csv"]

# What a spreadsheet takes for the beginning of a formula, full-width forms included.
_FORMULA_STARTS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DECIMALS = 6


def harmless(text: str) -> str:
    """`text` on one line, with an apostrophe in front if a spreadsheet would run it as a formula."""
    text = _CONTROL.sub(" ", text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA_STARTS) else text


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
        return harmless(value)
    if value is None or value != value:
        return ""
    return value if isinstance(value, int) else f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")
