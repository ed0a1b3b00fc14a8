"""From files and folders that a user names to what they hold, by the format that their content shows."""

import gzip
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from re2tal.common.extension import ExtensionError, load_object
from re2tal.common.video_files import PassedOver
from re2tal.labels.formats import (
    BY_ENDING,
    LabelFormat,
    SourceFile,
    find_format,
    find_thumos_texts,
    is_workbook,
    read_thumos,
    sheets_of,
    what_bytes_are,
)
from re2tal.labels.records import FORMATS, WORKBOOKS, Problem, Reading, ReadOptions, SourceError

__all__ = ["read_sources"]

_SUFFIXES = (
    ".csv", ".tsv", ".txt", ".tab", ".json", ".eaf", ".boris", ".boris.gz", ".xml", ".anvil", ".srt", ".vtt",
    ".textgrid", ".annot", *WORKBOOKS,
)  # fmt: skip
"""Of files that are looked at in a folder."""
_LARGEST = 512 * 2**20


def read_sources(sources: Sequence[Path], *, format_: str | None, options: ReadOptions) -> list[Reading]:
    """Read every file that is named, and every file of the folders that are named.

    What is named must be readable. A file that was merely found in a folder and is not is noted as a problem; those
    whose ending is of no file of labels are passed over, and a note counts them.

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
        if source.is_dir() or _is_thumos_archive(source):
            readings += _read_folder(source, format_=format_, own=own, options=options)
        else:
            readings += _read_file(source, format_=format_, own=own, options=options)
    return readings


def _is_thumos_archive(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    raw = _bytes_of(path)
    return not is_workbook(raw) and what_bytes_are(raw) is None


def _read_folder(
    folder: Path, *, format_: str | None, own: LabelFormat | None, options: ReadOptions
) -> Iterator[Reading]:
    if own is None and format_ in (None, "thumos", "multithumos"):
        texts = dict(find_thumos_texts(folder))
        if texts:
            reading = read_thumos(folder, texts, format_=format_)
            reading.notes += _others(folder, taken=texts)
            yield reading
            return
    if not folder.is_dir():
        raise SourceError(
            f"{folder} is an archive without text files of THUMOS-14's layout, `video start end`; unpack other formats"
        )
    suffixes = (*_SUFFIXES, *(() if own is None else own.suffixes))
    found, told = _files_in(folder, suffixes=suffixes)
    if not found:
        raise SourceError(f"{folder} holds no annotation files; known endings are {', '.join(suffixes)}; {told}")
    if told:
        yield Reading(path=folder, format="", notes=[told])
    for file in found:
        try:
            yield from _read_file(file, format_=format_, own=own, options=options)
        except SourceError as error:
            problem = Problem(reason="unreadable file", where=str(file), detail=str(error))
            yield Reading(path=file, format=format_ or "csv", problems=[problem])


def _others(folder: Path, *, taken: Collection[str]) -> list[str]:
    """A line on the files of a folder beside those of THUMOS-14's layout."""
    passed_over = PassedOver(BY_ENDING)
    for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if file.is_file() and file.relative_to(folder).as_posix() not in taken and not file.name.startswith("."):
            passed_over.add(file)
    return [f"{passed_over.told(folder)}; the others are of THUMOS-14's layout"] if passed_over else []


def _files_in(folder: Path, *, suffixes: tuple[str, ...]) -> tuple[list[Path], str]:
    """Files that may be of labels, and a line on the others."""
    found: list[Path] = []
    passed_over = PassedOver(BY_ENDING)
    for file in sorted(folder.rglob("*")):
        if file.name.startswith(("~$", ".")) or not file.is_file():  # such as a spreadsheet that is open
            continue
        if file.name.lower().endswith(suffixes):
            found.append(file)
        else:
            passed_over.add(file)
    return found, passed_over.told(folder) if passed_over else ""


def _read_file(path: Path, *, format_: str | None, own: LabelFormat | None, options: ReadOptions) -> list[Reading]:
    raw = _bytes_of(path)
    if not raw.strip():
        raise SourceError(f"{path} is empty")
    file = SourceFile(path, raw)
    if own is not None and _is_own(own, file):
        return [own.read(file, options)]
    if is_workbook(raw):
        return _read_workbook(path, format_=format_, own=own, options=options)
    if (what := what_bytes_are(raw)) is not None:
        raise SourceError(f"{path} is {what}")
    reading = find_format(file, name=format_).read(file, options)
    if file.encoding in ("cp1252", "latin-1"):
        reading.notes.append(
            f"{path} is not in UTF-8; read as Windows' Western European ({file.encoding}); if names look wrong, "
            "save it in UTF-8"
        )
    return [reading]


def _read_workbook(path: Path, *, format_: str | None, own: LabelFormat | None, options: ReadOptions) -> list[Reading]:
    """Every sheet that holds labels; the others are told, and if there is none, why."""
    readings: list[Reading] = []
    refused: dict[str, str] = {}
    for name, table in sheets_of(path):
        sheet = SourceFile(path / name.replace("/", "_"), b"", sheet=table)
        try:
            readings.append(find_format(sheet, name=format_, own=own).read(sheet, options))
        except SourceError as error:
            refused[name] = str(error)
    if not readings:
        first = next(iter(refused.values()), f"{path} has no sheet that holds anything")
        raise SourceError(
            first if len(refused) < 2 else f"none of the {len(refused)} sheets of {path} can be read: {first}"
        )
    if refused:
        name, why = next(iter(refused.items()))
        readings[0].notes.append(f"{len(refused)} sheets of {path} are no labels, such as {name!r}: {why[:300]}")
    return readings


def _is_own(own: LabelFormat, file: SourceFile) -> bool:
    try:
        return own.recognises(file)
    except SourceError:  # it asks for text, and the file is none
        return False


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
