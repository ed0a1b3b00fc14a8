"""CVAT's XML: tracks of videos and tags of pictures as segments.

Layout ("CVAT for video 1.1" and "CVAT for images 1.1", docs.cvat.ai: XML annotation format): `meta` tells the task's
`source` (the file) and `frame_filter` ("step=5"); of a project `meta/project/tasks` tells several. Video: a `track` of
a `label` has a shape for each frame or keyframe with `frame`, `outside` and attributes; what has left the picture has
outside="1". Pictures: an `image` with its number as `id` has a `tag` or a shape of a `label`. Frames are those of the
file, from 0.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element

from re2tal.labels.formats.runs import Runs
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, named_like
from re2tal.labels.times import Time

__all__ = ["is_cvat", "read_cvat"]

_STEP = re.compile(r"step\s*=\s*(?P<step>[1-9][0-9]{0,6})")
_FRAME_NAME = re.compile(r"(?:.*/)?frame_(?P<number>[0-9]{1,9})(?:\.\w+)?")


def is_cvat(root: Element) -> bool:
    """Whether a document is an export of CVAT."""
    return root.tag == "annotations" and any(root.find(name) is not None for name in ("meta", "track", "image"))


def read_cvat(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are those of tracks, from the frame in which they appear to that in which they are gone, and of pictures
    that follow one another; fields are label and the attributes that stay the same through a track."""
    reading = Reading(path=file.path, format="cvat")
    tasks = _tasks(file.xml, path=file.path)
    reading.covered += [Coverage(media=media) for media, _ in tasks.values()]
    default = next(iter(tasks.values()))
    for number, track in enumerate(file.xml.iter("track")):
        media, step = tasks.get(track.get("task_id", ""), default)
        where = f"{file.path}, track {track.get('id', number)}"
        fields = {"label": track.get("label", ""), **_constant_attributes(track)}
        for start, end in _visible(track, step=step, where=where, reading=reading):
            reading.add(where, media, (Time(frames=start), Time(frames=end)), fields)
    _read_pictures(file.xml, tasks=tasks, default=default, reading=reading)
    return reading


def _tasks(root: Element, *, path: Path) -> dict[str, tuple[tuple[Media, ...], int]]:
    """Names of the video and frames from picture to picture of every task, by its id."""
    meta = root.find("meta")
    elements = [] if meta is None else [*meta.iter("task"), *meta.iter("job")]
    found = {}
    for element in elements or ([] if meta is None else [meta]):
        source = element.findtext("source") or (meta.findtext("source") if meta is not None else None)
        step = _STEP.search(element.findtext("frame_filter") or "")
        told = (Media(name=source.strip()),) if source and source.strip() else ()
        found[element.findtext("id") or ""] = ((*told, *named_like(path)), int(step["step"]) if step else 1)
    return found or {"": (named_like(path), 1)}


def _visible(track: Element, *, step: int, where: str, reading: Reading) -> Iterator[tuple[int, int]]:
    """First frame, and frame after the last one, of each time that a track is in the picture."""
    shapes: list[tuple[int, bool]] = []
    for shape in track:
        if shape.get("frame") is None:
            continue
        frame = _whole(shape.get("frame"))
        if frame is None:
            reading.drop("unparsable time", where, f"frame {shape.get('frame')!r:.40} is no number of a frame")
        else:
            shapes.append((frame, shape.get("outside") == "1"))
    shapes.sort()
    begun: int | None = None
    for frame, outside in shapes:
        if outside and begun is not None:
            yield begun, frame
        begun = None if outside else frame if begun is None else begun
    if begun is not None:
        yield begun, shapes[-1][0] + step


def _constant_attributes(track: Element) -> Mapping[str, str]:
    values: dict[str, set[str]] = {}
    for attribute in track.iter("attribute"):
        values.setdefault(attribute.get("name", ""), set()).add((attribute.text or "").strip())
    return {name: next(iter(told)) for name, told in values.items() if len(told) == 1 and name and name != "label"}


def _read_pictures(
    root: Element,
    *,
    tasks: Mapping[str, tuple[tuple[Media, ...], int]],
    default: tuple[tuple[Media, ...], int],
    reading: Reading,
) -> None:
    frames: dict[str, list[tuple[int, list[str]]]] = {}
    for number, image in enumerate(root.iter("image")):
        named = _FRAME_NAME.fullmatch(image.get("name", ""))
        frame = _whole(named["number"] if named else image.get("id"))
        if frame is None:
            where = f"{reading.path}, image {number}"
            reading.drop("unparsable time", where, f"id {image.get('id')!r:.40} is no number of a frame")
            continue
        labels = [child.get("label", "") for child in image if child.get("label")]
        frames.setdefault(image.get("task_id", ""), []).append((frame, labels))
    for task, pictures in frames.items():
        media, step = tasks.get(task, default)
        runs = Runs()
        for frame, labels in sorted(pictures):
            runs.add(labels, start=frame, end=frame + step, where=frame)
        runs.add_to(reading, media, unit="frames", place="image")


def _whole(text: str | None) -> int | None:
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else None
