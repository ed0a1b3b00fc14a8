"""The formats of label files, in the order in which a file's content is compared with them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from re2tal.common.untrusted import JsonError, parse_json, shown
from re2tal.labels.boris import boris_header, is_boris_project, read_boris_project, read_boris_table
from re2tal.labels.elan import read_elan
from re2tal.labels.published import is_numbered, is_thumos_name, read_activitynet, read_numbered, read_thumos
from re2tal.labels.records import Reading, ReadOptions, SourceError
from re2tal.labels.spreadsheets import (
    is_charades,
    is_epic_kitchens,
    read_charades_table,
    read_csv,
    read_epic_kitchens,
)
from re2tal.labels.tables import Table, decode, parse_table
from re2tal.labels.via import is_via_project, is_via_table, read_via_project, read_via_table

__all__ = ["LabelFormat", "SourceFile", "find_format"]


class SourceFile:
    """A file of labels, whose content is looked at in the ways that a format asks for."""

    def __init__(self, path: Path, raw: bytes) -> None:
        self.path = path
        self.raw = raw
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
    def json(self) -> Any:
        """The value of a JSON text; None for other texts."""
        if not self.text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
            return None
        try:
            return parse_json(self.text)
        except JsonError as error:
            if self.path.suffix.lower() in (".json", ".boris"):
                raise SourceError(f"{self.path} is not readable JSON: {error}") from None
            return None

    @cached_property
    def table(self) -> Table:
        """The rows of a CSV or TSV file."""
        try:
            return parse_table(self.text)
        except SourceError as error:
            raise SourceError(f"{self.path}: {error}") from None


class LabelFormat(Protocol):
    """A format of label files; one of your own is a class without arguments, or an object, in a file of your own."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of its files, such as ".txt": in a folder, files with these are looked at."""

    def recognises(self, file: SourceFile) -> bool:
        """Whether the content of a file is of this format."""

    def read(self, file: SourceFile, options: ReadOptions) -> Reading:
        """The annotations in a file.

        Raises:
            SourceError: it cannot be read, and why.
        """


@dataclass(frozen=True)
class _Known:
    """One of the formats below."""

    name: str
    view: Literal["raw", "json", "text", "table"]
    """How its content is looked at."""
    is_of_it: Callable[[Any], bool]
    """Whether a content is of this format; never, where nothing but its name tells."""
    reader: Callable[[Path, Any, ReadOptions], Reading]
    suffixes: tuple[str, ...] = ()
    """Those of all formats of the package are looked at, see `read_sources`."""

    def can_be(self, file: SourceFile) -> bool:
        """Whether the file has such a content at all."""
        return self.view == "raw" or (self.view == "json") == (file.json is not None)

    def recognises(self, file: SourceFile) -> bool:
        return self.can_be(file) and self.is_of_it(getattr(file, self.view))

    def read(self, file: SourceFile, options: ReadOptions) -> Reading:
        return self.reader(file.path, getattr(file, self.view), options)


def find_format(file: SourceFile, *, name: str | None = None, own: LabelFormat | None = None) -> LabelFormat:
    """The format of a file.

    Args:
        file: see there.
        name: of the format, if it need not be recognised.
        own: a format that is compared with before all others.

    Raises:
        SourceError: it is of no known format, or not of the one named.
    """
    if own is not None and own.recognises(file):
        return own
    for known in _FORMATS:
        if known.recognises(file) if name is None else known.name == name and known.can_be(file):
            return known
    if name is not None:
        what = f"JSON, which {name} is not" if file.json is not None else f"no file of {name}"
        raise SourceError(f"{file.path} is {what}; leave --format out to have it recognised")
    content = file.json
    found = f"an object with keys {shown(list(content))}" if isinstance(content, dict) else shown(content)
    raise SourceError(
        f"{file.path} is JSON of no known layout ({found}); known are ActivityNet, projects of BORIS and VIA 3, "
        "MultiTHUMOS and Charades"
    )


def _is_xml(raw: bytes) -> bool:
    start = raw[:4096].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return start.startswith((b"<?xml", b"<!DOCTYPE", b"<ANNOTATION_DOCUMENT", b"<!--"))


def _is_activitynet(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    return isinstance(content.get("database"), dict) or _all_have(content.values(), "annotations")


def _all_have(entries: Iterable[Any], key: str) -> bool:
    listed = list(entries)
    return bool(listed) and all(isinstance(entry, dict) and key in entry for entry in listed)


def _is_multithumos(content: Any) -> bool:
    return is_numbered(content) and all(map(is_thumos_name, content))


def _header(table: Table) -> tuple[str, ...]:
    return tuple(table.rows[0].cells) if table.rows else ()


def _never(content: Any) -> bool:
    return False


_FORMATS = (
    _Known("elan", "raw", _is_xml, lambda path, raw, _: read_elan(path, raw)),
    _Known("boris", "json", is_boris_project, lambda path, content, _: read_boris_project(path, content)),
    _Known("via", "json", is_via_project, lambda path, content, _: read_via_project(path, content)),
    _Known("activitynet", "json", _is_activitynet, lambda path, it, told: read_activitynet(path, it, options=told)),
    _Known(
        "multithumos",
        "json",
        _is_multithumos,
        lambda path, it, told: read_numbered(path, it, options=told, format_="multithumos"),
    ),
    _Known(
        "charades",
        "json",
        is_numbered,
        lambda path, it, told: read_numbered(path, it, options=told, format_="charades"),
    ),
    _Known("via", "text", is_via_table, lambda path, text, _: read_via_table(path, text)),
    _Known(
        "thumos", "text", _never, lambda path, text, _: read_thumos(path.parent, {path.name: text}, format_="thumos")
    ),
    _Known(
        "multithumos",
        "text",
        _never,
        lambda path, text, _: read_thumos(path.parent, {path.name: text}, format_="multithumos"),
    ),
    _Known("boris", "table", lambda it: boris_header(it) is not None, lambda path, it, _: read_boris_table(path, it)),
    _Known(
        "epic-kitchens",
        "table",
        lambda it: is_epic_kitchens(_header(it)),
        lambda path, it, told: read_epic_kitchens(path, it, options=told),
    ),
    _Known(
        "charades",
        "table",
        lambda it: is_charades(_header(it)),
        lambda path, it, told: read_charades_table(path, it, options=told),
    ),
    _Known("csv", "table", lambda it: True, lambda path, it, told: read_csv(path, it, options=told)),
)
