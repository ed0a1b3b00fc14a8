"""From files and folders that a user names to what they hold, by the format that their content shows."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from re2tal.common.extension import ExtensionError, load_object
from re2tal.labels.formats import LabelFormat, SourceFile, find_format
from re2tal.labels.published import find_thumos_texts, read_thumos
from re2tal.labels.records import FORMATS, Problem, Reading, ReadOptions, SourceError

__all__ = ["read_sources"]

_SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".json", ".eaf", ".boris", ".boris.gz")
"""Of files that are looked at in a folder."""
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
_LARGEST = 512 * 2**20


def read_sources(sources: Sequence[Path], *, format_: str | None, options: ReadOptions) -> list[Reading]:
    """Read every file that is named, and every file of the folders that are named.

    What is named must be readable. A file that was merely found in a folder and is not is noted as a problem.

    Args:
        sources: files and folders.
        format_: name of their format, or the source of one's own, "path/to/file.py:Name", which is then recognised by
            the content before the others; None: all are.
        options: what the user says about the files.

    Raises:
        SourceError: a source is absent, unreadable or of no known format.
    """
    own = _own_format(format_) if format_ is not None and format_ not in FORMATS else None
    if own is not None:
        format_ = None
    readings: list[Reading] = []
    for source in sources:
        if not source.exists():
            raise SourceError(f"there is no {source}; give files or folders of annotations")
        if source.name.lower().endswith(_SPREADSHEETS):
            raise SourceError(f"{source} is a spreadsheet; save it as CSV")
        if source.is_dir() or zipfile.is_zipfile(source):
            readings += _read_folder(source, format_=format_, own=own, options=options)
        else:
            readings.append(_read_file(source, format_=format_, own=own, options=options))
    return readings


def _read_folder(
    folder: Path, *, format_: str | None, own: LabelFormat | None, options: ReadOptions
) -> Iterator[Reading]:
    if own is None and format_ in (None, "thumos", "multithumos"):
        texts = dict(find_thumos_texts(folder))
        if texts:
            yield read_thumos(folder, texts, format_=format_)
            return
    if not folder.is_dir():
        raise SourceError(
            f"{folder} is an archive without text files of THUMOS-14's layout, `video start end`; unpack other formats"
        )
    suffixes = (*_SUFFIXES, *(() if own is None else own.suffixes))
    found = [file for file in sorted(folder.rglob("*")) if file.name.lower().endswith(suffixes) and file.is_file()]
    if not found:
        raise SourceError(f"{folder} holds no annotation files; known endings are {', '.join(suffixes)}")
    for file in found:
        try:
            yield _read_file(file, format_=format_, own=own, options=options)
        except SourceError as error:
            problem = Problem(reason="unreadable file", where=str(file), detail=str(error))
            yield Reading(path=file, format=format_ or "csv", problems=[problem])


def _read_file(path: Path, *, format_: str | None, own: LabelFormat | None, options: ReadOptions) -> Reading:
    file = SourceFile(path, _bytes_of(path))
    if not file.raw.strip():
        raise SourceError(f"{path} is empty")
    reading = find_format(file, name=format_, own=own).read(file, options)
    if file.encoding in ("cp1252", "latin-1"):
        reading.notes.append(f"{path} is not in UTF-8; read as Windows' Western European ({file.encoding})")
    return reading


def _own_format(source: str) -> LabelFormat:
    try:
        found = load_object(source)
    except ExtensionError as error:
        raise SourceError(f"--format is one of {', '.join(FORMATS)}, or a format of your own: {error}") from None
    own: LabelFormat = found() if isinstance(found, type) else found
    if missing := [name for name in ("suffixes", "recognises", "read") if not hasattr(own, name)]:
        raise SourceError(f"a format of your own has suffixes, recognises and read, and {source} lacks {missing[0]}")
    return own


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
