"""The table of formats, in the order in which a file's content is compared with them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol
from xml.etree.ElementTree import Element

from re2tal.common.untrusted import JsonError, parse_json, shown
from re2tal.labels.formats.anvil import is_anvil, read_anvil
from re2tal.labels.formats.ava import is_ava, read_ava
from re2tal.labels.formats.bento import is_bento, read_bento
from re2tal.labels.formats.boris import boris_header, is_boris_project, read_boris_project, read_boris_table
from re2tal.labels.formats.calms21 import is_calms21, read_calms21
from re2tal.labels.formats.cvat import is_cvat, read_cvat
from re2tal.labels.formats.ego4d import is_ego4d, read_ego4d
from re2tal.labels.formats.elan import read_elan
from re2tal.labels.formats.label_studio import is_label_studio, read_label_studio
from re2tal.labels.formats.noldus import is_ethovision, is_observer, read_ethovision, read_observer
from re2tal.labels.formats.per_frame import is_per_frame, read_per_frame
from re2tal.labels.formats.predictions import is_detections, read_detections
from re2tal.labels.formats.published import is_numbered, is_thumos_name, read_activitynet, read_numbered, read_thumos
from re2tal.labels.formats.refused import what_json_is, what_table_is, what_text_is
from re2tal.labels.formats.safe_xml import is_xml, parse_xml
from re2tal.labels.formats.soccernet import is_soccernet, read_soccernet
from re2tal.labels.formats.speech import is_audacity, is_textgrid, read_audacity, read_textgrid
from re2tal.labels.formats.spreadsheets import (
    is_charades,
    is_epic_kitchens,
    read_charades_table,
    read_csv,
    read_epic_kitchens,
)
from re2tal.labels.formats.subtitles import is_srt, is_vtt, read_subtitles
from re2tal.labels.formats.via import is_via_project, is_via_table, read_via_project, read_via_table
from re2tal.labels.formats.via2 import is_via2_json, is_via2_table, read_via2_json, read_via2_table
from re2tal.labels.records import Reading, ReadOptions, SourceError
from re2tal.labels.tables import (
    HEAD_ROWS,
    Table,
    TableRow,
    choose_delimiter,
    decode,
    parse_head,
    parse_table,
    table_rows,
)

__all__ = ["KNOWN", "LabelFormat", "SourceFile", "find_format"]


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
        return self.sheet or self._parsed(parse_table)

    @cached_property
    def head(self) -> Table:
        """The first rows of the table."""
        if self.sheet is not None:
            return Table(rows=self.sheet.rows[:HEAD_ROWS], delimiter=self.sheet.delimiter)
        return self._parsed(parse_head)

    def rows(self) -> Iterator[TableRow]:
        """The rows of the table one after the other: one of every frame may be larger than memory likes."""
        if self.sheet is not None:
            yield from self.sheet.rows
            return
        try:
            yield from table_rows(self.text, delimiter=choose_delimiter(self.text))
        except SourceError as error:
            raise SourceError(f"{self.path}: {error}") from None

    def _parsed(self, parse: Callable[[str], Table]) -> Table:
        try:
            return parse(self.text)
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


View = Literal["xml", "json", "text", "head"]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """One of the formats below."""

    name: str
    view: View
    """How its content is looked at."""
    is_of_it: Callable[[Any], bool]
    """Whether a content is of this format; never, where nothing but its name tells."""
    reader: Callable[[SourceFile, ReadOptions], Reading]
    suffixes: tuple[str, ...] = ()
    """Those of all formats of the package are looked at, see `read_sources`."""

    def can_be(self, file: SourceFile) -> bool:
        """Whether the file has such a content at all."""
        if file.sheet is not None:
            return self.view == "head"
        return self.view == "xml" or (self.view == "json") == (file.json is not None)

    def recognises(self, file: SourceFile) -> bool:
        if (self.view == "xml") != (file.sheet is None and is_xml(file.raw)):
            return False
        return self.can_be(file) and self.is_of_it(getattr(file, self.view))

    def read(self, file: SourceFile, options: ReadOptions) -> Reading:
        return self.reader(file, options)


def find_format(file: SourceFile, *, name: str | None = None, own: LabelFormat | None = None) -> LabelFormat:
    """The format of a file.

    Args:
        file: see there.
        name: of the format, if it need not be recognised.
        own: a format that is compared with before all others.

    Raises:
        SourceError: it is of no known format, or not of the one named; says what it is instead if that is known.
    """
    if own is not None and own.recognises(file):
        return own
    if name is not None:
        return _named(file, name)
    for known in KNOWN:
        if known.recognises(file):
            return known
    if file.sheet is None and is_xml(file.raw):
        if file.xml.tag == "View":
            raise SourceError(f"{file.path} is a labelling interface of Label Studio; its labels are exported as JSON")
        raise SourceError(
            f"{file.path} is XML of no known layout (its root is <{file.xml.tag[:40]}>); known are ELAN, CVAT and Anvil"
        )
    content = file.json
    if content is None:
        what = (None if file.sheet is not None else what_text_is(file.text)) or what_table_is(file.head)
        if what is not None:
            raise SourceError(f"{file.path} is {what}")
        return _CSV
    if (what := what_json_is(content)) is not None:
        raise SourceError(f"{file.path} is {what}")
    found = f"an object with keys {shown(list(content))}" if isinstance(content, dict) else shown(content)
    raise SourceError(
        f"{file.path} is JSON of no known layout ({found}); known are ActivityNet, detections, projects of BORIS and "
        "VIA, Label Studio, SoccerNet, Ego4D, CalMS21, MultiTHUMOS and Charades"
    )


def _named(file: SourceFile, name: str) -> LabelFormat:
    """The format that the user says it is; of several layouts the one that the content shows, else the last."""
    candidates = [known for known in (*KNOWN, _CSV) if known.name == name and known.can_be(file)]
    if candidates:
        return next((known for known in candidates if known.recognises(file)), candidates[-1])
    what = f"JSON, which {name} is not" if file.sheet is None and file.json is not None else f"no file of {name}"
    raise SourceError(f"{file.path} is {what}; leave --format out to have it recognised")


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


def _known(
    name: str, view: View, is_of_it: Callable[[Any], bool], reader: Callable[[SourceFile, ReadOptions], Reading]
) -> _Known:
    return _Known(name=name, view=view, is_of_it=is_of_it, reader=reader)


def _numbered(name: str) -> Callable[[SourceFile, ReadOptions], Reading]:
    return lambda file, told: read_numbered(file.path, file.json, options=told, format_=name)


def _thumos(name: str) -> Callable[[SourceFile, ReadOptions], Reading]:
    return lambda file, _: read_thumos(file.path.parent, {file.path.name: file.text}, format_=name)


KNOWN = (
    _known("elan", "xml", lambda root: root.tag == "ANNOTATION_DOCUMENT", lambda it, _: read_elan(it.path, it.xml)),
    _known("cvat", "xml", is_cvat, lambda it, _: read_cvat(it.path, it.xml)),
    _known("anvil", "xml", is_anvil, lambda it, _: read_anvil(it.path, it.xml)),
    _known("boris", "json", is_boris_project, lambda it, told: read_boris_project(it.path, it.json, told)),
    _known("via", "json", is_via_project, lambda it, _: read_via_project(it.path, it.json)),
    _known("via2", "json", is_via2_json, lambda it, _: read_via2_json(it.path, it.json)),
    _known("label-studio", "json", is_label_studio, lambda it, _: read_label_studio(it.path, it.json)),
    _known("ego4d", "json", is_ego4d, lambda it, _: read_ego4d(it.path, it.json)),
    _known("soccernet", "json", is_soccernet, lambda it, _: read_soccernet(it.path, it.json)),
    _known("detections", "json", is_detections, lambda it, _: read_detections(it.path, it.json)),
    _known("calms21", "json", is_calms21, lambda it, told: read_calms21(it.path, it.json, options=told)),
    _known("activitynet", "json", _is_activitynet, lambda it, told: read_activitynet(it.path, it.json, options=told)),
    _known("multithumos", "json", _is_multithumos, _numbered("multithumos")),
    _known("charades", "json", is_numbered, _numbered("charades")),
    _known("via", "text", is_via_table, lambda it, _: read_via_table(it.path, it.text)),
    _known("vtt", "text", is_vtt, lambda it, _: read_subtitles(it.path, it.text)),
    _known("srt", "text", is_srt, lambda it, _: read_subtitles(it.path, it.text)),
    _known("textgrid", "text", is_textgrid, lambda it, _: read_textgrid(it.path, it.text)),
    _known("bento", "text", is_bento, lambda it, _: read_bento(it.path, it.text)),
    _known("audacity", "text", is_audacity, lambda it, _: read_audacity(it.path, it.text)),
    _known("thumos", "text", _never, _thumos("thumos")),
    _known("multithumos", "text", _never, _thumos("multithumos")),
    _known("ethovision", "head", is_ethovision, lambda it, _: read_ethovision(it.path, it.table)),
    _known("observer", "head", is_observer, lambda it, _: read_observer(it.path, it.table)),
    _known("via2", "head", is_via2_table, lambda it, _: read_via2_table(it.path, it.table)),
    _known(
        "boris",
        "head",
        lambda it: boris_header(it) is not None,
        lambda it, told: read_boris_table(it.path, it.table, told),
    ),
    _known(
        "epic-kitchens",
        "head",
        lambda it: is_epic_kitchens(_header(it)),
        lambda it, told: read_epic_kitchens(it.path, it.table, options=told),
    ),
    _known(
        "charades",
        "head",
        lambda it: is_charades(_header(it)),
        lambda it, told: read_charades_table(it.path, it.table, options=told),
    ),
    _known("ava", "head", is_ava, lambda it, told: read_ava(it.path, it.table, options=told)),
    _known(
        "per-frame",
        "head",
        lambda it: what_table_is(it) is None and is_per_frame(it),
        lambda it, _: read_per_frame(it.path, it.rows()),
    ),
)
_CSV = _known("csv", "head", lambda it: True, lambda it, told: read_csv(it.path, it.table, options=told))
"""Any table that is of no other format."""
