"""What is exported: the labels of videos in whole milliseconds, which every format can hold."""

import os
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from re2tal.common.untrusted import shown

__all__ = [
    "EXPORTED_FROM",
    "ExportContent",
    "ExportError",
    "ExportItem",
    "ExportNotes",
    "ExportOptions",
    "ExportVideo",
    "distinct",
    "lanes_of",
    "lasting",
    "plain",
]

# Control characters, line separators, half surrogate pairs and what XML forbids.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")

_Key = TypeVar("_Key", bound=Hashable)


EXPORTED_FROM = 0.3
"""Score from which detections are exported if nothing else is said, as `re2tal predict` shows them to people."""


class ExportError(ValueError):
    """Labels that cannot be exported as was asked, and why."""


@dataclass(frozen=True, kw_only=True, order=True)
class ExportItem:
    """One action: a detection, if it has a score, or what somebody has annotated."""

    start_ms: int
    end_ms: int
    """The same as the start for a point event."""
    label: str
    score: float | None = field(default=None, compare=False)
    annotator: str | None = field(default=None, compare=False)

    @property
    def is_point(self) -> bool:
        """Whether it has no length."""
        return self.start_ms == self.end_ms


@dataclass(frozen=True, kw_only=True)
class ExportVideo:
    """One video and what happens in it."""

    video_id: str
    items: tuple[ExportItem, ...]
    """In order of time."""
    path: Path | None = None
    """Of its file, absolute; None if that is not known."""
    duration_seconds: float | None = None
    fps: float | None = None
    is_detected: bool = False
    """What happens in it comes from a file of detections, even if there are none."""

    @property
    def file_name(self) -> str:
        """Of its file, without folders; its id if there is none."""
        return plain(self.video_id) if self.path is None else self.path.name

    def beside(self, file: Path) -> str:
        """Its file as seen from the folder of `file`, so that both can be moved together; its id if there is none."""
        if self.path is None:
            return plain(self.video_id)
        try:
            return Path(os.path.relpath(self.path, file.parent.resolve())).as_posix()
        except ValueError:  # on another drive of Windows
            return self.path.as_posix()


class ExportNotes:
    """What was left out, changed or cannot be kept, counted; with an example of each."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, str]] = {}

    def add(self, what: str, example: str = "", *, count: int = 1) -> None:
        """Note something, as a sentence that does not name its example."""
        if count:
            before, first = self._counts.get(what, (0, example))
            self._counts[what] = (before + count, first)

    def as_json(self) -> dict[str, int]:
        """How often each was noted."""
        return {what: count for what, (count, _) in self._counts.items()}

    def lines(self) -> list[str]:
        """For people."""
        return [f"{what} ({count}{f', such as {example}' if example else ''})"
                for what, (count, example) in self._counts.items()]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What the user says about an export."""

    min_score: float = EXPORTED_FROM
    """Detections below it are left out."""
    videos: Path | None = None
    """Folder of the video files."""
    known: Mapping[str, Path] = field(default_factory=dict)
    """Files of videos by id."""
    fps: float | None = None
    """Rate of videos whose rate is not known."""
    point: str = "middle"
    """What of an action counts in formats of points: its start, middle or end."""
    allow_links: bool = False
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class ExportContent:
    """Everything that a writer gets."""

    videos: Sequence[ExportVideo]
    class_names: tuple[str, ...]
    """Of all labels, also those that no video has; sorted."""
    changed: datetime
    """When the labels were written, in UTC. Files hold it rather than the present, so that the same labels give the
    same files."""
    folder: Path | None = None
    """Of the videos, absolute, if they lie in one."""
    point: str = "middle"
    """Which time of an action counts where a format has points alone: start, middle or end."""
    notes: ExportNotes = field(default_factory=ExportNotes)

    def distinct(self, clean: Callable[[str], str], *, what: str) -> dict[str, str]:
        """The classes by the names that a format can hold; what had to be changed is noted as `what`."""
        names = distinct(self.class_names, clean)
        for label, name in names.items():
            if label != name:
                self.notes.add(what, f"{shown(label)} as {shown(name)}")
        return names


def plain(text: str) -> str:
    """`text` on one line, with spaces for whatever no text file should hold."""
    return " ".join(_UNFIT.sub(" ", text).split())


def distinct(keys: Iterable[_Key], name_of: Callable[[_Key], str]) -> dict[_Key, str]:
    """`name_of(key)` by key; names that are alike are told apart by a number at the end."""
    found: dict[_Key, str] = {}
    taken: set[str] = set()
    for key in keys:
        base = name_of(key)
        candidate, number = base, 2
        while candidate in taken:
            candidate, number = f"{base} ({number})", number + 1
        taken.add(candidate)
        found[key] = candidate
    return found


def lanes_of(items: Iterable[ExportItem]) -> list[list[ExportItem]]:
    """As few lists as possible, in none of which two items overlap; they may touch. Each is in order of time."""
    lanes: list[list[ExportItem]] = []
    for item in sorted(items):
        lane = next((lane for lane in lanes if lane[-1].end_ms <= item.start_ms), None)
        if lane is None:
            lanes.append([item])
        else:
            lane.append(item)
    return lanes


def lasting(items: Iterable[ExportItem], notes: ExportNotes) -> list[ExportItem]:
    """The items with a millisecond for each point event, for formats without any."""
    made = []
    for item in items:
        if item.is_point:
            notes.add("point events last a millisecond, since the format has none without a length", shown(item.label))
            item = replace(item, end_ms=item.start_ms + 1)
        made.append(item)
    return sorted(made)
