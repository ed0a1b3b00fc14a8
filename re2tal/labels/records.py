"""What the readers of annotation files give: records as the files have them, and what could not be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from re2tal.labels.times import Time, Unit

__all__ = ["FORMATS", "Format", "Media", "Problem", "ReadOptions", "Reading", "Reason", "Record", "SourceError"]

Format = Literal[
    "csv", "activitynet", "thumos", "multithumos", "charades", "epic-kitchens", "elan", "boris", "via"
]  # fmt: skip
FORMATS: tuple[Format, ...] = (
    "csv", "activitynet", "thumos", "multithumos", "charades", "epic-kitchens", "elan", "boris", "via"
)  # fmt: skip

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


class SourceError(ValueError):
    """A file of annotations, or an option about it, that cannot be used, and why."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that was left out or changed, and where it stands."""

    reason: Reason
    where: str
    """File and line, or the place inside the file."""
    detail: str


@dataclass(frozen=True, kw_only=True)
class Media:
    """A video as an annotation file names it: an id, a file name, a path of another machine, an address."""

    name: str
    origin_seconds: float = 0.0
    """Time of the video at which the annotations count 0."""


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
    listed: dict[str, str | None] = field(default_factory=dict)
    """Videos that the file lists, also those without annotations, with their subset."""
    labelled: dict[str, list[list[float]]] = field(default_factory=dict)
    """Of videos that are labelled in part, [start, end] in seconds of the stretches that somebody has looked at."""
    notes: list[str] = field(default_factory=list)
    """What is good to know of the file."""

    def drop(self, reason: Reason, where: str, detail: str) -> None:
        """Note that an annotation is left out."""
        self.problems.append(Problem(reason=reason, where=where, detail=detail))


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
