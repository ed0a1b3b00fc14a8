"""VIA 3, the VGG Image Annotator for video: its projects and both of its CSV exports.

Layouts (gitlab.com/vgg/via, via-3.x.y: CodeDoc.md and src/js/_via_import_export.js):

* Project, JSON: `attribute` {id: {"aname", "anchor_id", "type", "options"}}, `file` {id: {"fname", "src"}}, `view`
  {id: {"fid_list"}}, `metadata` {id: {"vid", "z", "xy", "av"}}. Two times in `z` and nothing in `xy` are a temporal
  segment in seconds, one time is a still frame; `av` gives values by attribute, which for choices are ids of options.
* CSV: lines of comments, of which `# CSV_HEADER = ` names the columns and `# ATTRIBUTE = ` repeats the attributes;
  either metadata_id, file_list, flags, temporal_coordinates, spatial_coordinates, metadata; or metadata_id, file_list,
  temporal_segment_start, temporal_segment_end, metadata, with names of attributes in the last.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from re2tal.common.untrusted import JsonError, parse_json, shown
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Media, Reading, ReadOptions, SourceError
from re2tal.labels.times import number_of

__all__ = ["is_via_project", "is_via_table", "read_via_project", "read_via_table"]

_PARTS = ("attribute", "file", "view", "metadata")
_SEGMENT_ANCHOR = "FILE1_Z2_XY0"
_ABOUT_LABELS = ("score", "annotator")
"""Attributes that are no part of the label where there are others; `re2tal export` writes them."""
_CHECKBOX = 2
_MOST_LABELS = 1000
"""Combinations of boxes of one segment; a few boxes of several attributes make more than any memory holds."""
_HEADER_MARK = "# CSV_HEADER"


def is_via_project(content: Any) -> bool:
    """Whether a JSON value is a project of VIA 3."""
    return isinstance(content, dict) and content.keys() >= set(_PARTS)


def is_via_table(text: str) -> bool:
    """Whether a text is a CSV export of VIA 3."""
    return text.startswith(("# Exported using VGG Image Annotator", _HEADER_MARK))


def read_via_project(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the values of the attributes of temporal segments; fields are all attributes by name."""
    path, content = file.path, file.json
    if not is_via_project(content) or not all(isinstance(content[name], dict) for name in _PARTS):
        raise SourceError(f'{path} is no project of VIA 3: it lacks "attribute", "file", "view" or "metadata"')
    attributes = _attributes(content["attribute"])
    reading = Reading(path=path, format="via", label_fields=_label_fields(attributes))
    files_of = {name: _files(content, view) for name, view in content["view"].items()}
    for media in files_of.values():
        if media:
            reading.listed.setdefault(media[0].name, None)
    for key, item in content["metadata"].items():
        where = f"{path}, metadata {key!r}"
        if not isinstance(item, dict):
            reading.drop("incomplete entry", where, f"is no object: {shown(item)}")
            continue
        media = files_of.get(str(item.get("vid")), ())
        times, region, values = item.get("z"), item.get("xy"), item.get("av")
        _add(reading, where, media=media, times=times, region=region, values=values, attributes=attributes)
    return reading


def read_via_table(file: SourceFile, options: ReadOptions) -> Reading:
    """The temporal segments of a table that VIA has exported."""
    path, lines = file.path, file.text.splitlines(keepends=True)
    comments = {
        name.strip(): value.strip()
        for name, sign, value in (line.lstrip("# ").partition("=") for line in lines if line.startswith("#"))
        if sign
    }
    if "CSV_HEADER" not in comments:
        raise SourceError(f'{path} is no CSV file of VIA 3: it has no line "{_HEADER_MARK} = "')
    header = [name.strip() for name in comments["CSV_HEADER"].split(",") if name.strip()]
    # Older exports name the attributes and no more; without their options, choices stay numbers.
    attributes = _attributes(_json(comments.get("ATTRIBUTE") or comments.get("ATTRIBUTES")) or {})
    reading = Reading(path=path, format="via", label_fields=_label_fields(attributes))
    reader = csv.reader(io.StringIO("".join("\n" if line.startswith("#") else line for line in lines), newline=""))
    for cells in _rows(reader, path=path):
        if not any(cells):
            continue
        where = f"{path}, line {reader.line_num}"
        row = dict(zip(header, cells, strict=False))
        names = _json(row.get("file_list"))
        if not isinstance(names, list):
            reading.drop("incomplete entry", where, f"has no list of files: {row.get('file_list')!r:.60}")
            continue
        if "temporal_coordinates" in row:
            times: Any = _json(row["temporal_coordinates"])
        else:
            times = [_json(row.get(name)) for name in ("temporal_segment_start", "temporal_segment_end")]
        media = tuple(Media(name=str(name)) for name in names)
        if media:
            reading.listed.setdefault(media[0].name, None)
        values = _json(row.get("metadata"))
        if not attributes and isinstance(values, dict) and len(reading.label_fields) < len(values):
            reading.label_fields = tuple(values)
        region = _json(row.get("spatial_coordinates"))
        _add(reading, where, media=media, times=times, region=region, values=values, attributes=attributes)
    return reading


def _rows(reader: Any, *, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise SourceError(f"{path}, line {reader.line_num} is not part of a table: {error}") from None


def _attributes(content: Any) -> dict[str, Mapping[str, Any]]:
    """By id; of older exports the name alone."""
    if not isinstance(content, dict):
        return {}
    known = {key: {"aname": value} if isinstance(value, str) else value for key, value in content.items()}
    return {key: value for key, value in known.items() if isinstance(value, dict)}


def _label_fields(attributes: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The attributes of temporal segments; all, if none says what it is of."""
    of_segments = [str(item.get("aname")) for item in attributes.values() if item.get("anchor_id") == _SEGMENT_ANCHOR]
    named = [name for name in of_segments if name not in _ABOUT_LABELS]
    return tuple(named or of_segments or [str(item.get("aname")) for item in attributes.values()])


def _files(content: Mapping[str, Any], view: Any) -> tuple[Media, ...]:
    """The names of the first file of a view."""
    ids = view.get("fid_list") if isinstance(view, dict) else None
    file = content["file"].get(str(ids[0])) if isinstance(ids, list) and ids else None
    if not isinstance(file, dict):
        return ()
    return tuple(Media(name=str(file[name])) for name in ("fname", "src") if file.get(name))


def _add(
    reading: Reading,
    where: str,
    *,
    media: tuple[Media, ...],
    times: Any,
    region: Any,
    values: Any,
    attributes: Mapping[str, Mapping[str, Any]],
) -> None:
    if not media:
        reading.drop("incomplete entry", where, "belongs to no file")
        return
    if region:
        reading.drop("incomplete entry", where, "is a region of a frame, not a segment of time")
        return
    listed = times if isinstance(times, list) else []
    seconds = [None if isinstance(time, str) else number_of(time) for time in listed]
    if None in seconds or not 1 <= len(seconds) <= 2:
        reading.drop("incomplete entry", where, f"a segment has two times in seconds, got {shown(times)}")
        return
    chosen = _chosen(values, attributes)
    if prod(map(len, chosen.values())) > _MOST_LABELS:
        reading.drop("incomplete entry", where, f"has more than {_MOST_LABELS} combinations of boxes that are ticked")
        return
    start, end = seconds[0], seconds[1] if len(seconds) > 1 else None
    assert start is not None
    for combination in product(*chosen.values()):  # one annotation for each
        reading.add(where, media, (start, end), dict(zip(chosen, combination, strict=True)))


def _chosen(values: Any, attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Sequence[str]]:
    """The values of each attribute by its name; several where boxes are ticked."""
    if not isinstance(values, dict):
        return {}
    return {
        str(attributes.get(key, {}).get("aname", key)): _choices(value, attributes.get(key, {}))
        for key, value in values.items()
    }


def _choices(value: Any, attribute: Mapping[str, Any]) -> Sequence[str]:
    options = attribute.get("options")
    options = options if isinstance(options, dict) else {}
    texts = _text(value).split(",") if attribute.get("type") == _CHECKBOX else [_text(value)]
    return [_text(options.get(text, text)).strip() for text in texts]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)


def _json(text: str | None) -> Any:
    try:
        return parse_json(text or "null")
    except JsonError:
        return None
