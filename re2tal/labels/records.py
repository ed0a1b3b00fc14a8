"""What the readers of annotation files give: records as the files have them, and what could not be read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from re2tal.labels.times import Time, TimeError, Unit, number_of, parse_time, time_of

__all__ = [
    "FORMATS", "Coverage", "Format", "Media", "Problem", "ReadOptions", "Reading", "Reason", "Record", "SourceError",
    "ToldLength", "WORKBOOKS", "named_like",
]  # fmt: skip

Format = Literal[
    "csv", "per-frame", "activitynet", "detections", "thumos", "multithumos", "charades", "epic-kitchens", "ava",
    "ego4d", "soccernet", "calms21", "elan", "anvil", "boris", "observer", "ethovision", "bento", "via", "via2",
    "label-studio", "cvat", "srt", "vtt", "textgrid", "audacity",
]  # fmt: skip
FORMATS: tuple[Format, ...] = get_args(Format)

Reason = Literal[
    # left out
    "unknown video",
    "unreadable video",
    "end not after start",
    "outside the video",
    "unparsable time",
    "duplicate",
    "empty label",
    "point event",
    "state event without its pair",
    "not selected",
    "incomplete entry",
    "unreadable file",
    "no video time",
    # kept, but changed
    "clipped to the video",
    "widened point event",
]


WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
"""Endings of spreadsheets that hold several tables."""


class SourceError(ValueError):
    """A file of annotations, or an option about it, that cannot be used, and why."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that was left out or changed, and where it stands."""

    reason: Reason
    where: str
    """File and line, or the place inside the file."""
    detail: str
    media: tuple["Media", ...] = ()
    """Names of its video, where the reader of the file knows them."""


@dataclass(frozen=True, kw_only=True)
class Media:
    """A video as an annotation file names it: an id, a file name, a path of another machine, an address."""

    name: str
    origin_seconds: float = 0.0
    """Time of the video at which the annotations count 0."""
    of_folder: bool = False
    """The name alone means nothing, as that of the first half of any match: the folder before it must agree."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One annotation as a file has it."""

    where: str
    media: tuple[Media, ...]
    """Names of its video; the first that is found counts."""
    start: Time
    end: Time | None
    """None for an event without extent."""
    fields: Mapping[str, str]
    """What may serve as label or group, by name."""
    subset: str | None = None


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """A video that a file is about, and how much of it somebody has looked at."""

    media: tuple[Media, ...]
    """Names of the video; the first that is found counts."""
    stretches: tuple[tuple[Time, Time], ...] | None = None
    """What has been looked at; None: the whole video."""
    is_exact: bool = False
    """Whether the stretches are meant to the millisecond, and not as what a table happens to have rows for."""
    subset: str | None = None


@dataclass(frozen=True, kw_only=True)
class ToldLength:
    """How long a file says that a video is."""

    seconds: float
    fps: float | None = None
    """Frames per second, where it says that too."""


@dataclass(kw_only=True)
class Reading:
    """What one file, or one folder of a format that needs several, holds."""

    path: Path
    format: str
    """Its name, for the report."""
    label_fields: tuple[str, ...] = ("label",)
    """The fields that make the label unless the user names others."""
    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    is_detected: bool = False
    """Whether a detector has made the annotations, so that the unlikely ones are no labels."""
    listed: dict[str, str | None] = field(default_factory=dict)
    """Videos that the file lists, also those without annotations, with their subset."""
    covered: list[Coverage] = field(default_factory=list)
    """Videos that are listed with more than a name."""
    lengths: dict[str, ToldLength] = field(default_factory=dict)
    """Of videos, where the file tells them: of use where the videos are not at hand."""
    notes: list[str] = field(default_factory=list)
    """What is good to know of the file."""

    def tell_length(self, name: str, seconds: object, *, fps: object = None) -> None:
        """Keep the length of a video, if it is one."""
        length, rate = number_of(seconds), number_of(fps)
        if name and length and length > 0:
            self.lengths[name] = ToldLength(seconds=length, fps=rate if rate and rate > 0 else None)

    def add(
        self,
        where: str,
        media: tuple[Media, ...],
        times: tuple[Time | float | str, Time | float | str | None],
        fields: Mapping[str, str],
        *,
        subset: str | None = None,
    ) -> None:
        """Keep an annotation, or note that it is left out, if its start or end is no time.

        Args:
            where: see `Record`.
            media: see `Record`.
            times: start and end, None for an event without extent; numbers are seconds, texts are read.
            fields: see `Record`.
            subset: see `Record`.
        """
        try:
            start, end = _time(times[0]), None if times[1] is None else _time(times[1])
        except TimeError as error:
            self.drop("unparsable time", where, str(error))
            return
        self.records.append(Record(where=where, media=media, start=start, end=end, fields=fields, subset=subset))

    def drop(self, reason: Reason, where: str, detail: str, *, media: tuple[Media, ...] = ()) -> None:
        """Note that an annotation is left out."""
        self.problems.append(Problem(reason=reason, where=where, detail=detail, media=media))


def _time(value: Time | float | str) -> Time:
    if isinstance(value, Time):
        return value
    return parse_time(value) if isinstance(value, str) else time_of(value, unit="seconds")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the user says about the files."""

    unit: Unit | None = None
    """Of times in tables; None: as the columns' names say, else seconds."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column for each of the roles video, start, end, duration, subset that a table names otherwise."""
    label: tuple[str, ...] = ()
    """Fields that make the label; empty: those of the format."""
    class_names: Mapping[int, str] = field(default_factory=dict)
    """For formats that number their classes."""
    length_of: Callable[[str], float | None] = lambda name: None
    """Seconds of the video that a file names, for times that count on from one video to the next; None: unknown."""


_SUFFIX_OF_LABELS = re.compile(
    r"(?i)([_\-. ]+(labels?|annotations?|annot|behaviou?rs?|events?|targets(_inserted)?|predictions?|detections?|scored"
    r"|machine_results|no[_ ]focal[_ ]subject)|\.[a-z]{2,3}(-[a-z]{2,4})?)$"
)
"""Also the language of subtitles."""


def named_like(path: Path) -> tuple[Media, ...]:
    """The video that a file of labels is named after: `m1.srt`, `m1_labels.csv` and `m1.en.vtt` are of `m1`."""
    is_sheet = path.parent.suffix.lower() in WORKBOOKS  # which may be called anything
    names: list[str] = []
    for name in (path.stem, *((path.name, path.parent.stem) if is_sheet else ())):
        while name:
            names.append(name)
            shorter = _SUFFIX_OF_LABELS.sub("", name)
            name = "" if shorter == name else shorter
    return tuple(Media(name=name) for name in dict.fromkeys(names))
