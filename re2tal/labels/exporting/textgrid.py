"""Praat's TextGrid, one for each video.

Layout: the long text format (fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html). The intervals of a tier follow
each other without gaps or overlaps from beginning to end, so what is between labels is an interval without text, and
what overlaps stands in a further tier. Points stand in tiers of points. Quotation marks are doubled.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from re2tal.common.untrusted import shown
from re2tal.labels.exporting.content import ExportContent, ExportItem, ExportVideo, distinct, lanes_of

__all__ = ["TextGridFile"]


@dataclass(frozen=True, kw_only=True)
class _Tier:
    name: str
    lines: tuple[str, ...]
    """Of its intervals or points."""
    num_entries: int
    of_points: bool


class TextGridFile:
    """One video in one file."""

    def file_of(self, video: ExportVideo) -> str:
        """Each its own."""
        return f"{video.video_id}.TextGrid"

    def texts(self, content: ExportContent, path: Path) -> Mapping[Path, str]:
        """Tiers of every class."""
        (video,) = content.videos
        last = max((item.end_ms for item in video.items), default=0)
        end_ms = max(round(1000 * (video.duration_seconds or 0)), last, 1)
        tiers = _tiers(video, content, end_ms=end_ms)
        span = ["xmin = 0", f"xmax = {_seconds(end_ms)}"]
        lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", *span]
        lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
        for number, tier in enumerate(tiers, start=1):
            kind, entries = ("TextTier", "points") if tier.of_points else ("IntervalTier", "intervals")
            lines += [
                f"    item [{number}]:",
                f'        class = "{kind}"',
                f"        name = {_quoted(tier.name)}",
                *(f"        {line}" for line in span),
                f"        {entries}: size = {tier.num_entries}",
                *tier.lines,
            ]
        return {path: "\n".join(lines) + "\n"}


def _tiers(video: ExportVideo, content: ExportContent, *, end_ms: int) -> list[_Tier]:
    """An empty one for classes without labels, so that there is one to write into; and if there are no classes."""
    wanted: list[tuple[str, list[ExportItem], bool]] = []
    for label in content.class_names or ("labels",):
        items = [item for item in video.items if item.label == label]
        lanes = lanes_of(item for item in items if not item.is_point)
        content.notes.add(
            "actions that overlap another of their class stand in a further tier",
            shown(label),
            count=sum(map(len, lanes[1:])),
        )
        points = [item for item in items if item.is_point]
        for number, lane in enumerate(lanes or ([] if points else [[]]), start=1):
            wanted.append((f"{label} {number}" if number > 1 else label, lane, False))
        # Praat allows one point at a time.
        for number, lane in enumerate(_apart(points), start=1):
            wanted.append((f"{label} points{f' {number}' if number > 1 else ''}", lane, True))
    names = list(distinct(range(len(wanted)), lambda place: wanted[place][0]).values())
    return [
        _Tier(
            name=name,
            lines=tuple(chain.from_iterable(entries)),
            num_entries=len(entries),
            of_points=of_points,
        )
        for name, (_, lane, of_points) in zip(names, wanted, strict=True)
        for entries in [_points(lane) if of_points else _intervals(lane, end_ms=end_ms)]
    ]


def _apart(points: Iterable[ExportItem]) -> list[list[ExportItem]]:
    lanes: list[list[ExportItem]] = []
    for point in sorted(points):
        lane = next((lane for lane in lanes if lane[-1].start_ms < point.start_ms), None)
        if lane is None:
            lanes.append([point])
        else:
            lane.append(point)
    return lanes


def _intervals(lane: Iterable[ExportItem], *, end_ms: int) -> list[list[str]]:
    spans: list[tuple[int, int, str]] = []
    at = 0
    for item in lane:
        if item.start_ms > at:
            spans.append((at, item.start_ms, ""))
        spans.append((item.start_ms, item.end_ms, item.label))
        at = item.end_ms
    if at < end_ms:
        spans.append((at, end_ms, ""))
    return [
        [
            f"        intervals [{number}]:",
            f"            xmin = {_seconds(start)}",
            f"            xmax = {_seconds(end)}",
            f"            text = {_quoted(text)}",
        ]
        for number, (start, end, text) in enumerate(spans, start=1)
    ]


def _points(lane: Iterable[ExportItem]) -> list[list[str]]:
    return [
        [
            f"        points [{number}]:",
            f"            number = {_seconds(item.start_ms)}",
            f"            mark = {_quoted(item.label)}",
        ]
        for number, item in enumerate(lane, start=1)
    ]


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
