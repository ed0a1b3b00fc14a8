"""Timelines as pictures, for programs that show pictures only, such as TensorBoard."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from re2tal.evaluation import GroundTruth, Predictions

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

__all__ = ["COLOURS", "timeline_pictures"]

COLOURS = ("#0d3c91", "#a34004", "#0d9e77", "#b43bba", "#bf60f3", "#7b8c03", "#7f0930", "#5f5f5f")
"""Of the classes, as the page has them on a light ground."""

_MOST_LANES = 8
_MOST_DETECTIONS = 30
_WIDTH, _MARGIN, _NAMES, _ROW, _GAP = 900, 14, 130, 18, 8
_WHITE, _TEXT, _GROUND = np.array([255, 255, 255]), (24, 33, 46), (238, 241, 245)


@dataclass(frozen=True, kw_only=True)
class _Bar:
    """A segment of a lane."""

    label: str
    start: float
    end: float
    score: float
    """1 for ground truth."""


def timeline_pictures(truth: GroundTruth, found: Predictions, *, max_videos: int = 4) -> dict[str, np.ndarray]:
    """The first videos that have actions, each as a picture (H, W, 3) uint8, by the name `timeline/<video>`.

    A lane for each class, ground truth above detections; these are the fainter the lower their score is.
    """
    places = np.unique(truth.video_index)[:max_videos].tolist()
    return {f"timeline/{truth.video_ids[place]}": _picture(truth, found, video=place) for place in places}


def _picture(truth: GroundTruth, found: Predictions, *, video: int) -> np.ndarray:
    from PIL import Image, ImageDraw

    name = truth.video_ids[video]
    actions = [
        _Bar(label=truth.class_names[truth.label_index[row]], start=start, end=end, score=1.0)
        for row in np.flatnonzero(truth.video_index == video)
        for start, end in [truth.segments[row].tolist()]
    ]
    detections = _best(found, name)
    known = np.nan if truth.durations is None else float(truth.durations[video])
    seconds = known if np.isfinite(known) else max(bar.end for bar in (*actions, *detections))
    lanes = list(dict.fromkeys(bar.label for bar in (*actions, *detections)))[:_MOST_LANES]
    height = 2 * _MARGIN + _ROW + len(lanes) * (2 * _ROW + _GAP)
    image = Image.new("RGB", (_WIDTH, height), tuple(_WHITE.tolist()))
    draw = ImageDraw.Draw(image)
    _write(draw, (_MARGIN, _MARGIN - 6), f"{name}, {seconds:.1f} s")
    classes = sorted(truth.class_names)
    for place, label in enumerate(lanes):
        top = _MARGIN + _ROW + place * (2 * _ROW + _GAP)
        colour = COLOURS[classes.index(label) % len(COLOURS) if label in classes else -1]
        _write(draw, (_MARGIN, top + _ROW // 2), label)
        _draw_row(draw, [bar for bar in actions if bar.label == label], top=top, seconds=seconds, colour=colour)
        of_class = [bar for bar in reversed(detections) if bar.label == label]  # the best one last, above the others
        _draw_row(draw, of_class, top=top + _ROW, seconds=seconds, colour=colour)
    return np.asarray(image)


def _best(found: Predictions, name: str) -> list[_Bar]:
    """The best detections of a video, from the best score down."""
    if name not in found.video_ids:
        return []
    rows = np.flatnonzero(found.video_index == found.video_ids.index(name))
    rows = rows[np.argsort(-found.scores[rows], kind="stable")][:_MOST_DETECTIONS]
    return [
        _Bar(label=found.class_names[found.label_index[row]], start=start, end=end, score=float(found.scores[row]))
        for row in rows
        for start, end in [found.segments[row].tolist()]
    ]


def _draw_row(draw: "ImageDraw", bars: list[_Bar], *, top: int, seconds: float, colour: str) -> None:
    left, right = _MARGIN + _NAMES, _WIDTH - _MARGIN
    draw.rectangle((left, top + 1, right, top + _ROW - 2), fill=_GROUND)
    full = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    for bar in bars:
        strength = 0.15 + 0.85 * min(max(bar.score, 0.0), 1.0)
        fill = tuple((_WHITE + strength * (full - _WHITE)).round().astype(int).tolist())
        start, end = (left + (right - left) * min(max(at / seconds, 0.0), 1.0) for at in (bar.start, bar.end))
        draw.rectangle((start, top + 1, max(end, start + 2), top + _ROW - 2), fill=fill, outline=colour)


def _write(draw: "ImageDraw", place: tuple[int, int], text: str) -> None:
    """Letters that the picture's own font does not have become question marks."""
    from PIL import ImageFont

    draw.text(place, text.encode("latin-1", "replace").decode("latin-1"), fill=_TEXT, font=ImageFont.load_default(12))
