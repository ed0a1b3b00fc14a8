"""Praat's TextGrid, one for each video.

Layout: the long text format (fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html). The intervals of a tier follow
each other without gaps or overlaps from beginning to end, so what is between labels is an interval without text, and
what overlaps stands in a further tier. Points stand in tiers of points. Quotation marks are doubled.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from re2tal.common.untrusted import shown
from re2tal.labels.exporting.content import ExportContent, ExportItem, ExportVideo, distinct, lanes_of

__all__ = ["TextGridFile"]


_Tier = tuple[str, str, list[ExportItem]]
"""Its name, its kind ("points" or "intervals") and what stands in it."""


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
        tiers = _tiers(video, content)
        names = distinct(range(len(tiers)), lambda number: tiers[number][0])
        span = ["xmin = 0", f"xmax = {_seconds(end_ms)}"]
        lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", *span]
        lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
        for number, (_, kind, items) in enumerate(tiers):
            entries = _points(items) if kind == "points" else _intervals(items, end_ms=end_ms)
            lines += [
                f"    item [{number + 1}]:",
                f'        class = "{"TextTier" if kind == "points" else "IntervalTier"}"',
                f"        name = {_quoted(names[number])}",
                *(f"        {line}" for line in span),
                f"        {kind}: size = {len(entries)}",
            ]
            for place, entry in enumerate(entries, start=1):
                lines += [
                    f"        {kind} [{place}]:",
                    *(f"            {name} = {value}" for name, value in entry.items()),
                ]
        return {path: "\n".join(lines) + "\n"}


def _tiers(video: ExportVideo, content: ExportContent) -> list[_Tier]:
    """An empty one for classes without labels, so that there is one to write into; and if there are no classes."""
    tiers: list[_Tier] = []
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
            tiers.append((f"{label} {number}" if number > 1 else label, "intervals", lane))
        # Praat allows one point at a time.
        for number, lane in enumerate(_apart(points), start=1):
            tiers.append((f"{label} points{f' {number}' if number > 1 else ''}", "points", lane))
    return tiers


def _apart(points: Iterable[ExportItem]) -> list[list[ExportItem]]:
    lanes: list[list[ExportItem]] = []
    for point in sorted(points):
        lane = next((lane for lane in lanes if lane[-1].start_ms < point.start_ms), None)
        if lane is None:
            lanes.append([point])
        else:
            lane.append(point)
    return lanes


def _intervals(lane: Iterable[ExportItem], *, end_ms: int) -> list[dict[str, str]]:
    spans: list[tuple[int, int, str]] = []
    at = 0
    for item in lane:
        if item.start_ms > at:
            spans.append((at, item.start_ms, ""))
        spans.append((item.start_ms, item.end_ms, item.label))
        at = item.end_ms
    if at < end_ms:
        spans.append((at, end_ms, ""))
    return [{"xmin": _seconds(start), "xmax": _seconds(end), "text": _quoted(text)} for start, end, text in spans]


def _points(lane: Iterable[ExportItem]) -> list[dict[str, str]]:
    return [{"number": _seconds(item.start_ms), "mark": _quoted(item.label)} for item in lane]


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
