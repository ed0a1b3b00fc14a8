"""Anvil, for the annotation of video (.anvil).

Layout (anvil-software.org, manual): `annotation` has a `head` with the `video` (its file as `src`) and a `body` of
`track`s. A track of type "primary" has elements `el` with `start` and `end` in seconds, "primary point" with `time`;
"span" and "singleton" refer to the track `ref`, in which `start` and `end`, or `ref`, count elements. An element's
`attribute`s have a `name` and a text.
"""

from collections.abc import Mapping
from pathlib import PureWindowsPath
from xml.etree.ElementTree import Element

from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.records import Coverage, Media, Reading, ReadOptions, named_like
from re2tal.labels.times import TimeError, parse_time

__all__ = ["is_anvil", "read_anvil"]

_Span = tuple[float, float | None]


def is_anvil(root: Element) -> bool:
    """Whether a document is of Anvil."""
    return root.tag == "annotation" and root.find("body") is not None and root.find("head") is not None


def read_anvil(file: SourceFile, options: ReadOptions) -> Reading:
    """Labels are the first attributes of the elements of all tracks; fields are value, tier and every attribute."""
    reading = Reading(path=file.path, format="anvil", label_fields=("value",))
    videos = [video.get("src", "") for video in file.xml.iter("video") if video.get("src")]
    media = (*(Media(name=PureWindowsPath(name).as_posix()) for name in videos[:1]), *named_like(file.path))
    reading.covered.append(Coverage(media=media))
    spans: dict[str, dict[str, _Span]] = {}
    waiting = {track.get("name", ""): track for track in file.xml.iter("track")}
    while waiting:  # a track may refer to one that stands below it
        ready = [name for name, track in waiting.items() if not _refers(track) or track.get("ref", "") in spans]
        for name in ready or list(waiting):
            track = waiting.pop(name)
            spans[name] = _read_track(
                track, name=name, base=spans.get(track.get("ref", ""), {}), media=media, reading=reading
            )
    return reading


def _refers(track: Element) -> bool:
    return track.get("type", "") in ("span", "singleton", "subdivision")


def _read_track(
    track: Element, *, name: str, base: Mapping[str, _Span], media: tuple[Media, ...], reading: Reading
) -> dict[str, _Span]:
    """Add the elements of a track; their times by their index."""
    spans: dict[str, _Span] = {}
    for number, element in enumerate(track.iter("el")):
        index = element.get("index", str(number))
        where = f"{reading.path}, track {name!r}, element {index}"
        try:
            span = _span(element, kind=track.get("type", ""), base=base)
        except TimeError as error:
            reading.drop("unparsable time", where, str(error))
            continue
        if span is None:
            lacking = f"refers to elements that track {track.get('ref', '')!r} does not have"
            reading.drop("no video time", where, lacking)
            continue
        spans[index] = span
        values = {item.get("name", ""): " ".join((item.text or "").split()) for item in element.iter("attribute")}
        fields = {**values, "value": next(iter(values.values()), ""), "tier": name}
        reading.add(where, media, span, fields)
    return spans


def _span(element: Element, *, kind: str, base: Mapping[str, _Span]) -> _Span | None:
    start, end = element.get("start"), element.get("end")
    match kind:
        case "span":
            first, last = base.get(start or ""), base.get(end or "")
            return None if first is None or last is None else (first[0], last[1] if last[1] is not None else last[0])
        case "singleton" | "subdivision":
            return base.get(element.get("ref") or start or "")
        case _:
            if element.get("time") is not None:
                return parse_time(element.get("time", "")).seconds, None
            return parse_time(start or "").seconds, parse_time(end or "").seconds
