"""From files and folders that a user names to what they hold, by the format that their content shows."""

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from re2tal.common.untrusted import JsonError, parse_json, shown
from re2tal.labels.boris import boris_header, is_boris_project, read_boris_project, read_boris_table
from re2tal.labels.elan import read_elan
from re2tal.labels.published import find_thumos_texts, is_numbered, read_activitynet, read_numbered, read_thumos
from re2tal.labels.records import Format, Problem, Reading, ReadOptions, SourceError
from re2tal.labels.spreadsheets import (
    is_charades,
    is_epic_kitchens,
    read_charades_table,
    read_csv,
    read_epic_kitchens,
)
from re2tal.labels.tables import Table, decode, parse_table
from re2tal.labels.via import is_via_project, is_via_table, read_via_project, read_via_table

__all__ = ["read_sources"]

_SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".json", ".eaf", ".boris", ".boris.gz")
"""Of files that are looked at in a folder."""
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
_LARGEST = 512 * 2**20


def read_sources(sources: Sequence[Path], *, format_: Format | None, options: ReadOptions) -> list[Reading]:
    """Read every file that is named, and every file of the folders that are named.

    What is named must be readable. A file that was merely found in a folder and is not is noted as a problem.

    Raises:
        SourceError: a source is absent, unreadable or of no known format.
    """
    readings: list[Reading] = []
    for source in sources:
        if not source.exists():
            raise SourceError(f"there is no {source}; give files or folders of annotations")
        if source.name.lower().endswith(_SPREADSHEETS):
            raise SourceError(f"{source} is a spreadsheet; save it as CSV")
        if source.is_dir() or zipfile.is_zipfile(source):
            readings += _read_folder(source, format_=format_, options=options)
        else:
            readings.append(_read_file(source, format_=format_, options=options))
    return readings


def _read_folder(folder: Path, *, format_: Format | None, options: ReadOptions) -> Iterator[Reading]:
    if format_ in (None, "thumos", "multithumos"):
        texts = dict(find_thumos_texts(folder))
        if texts:
            yield read_thumos(folder, texts, format_=format_)
            return
    if not folder.is_dir():
        raise SourceError(
            f"{folder} is an archive without text files of THUMOS-14's layout, `video start end`; unpack other formats"
        )
    found = [file for file in sorted(folder.rglob("*")) if file.name.lower().endswith(_SUFFIXES) and file.is_file()]
    if not found:
        raise SourceError(f"{folder} holds no annotation files; known endings are {', '.join(_SUFFIXES)}")
    for file in found:
        try:
            yield _read_file(file, format_=format_, options=options)
        except SourceError as error:
            problem = Problem(reason="unreadable file", where=str(file), detail=str(error))
            yield Reading(path=file, format=format_ or "csv", problems=[problem])


def _read_file(path: Path, *, format_: Format | None, options: ReadOptions) -> Reading:
    raw = _bytes_of(path)
    if not raw.strip():
        raise SourceError(f"{path} is empty")
    if format_ == "elan" or (format_ is None and _is_xml(raw)):
        return read_elan(path, raw)
    try:
        text, encoding = decode(raw)
    except SourceError as error:
        raise SourceError(f"{path} {error}") from None
    content = _json_of(text, path=path)
    if content is not None:
        reading = _read_json(path, content, format_=format_, options=options)
    else:
        reading = _read_text(path, text, format_=format_, options=options)
    if encoding in ("cp1252", "latin-1"):
        reading.notes.append(f"{path} is not in UTF-8; read as Windows' Western European ({encoding})")
    return reading


def _bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise SourceError(f"{path} is larger than {_LARGEST >> 20} MiB, which annotations are not")
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":  # a packed project of BORIS
            with gzip.open(path) as file:
                raw = file.read(_LARGEST + 1)
            if len(raw) > _LARGEST:
                raise SourceError(f"{path} unpacks to more than {_LARGEST >> 20} MiB, which annotations are not")
        return raw
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} is not readable: {error}") from None


def _is_xml(raw: bytes) -> bool:
    start = raw[:4096].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return start.startswith((b"<?xml", b"<!DOCTYPE", b"<ANNOTATION_DOCUMENT", b"<!--"))


def _json_of(text: str, *, path: Path) -> Any:
    """The value of a JSON text; None for other texts."""
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return None
    try:
        return parse_json(text)
    except JsonError as error:
        if path.suffix.lower() in (".json", ".boris"):
            raise SourceError(f"{path} is not readable JSON: {error}") from None
        return None


def _read_json(path: Path, content: Any, *, format_: Format | None, options: ReadOptions) -> Reading:
    match format_ or _format_of_json(content):
        case "activitynet":
            return read_activitynet(path, content, options=options)
        case "boris":
            return read_boris_project(path, content)
        case "via":
            return read_via_project(path, content)
        case "multithumos" | "charades":
            return read_numbered(path, content, options=options, format_=format_)
        case None:
            found = f"an object with keys {shown(list(content))}" if isinstance(content, dict) else shown(content)
            raise SourceError(
                f"{path} is JSON of no known layout ({found}); known are ActivityNet, projects of BORIS and VIA 3, "
                "MultiTHUMOS and Charades"
            )
        case other:
            raise SourceError(f"{path} is JSON, which {other} is not; leave --format out to have it recognised")


def _format_of_json(content: Any) -> Format | None:
    if is_boris_project(content):
        return "boris"
    if is_via_project(content):
        return "via"
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("database"), dict) or _all_have(content.values(), "annotations"):
        return "activitynet"
    return "charades" if is_numbered(content) else None  # its reader tells MultiTHUMOS apart


def _all_have(entries: Iterable[Any], key: str) -> bool:
    listed = list(entries)
    return bool(listed) and all(isinstance(entry, dict) and key in entry for entry in listed)


def _read_text(path: Path, text: str, *, format_: Format | None, options: ReadOptions) -> Reading:
    if format_ == "via" or (format_ is None and is_via_table(text)):
        return read_via_table(path, text)
    if format_ in ("thumos", "multithumos"):
        return read_thumos(path.parent, {path.name: text}, format_=format_)
    try:
        table = parse_table(text)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    match format_ or _format_of_table(table):
        case "boris":
            return read_boris_table(path, table)
        case "epic-kitchens":
            return read_epic_kitchens(path, table, options=options)
        case "charades":
            return read_charades_table(path, table, options=options)
        case "csv":
            return read_csv(path, table, options=options)
        case other:
            raise SourceError(f"{path} is no file of {other}; leave --format out to have it recognised")


def _format_of_table(table: Table) -> Format:
    header = table.rows[0].cells if table.rows else ()
    if boris_header(table) is not None:
        return "boris"
    if is_epic_kitchens(header):
        return "epic-kitchens"
    return "charades" if is_charades(header) else "csv"
