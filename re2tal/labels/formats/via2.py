"""VIA 2, the VGG Image Annotator for pictures: frames of videos that are called after them.

VIA 2 knows no time. What it says of pictures holds for a video where these are its frames and are called so:
`m1_frame_0012.jpg`, `m1/0012.png`, `m1.mp4_12.jpg`; frames count from 0.

Layouts (gitlab.com/vgg/via, via-2.x.y): a project, {"_via_img_metadata": {key: {"filename", "regions":
[{"region_attributes"}], "file_attributes"}}, "_via_settings", ...}; its annotations alone, {key: {"filename", ...}};
CSV with filename, file_size, file_attributes, region_count, region_id, region_shape_attributes, region_attributes. What
is ticked is an object of the names that are.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from re2tal.common.untrusted import JsonError, parse_json
from re2tal.labels.formats.runs import Runs, even_step
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Media, Reading, ReadOptions, SourceError
from re2tal.labels.tables import Table

__all__ = ["is_via2_json", "is_via2_table", "read_via2_json", "read_via2_table"]

_METADATA = "_via_img_metadata"
_COLUMNS = {"filename", "file_attributes", "region_attributes", "region_shape_attributes"}
_FRAME = re.compile(
    r"(?P<video>.+?)(?:[_\-. /\\]*frame)?[_\-. /\\]*(?P<number>[0-9]{1,9})\.(?:jpe?g|png|bmp|tiff?|webp)", re.IGNORECASE
)

_Picture = tuple[str, dict[str, Any]]
"""A file's name and an object of attributes."""


def is_via2_json(content: Any) -> bool:
    """Whether a JSON value is a project of VIA 2 or its annotations."""
    if not isinstance(content, dict) or not content:
        return False
    entries = content.get(_METADATA, content)
    if entries is content:
        needed = {"filename", "regions", "file_attributes"}
        return all(isinstance(entry, dict) and entry.keys() >= needed for entry in content.values())
    return isinstance(entries, dict)


def is_via2_table(head: Table) -> bool:
    """Whether a table has the columns of VIA 2."""
    return {name.lstrip("#") for name in head.names} >= _COLUMNS


def read_via2_json(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the values of all attributes; fields are label and attribute (its name)."""
    pictures: list[_Picture] = []
    for entry in file.json.get(_METADATA, file.json).values():
        if not isinstance(entry, dict):
            continue
        regions = entry.get("regions")
        listed = regions.values() if isinstance(regions, dict) else regions if isinstance(regions, list) else ()
        told = [
            entry.get("file_attributes"),
            *(item.get("region_attributes") for item in listed if isinstance(item, dict)),
        ]
        pictures += [(str(entry.get("filename")), attributes) for attributes in told if isinstance(attributes, dict)]
    return _read(file.path, pictures)


def read_via2_table(file: SourceFile, options: ReadOptions) -> Reading:
    """As `read_via2_json`, of the CSV export."""
    pictures: list[_Picture] = []
    for _, entry in file.table.entries():
        cells = {name.lstrip("#"): cell for name, cell in entry.items()}
        for name in ("file_attributes", "region_attributes"):
            try:
                attributes = parse_json(cells.get(name) or "{}")
            except JsonError:
                attributes = None
            pictures += [(cells.get("filename", ""), attributes)] if isinstance(attributes, dict) else []
    return _read(file.path, pictures)


def _read(path: Path, pictures: Iterable[_Picture]) -> Reading:
    reading = Reading(path=path, format="via2")
    videos: dict[str, dict[int, set[tuple[str, str]]]] = {}
    for name, attributes in pictures:
        found = _FRAME.fullmatch(name)
        if found is None:
            reading.drop("no video time", f"{path}, {name[:80]!r}", "is no frame of a video, such as m1_frame_0012.jpg")
            continue
        videos.setdefault(found["video"], {}).setdefault(int(found["number"]), set()).update(_values(attributes))
    if not videos:
        raise SourceError(
            f"{path} is of VIA 2, which marks pictures and knows no time, and none is called as a frame of a video, "
            "such as m1_frame_0012.jpg; mark segments of time in VIA 3"
        )
    for video, frames in videos.items():
        _add(video, frames, reading=reading)
    return reading


def _values(attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in attributes.items():
        for text in [key for key, on in value.items() if on] if isinstance(value, dict) else [value]:
            if isinstance(text, str) and text.strip():
                yield name, text.strip()


def _add(video: str, frames: Mapping[int, set[tuple[str, str]]], *, reading: Reading) -> None:
    """Pictures may be every fifth frame: each stands for the time up to where the next one would be."""
    step = even_step(frames)
    runs = Runs()
    for number in sorted(frames):
        labels = ["\0".join(pair) for pair in sorted(frames[number])]
        runs.add(labels, start=number, end=number + step, where=number)

    def fields(pair: str) -> Mapping[str, str]:
        attribute, label = pair.split("\0")
        return {"label": label, "attribute": attribute}

    runs.add_to(reading, (Media(name=video),), unit="frames", place=f"{video}, frame", fields=fields)
