"""A file of labels, looked at as whatever it may be."""

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from re2tal.common.untrusted import JsonError, parse_json
from re2tal.labels.formats.refused import what_text_is
from re2tal.labels.formats.safe_xml import parse_xml
from re2tal.labels.records import SourceError
from re2tal.labels.tables import Table, TableRow, decode, table_rows

__all__ = ["HEAD_ROWS", "SourceFile"]

HEAD_ROWS = 200


class SourceFile:
    """A file of labels, or a sheet of a workbook, whose content is looked at in the ways that a format asks for."""

    def __init__(self, path: Path, raw: bytes, *, sheet: Table | None = None) -> None:
        self.path = path
        """Of a sheet, that of the workbook and the name of the sheet."""
        self.raw = raw
        self.sheet = sheet
        self.encoding: str | None = None
        """Of the text, once that has been asked for."""

    @cached_property
    def text(self) -> str:
        """The content as text."""
        try:
            text, self.encoding = decode(self.raw)
        except SourceError as error:
            raise SourceError(f"{self.path} {error}") from None
        return text

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, without a byte order mark."""
        return self.text.lstrip("\ufeff").splitlines()

    @cached_property
    def json(self) -> Any:
        """The value of a JSON text; None for other texts."""
        if self.sheet is not None or not self.text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
            return None
        try:
            return parse_json(self.text)
        except JsonError as error:
            if self.path.suffix.lower() in (".json", ".boris") and what_text_is(self.text) is None:
                raise SourceError(f"{self.path} is not readable JSON: {error}") from None
            return None

    @cached_property
    def xml(self) -> Element:
        """The root of an XML document."""
        return parse_xml(self.raw, path=self.path)

    @cached_property
    def table(self) -> Table:
        """The rows of a CSV or TSV file, or of a sheet."""
        return self.sheet or Table(rows=tuple(self.rows()))

    @cached_property
    def head(self) -> Table:
        """The first rows of the table."""
        return Table(rows=tuple(islice(self.rows(), HEAD_ROWS)))

    def rows(self) -> Iterator[TableRow]:
        """The rows of the table one after the other: one of every frame may be larger than memory likes."""
        try:
            yield from table_rows(self.text) if self.sheet is None else self.sheet.rows
        except SourceError as error:
            raise SourceError(f"{self.path}: {error}") from None
