"""Text files and tables of unknown encoding and delimiter."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

from re2tal.labels.records import SourceError

__all__ = ["Table", "TableRow", "decode", "table_rows"]

_END = "\x1aend of table"
_SEP = re.compile(r"sep=(?P<delimiter>[\t;,|])(?:\r\n|\r|\n)")
_DELIMITERS = "\t;,|"
_SAMPLE_LINES, _SAMPLE_LETTERS = 50, 2**20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row of a table."""

    line: int
    """Of the file, counted from 1; where the row ends."""
    cells: tuple[str, ...]

    @property
    def is_blank(self) -> bool:
        """Nothing but spaces."""
        return not any(cell.strip() for cell in self.cells)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of a delimited text or a sheet; blank ones are left out."""

    rows: tuple[TableRow, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What stands in the first row, mostly the names of the columns."""
        return tuple(cell.strip() for cell in self.rows[0].cells) if self.rows else ()

    def entries(self) -> Iterator[tuple[int, dict[str, str]]]:
        """The line and the cells of each row after the first, by the names there; "" where a row ends before."""
        names = self.names
        for row in self.rows[1:]:
            cells = (cell.strip() for cell in row.cells)
            yield row.line, {name: cell for name, cell in zip_longest(names, cells, fillvalue="") if name}


def decode(raw: bytes) -> tuple[str, str]:
    """A text and its encoding: as its byte order mark says, else UTF-8, else Windows' Western European or Latin-1."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            try:
                return raw.decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise SourceError(f"begins as {encoding}, but is not: {error}") from None
    if b"\0" in raw:
        raise SourceError("is not a text file: it holds zero bytes; export it as CSV in UTF-8")
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1"), "latin-1"


def table_rows(text: str) -> Iterator[TableRow]:
    """The rows of a delimited text, one after the other; blank ones are left out."""
    # A last line of our own shows whether a quotation mark is left open, which would swallow all that follows it.
    lines = chain(io.StringIO(_without_sep(text), newline=""), [_END])
    reader = csv.reader(lines, delimiter=_delimiter(text))
    begin = 1
    try:
        for cells in reader:
            if cells and cells[-1].endswith(_END):
                if len(cells) > 1 or cells[0] != _END:
                    raise SourceError(f"a quotation mark in line {begin} is not closed; close it, or take it out")
                return
            row = TableRow(line=reader.line_num, cells=tuple(cells))
            begin = reader.line_num + 1
            if not row.is_blank:
                yield row
    except csv.Error as error:
        raise SourceError(f"line {reader.line_num} is not part of a table: {error}") from None


def _without_sep(text: str) -> str:
    """Without the line by which spreadsheets tell themselves the delimiter; the numbers of the others stay."""
    found = _SEP.match(text)
    return text if found is None else "\n" + text[found.end() :]


def _delimiter(text: str) -> str:
    """The one that gives the most columns, the same in most lines."""
    if found := _SEP.match(text):
        return found["delimiter"]
    sample = io.StringIO(text[:_SAMPLE_LETTERS], newline="")
    lines = [line for line in islice(sample, _SAMPLE_LINES) if line.strip()]

    def fit(delimiter: str) -> tuple[float, int]:
        widths = _widths(lines, delimiter)
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        return (count / widths.total(), width) if width > 1 else (0.0, 1)

    return max(_DELIMITERS, key=fit)  # the first of equals


def _widths(lines: Sequence[str], delimiter: str) -> Counter[int]:
    try:
        return Counter(len(cells) for cells in csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return Counter()
