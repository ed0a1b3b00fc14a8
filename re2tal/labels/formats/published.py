"""Data sets as they are published: ActivityNet's JSON, THUMOS-14's and MultiTHUMOS's text, and the JSON of numbered
classes in which MultiTHUMOS and Charades circulate.

Layouts:

* ActivityNet (activity-net.org/download.html): {"database": {id: {"subset", "duration", "annotations": [{"segment":
  [start, end], "label"}]}}}; feature packages write the ids' objects without "database".
* THUMOS-14 (crcv.ucf.edu/THUMOS14): `<class>_val.txt` and `<class>_test.txt` with lines `video start end` in seconds,
  loose or in a zip archive. MultiTHUMOS (ai.stanford.edu/~syyeung/everymoment.html): `<class>.txt` with the same lines.
* Numbered classes (files multithumos.json and charades.json of several detectors' repositories): {id: {"subset",
  "duration", "actions": [[class, start, end]]}}; MultiTHUMOS counts its classes from 1, Charades from 0.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from re2tal.common.untrusted import shown
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, SourceError
from re2tal.labels.subsets import subset_in_name, subset_name
from re2tal.labels.tables import decode
from re2tal.labels.times import Time, TimeError, parse_time

__all__ = [
    "add_segment", "find_thumos_texts", "is_activitynet", "is_multithumos", "is_numbered", "read_activitynet",
    "read_numbered", "read_thumos",
]  # fmt: skip

_THUMOS_LINE = re.compile(r"(?P<video>\S+)\s+(?P<start>\S+)\s+(?P<end>\S+)")
_THUMOS_FILE = re.compile(r"(?P<label>.+?)(?:_(?P<subset>train|training|val|validation|test|testing))?", re.IGNORECASE)
# The challenge trains on what it calls its validation set.
_THUMOS_VIDEO = re.compile(r"video_(?P<part>validation|test)_[0-9]+")
_THUMOS_SUBSETS = {"validation": "training", "test": "testing"}
_LARGEST_TEXT = 64 * 2**20


def is_activitynet(content: Any) -> bool:
    """Whether a JSON value is of ActivityNet's layout."""
    if not isinstance(content, dict):
        return False
    return isinstance(content.get("database"), dict) or _all_have(content, "annotations")


def _all_have(entries: Mapping[str, Any], key: str) -> bool:
    return bool(entries) and all(isinstance(entry, dict) and key in entry for entry in entries.values())


def read_activitynet(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels as annotated; videos without annotations are kept."""
    reading = Reading(path=file.path, format="activitynet")
    database = file.json.get("database", file.json) if isinstance(file.json, dict) else None
    if not isinstance(database, dict):
        raise SourceError(f'{file.path} is not ActivityNet\'s layout: it has no "database" of videos')
    for video_id, entry in database.items():
        where = f"{file.path}, video {video_id!r}"
        if not isinstance(entry, dict) or not isinstance(entry.get("annotations", []), list):
            reading.drop("incomplete entry", where, f"is no object with a list of annotations: {shown(entry)}")
            continue
        told = entry.get("subset")
        subset = subset_name(told) if isinstance(told, str) else None
        seconds, frames = entry.get("duration", entry.get("duration_second")), entry.get("frame")
        reading.tell_length(video_id, seconds, fps=entry.get("fps"))
        if "fps" not in entry and isinstance(frames, int) and video_id in reading.lengths:
            reading.tell_length(video_id, seconds, fps=frames / reading.lengths[video_id].seconds)
        _cover(reading, where, video_id, entry.get("labelled"), subset=subset)
        for row in entry.get("annotations", []):
            add_segment(reading, where, video_id, row, subset=subset)
    return reading


def _cover(reading: Reading, where: str, video_id: str, stretches: Any, *, subset: str | None) -> None:
    """Which part of a video is labelled; all of it where the file does not tell."""
    if stretches is None:
        reading.listed[video_id] = subset
        return
    spans: list[tuple[Time, Time]] = []
    for stretch in stretches if isinstance(stretches, list) else [stretches]:
        try:
            start, end = map(_time, stretch if isinstance(stretch, list) and len(stretch) == 2 else (None, None))
        except TimeError:
            detail = f'"labelled" is a list of [start, end] in seconds, got {shown(stretch)}'
            reading.drop("incomplete entry", where, detail)
            continue
        spans.append((start, end))
    media = (Media(name=video_id),)
    reading.covered.append(Coverage(media=media, stretches=tuple(spans), is_exact=True, subset=subset))


def is_numbered(content: Any) -> bool:
    """Whether a JSON value is of the layout of numbered classes."""
    if not isinstance(content, dict) or not _all_have(content, "actions"):
        return False
    return all(isinstance(entry["actions"], list) for entry in content.values())


def is_multithumos(content: Any) -> bool:
    """Whether a JSON value is of that layout, and its videos are named as in THUMOS-14."""
    return is_numbered(content) and all(map(_THUMOS_VIDEO.fullmatch, content))


def read_numbered(file: SourceFile, options: ReadOptions, *, format_: str) -> Reading:
    """Labels are the names of `options.class_names`; without, `class 7`, and Charades' codes `c007`."""
    if not is_numbered(file.json):
        raise SourceError(f'{file.path} must hold {{id: {{"subset", "duration", "actions": [[class, start, end]]}}}}')
    reading = Reading(path=file.path, format=format_)
    for video_id, entry in file.json.items():
        where = f"{file.path}, video {video_id!r}"
        told = entry.get("subset")
        subset = subset_name(told) if isinstance(told, str) else None
        reading.listed[video_id] = subset
        reading.tell_length(video_id, entry.get("duration"))
        for row in entry["actions"]:
            if not isinstance(row, list) or len(row) != 3 or not isinstance(row[0], int):
                reading.drop("incomplete entry", where, f"an action is [class, start, end], got {shown(row)}")
                continue
            code = f"class {row[0]}" if format_ == "multithumos" else f"c{row[0]:03d}"
            fields = {"label": options.class_names.get(row[0], code), "class": str(row[0])}
            _add(reading, where, video_id, row[1:], fields=fields, subset=subset)
    if not options.class_names:
        reading.notes.append(f"{file.path} numbers its classes; give their names with --classes")
    return reading


def find_thumos_texts(path: Path) -> Iterator[tuple[str, str]]:
    """Names and contents of the text files of a folder or archive whose first lines are `video start end`."""
    if path.is_dir():
        for file in sorted(path.rglob("*.txt")):
            try:
                text = _text_of(file.read_bytes()) if file.is_file() else None
            except OSError as error:
                raise SourceError(f"{file} is not readable: {error}") from None
            if text is not None:
                yield file.relative_to(path).as_posix(), text
        return
    try:
        with zipfile.ZipFile(path) as files:
            for member in sorted(files.infolist(), key=lambda member: member.filename):
                name = member.filename
                if not name.endswith(".txt") or name.startswith("__MACOSX") or member.file_size > _LARGEST_TEXT:
                    continue
                text = _text_of(files.read(member))
                if text is not None:
                    yield name, text
    except Exception as error:  # a damaged or encrypted archive makes its reader fail in any way
        raise SourceError(f"{path} is not a readable zip archive: {error}") from None


def _text_of(raw: bytes) -> str | None:
    try:
        text, _ = decode(raw)
    except SourceError:
        return None
    first = next((line for line in text.splitlines() if line.strip()), "")
    found = _THUMOS_LINE.fullmatch(first.strip())
    if found is None:
        return None
    try:
        parse_time(found["start"])
        parse_time(found["end"])
    except TimeError:
        return None
    return text


def read_thumos(path: Path, texts: Mapping[str, str], *, format_: str | None = None) -> Reading:
    """Labels are the names of the files, without the subset.

    Args:
        path: of the folder or archive.
        texts: contents of the files by name.
        format_: what to call the format; None: by the names of the files.
    """
    stems = {name: PurePosixPath(name).stem for name in texts}
    tells = any(_split_name(stem)[1] is not None for stem in stems.values())
    reading = Reading(path=path, format=format_ or ("thumos" if tells else "multithumos"))
    for name, text in texts.items():
        label, part = _split_name(stems[name])
        told = None if part is None else subset_in_name(part)
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{path}, {name}, line {number}"
            found = _THUMOS_LINE.fullmatch(line.strip())
            if found is None:
                reading.drop("incomplete entry", where, f"expected a video and two times, got {line[:60]!r}")
                continue
            video = found["video"]
            known = _THUMOS_VIDEO.fullmatch(video)
            subset = _THUMOS_SUBSETS[known["part"]] if known else told
            reading.listed.setdefault(video, subset)
            _add(reading, where, video, found.group("start", "end"), fields={"label": label}, subset=subset)
    return reading


def _split_name(stem: str) -> tuple[str, str | None]:
    found = _THUMOS_FILE.fullmatch(stem)
    assert found is not None
    return found["label"], found["subset"]


def add_segment(reading: Reading, where: str, video: str, row: Any, *, subset: str | None = None) -> None:
    """Keep a row of ActivityNet's, {"segment": [start, end], "label", ...}; all of its texts and numbers are fields."""
    segment = row.get("segment") if isinstance(row, dict) else None
    if not isinstance(segment, list) or len(segment) != 2:
        reading.drop("incomplete entry", where, f"an annotation has no segment [start, end]: {shown(row)}")
        return
    fields = {name: str(value) for name, value in row.items() if isinstance(value, (str, int, float))}
    _add(reading, where, video, segment, fields=fields, subset=subset)


def _add(
    reading: Reading, where: str, video: str, times: Sequence[Any], *, fields: Mapping[str, str], subset: str | None
) -> None:
    try:
        start, end = map(_time, times)
    except TimeError as error:
        reading.drop("unparsable time", where, str(error))
        return
    reading.add(where, (Media(name=video),), (start, end), fields, subset=subset)


def _time(value: Any) -> Time:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TimeError(f"a time is a number of seconds, got {shown(value)}")
    return parse_time(value if isinstance(value, str) else repr(value))
