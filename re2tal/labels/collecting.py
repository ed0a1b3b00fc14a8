"""Records and what they cover -> the segments of each video, with a note of what does not fit."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from re2tal.common.annotation_files import Repeats
from re2tal.common.untrusted import brief, shown
from re2tal.labels.records import WORKBOOKS, Coverage, Media, Problem, Reading, Reason, Record
from re2tal.labels.times import number_of
from re2tal.video import VideoInfo

__all__ = ["Collector", "ImportOptions", "ImportedVideo", "Span", "chosen_file"]

# As the reader of annotations has it: overhangs up to this are rounding.
_ROUNDING_SECONDS = 0.01
_UNTOLD_SECONDS = 1.0
"""What a table of frames may lack of its video without a word: the last frames, or how their rate is rounded."""
_DETECTION_SCORE = 0.3
"""Of detections the lowest score, unless the user names one: what `re2tal predict` shows to people."""
_LONGEST_NAME = 200
_NOT_UNDERSTOOD: frozenset[Reason] = frozenset({
    "end not after start", "outside the video", "unparsable time", "empty label", "state event without its pair",
    "incomplete entry",
})  # fmt: skip

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the user decides about the annotations, once they are read."""

    label: tuple[str, ...] = ()
    """Fields that make the label, joined by spaces; empty: those of the format."""
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Values of fields that an annotation must have, by field."""
    min_score: float | None = None
    """Lowest score of annotations that have one; None: 0.3 for detections, any for others."""
    fps: float | None = None
    """Rate that frame numbers count at; None: that of each video."""
    point_seconds: float | None = None
    """Length that events without extent are given, around their time; 0: they stay points. None: they are left out."""
    split: float = 0.2
    """Share of the annotations to validate on, where the files do not tell subsets."""
    resplit: bool = False
    """Split even if the files tell subsets."""
    empty: tuple[str, ...] = ()
    """Patterns of the paths of videos that are known to show no action, where the annotations do not name them."""
    group: str | None = None
    """Field, or regular expression on the paths of videos, of which each value stays on one side of the split."""
    seed: int = 42
    """Of the split."""
    allow_links: bool = False
    """Take videos that lie in the folder only by links that lead out of it."""


@dataclass(kw_only=True)
class ImportedVideo:
    """One file and what is annotated in it."""

    info: VideoInfo
    segments: list[tuple[float, float, str, Mapping[str, Any]]] = field(default_factory=list)
    """Start, end, label, and what else an annotation has."""
    looked: list[Span] = field(default_factory=list)
    """What somebody has looked at."""
    is_whole: bool = False
    """Whether that is the whole video, whatever `looked` says."""
    is_exact: bool = False
    """Whether `looked` is meant to the millisecond."""
    has_lost: bool = False
    """Whether an annotation could not be understood, so that having none does not mean that it is empty."""
    repeats: Repeats = field(default_factory=Repeats)
    subsets: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)

    @property
    def is_unclear(self) -> bool:
        """Whether nothing is known of it, since none of its annotations could be understood."""
        return self.has_lost and not self.segments and not self.looked

    @property
    def labelled(self) -> list[Span] | None:
        """The stretches that somebody has looked at, in order, without overlap; None for all of the video."""
        if self.is_unclear:
            return []
        if self.is_whole or not (self.looked or self.is_exact):
            return None
        duration = self.info.duration_seconds
        joined: list[Span] = []
        for start, end in sorted((max(start, 0.0), min(end, duration)) for start, end in self.looked):
            if joined and start <= joined[-1][1] + _ROUNDING_SECONDS:
                joined[-1] = joined[-1][0], max(joined[-1][1], end)
            elif end > start:
                joined.append((start, end))
        lacking = duration - sum(end - start for start, end in joined)
        return None if joined and lacking <= (_ROUNDING_SECONDS if self.is_exact else _UNTOLD_SECONDS) else joined


def chosen_file(
    media: Iterable[Media], file_of: Mapping[str, PurePosixPath | None]
) -> tuple[Media, PurePosixPath] | None:
    """The first of several names of a video for which there is a file."""
    return next(((item, file) for item in media if (file := file_of.get(item.name)) is not None), None)


class Collector:
    """Puts records into their videos and notes what does not fit."""

    def __init__(
        self,
        *,
        videos: Mapping[PurePosixPath, ImportedVideo],
        broken: Mapping[PurePosixPath, str],
        file_of: Mapping[str, PurePosixPath | None],
        options: ImportOptions,
        problems: list[Problem],
    ) -> None:
        self._videos = videos
        self._broken = broken
        self._file_of = file_of
        self._options = options
        self._problems = problems
        self.num_from_problems = sum(problem.reason != "unreadable file" for problem in problems)
        """Annotations that the readers could not turn into records."""
        self._num_past_end = self._num_placed = self._num_like_frames = self._num_like_minutes = 0
        self._too_long: list[str] = []
        self._formats: set[str] = set()

    def add(self, reading: Reading) -> None:
        """All records of a file, and the videos that it lists."""
        for name, subset in reading.listed.items():
            self._cover(Coverage(media=(Media(name=name),), subset=subset), reading=reading)
        self._formats.add(reading.format)
        for coverage in reading.covered:
            self._cover(coverage, reading=reading)
        for record in reading.records:
            self._add(record, reading=reading)
        for problem in reading.problems:
            self._mark_lost(problem.reason, problem.media)

    def hints(self) -> list[str]:
        """What the numbers suggest to have gone wrong."""
        hints = []
        many, all_of = self._num_past_end * 2 > self._num_placed > 0, f"{self._num_past_end} of {self._num_placed}"
        # Other formats than tables tell their unit, and --unit does not change it.
        if many and self._num_like_frames == self._num_past_end and self._formats <= {"ava", "csv"}:
            hints.append(
                f"{all_of} annotations lie past the end of their video, and would lie inside if their times were "
                "frames; try --unit frames (or --unit milliseconds)"
            )
        if many and self._num_like_minutes == self._num_past_end:
            hints.append(
                f"{all_of} annotations lie past the end of their video, and would lie inside if their times were a "
                "sixtieth: a spreadsheet takes 1:30 for an hour and a half; type 0:01:30, or divide its cells by 60"
            )
        if self._too_long:
            hints.append(
                f"{len(self._too_long)} tables have rows for more time than their video lasts, such as "
                f"{self._too_long[0]}; are they of these videos, and of their frame rate? --fps tells another"
            )
        unclear = [str(file) for file, video in self._videos.items() if video.is_unclear]
        if unclear:
            hints.append(
                f"of the annotations of {len(unclear)} videos, such as {brief(unclear[0])}, none could be used; these "
                "videos count as not looked at, not as empty"
            )
        return hints

    def _cover(self, coverage: Coverage, *, reading: Reading) -> None:
        chosen = chosen_file(coverage.media, self._file_of)
        if chosen is None or chosen[1] not in self._videos:
            return
        media, file = chosen
        video = self._videos[file]
        video.subsets.update([coverage.subset] if coverage.subset else [])
        if coverage.stretches is None:
            video.is_whole = True
            return
        fps = self._options.fps or video.info.fps
        video.is_exact |= coverage.is_exact
        spans = [tuple(time.at(fps) + media.origin_seconds for time in stretch) for stretch in coverage.stretches]
        video.looked += [(start, end) for start, end in spans]
        last = max((end for _, end in spans), default=0.0)
        if last > video.info.duration_seconds + _UNTOLD_SECONDS:
            self._too_long.append(f"{reading.path} ({last:.2f} s, of {video.info.duration_seconds:.2f} s)")

    def _note(self, reason: Reason, record: Record, detail: str) -> None:
        self._problems.append(Problem(reason=reason, where=record.where, detail=detail))
        self._mark_lost(reason, record.media)

    def _mark_lost(self, reason: Reason, media: tuple[Media, ...]) -> None:
        chosen = chosen_file(media, self._file_of) if reason in _NOT_UNDERSTOOD else None
        if chosen is not None and chosen[1] in self._videos:
            self._videos[chosen[1]].has_lost = True

    def _add(self, record: Record, *, reading: Reading) -> None:
        if (why := self._unwanted(record, is_detection=reading.is_detected)) is not None:
            self._note("not selected", record, why)
            return
        chosen = chosen_file(record.media, self._file_of)
        if chosen is None:
            self._note(
                "unknown video", record, f"no file in the folder of the videos for {shown(record.media[0].name)}"
            )
            return
        media, file = chosen
        if file in self._broken:
            self._note("unreadable video", record, self._broken[file])
            return
        video = self._videos[file]
        fields = reading.label_fields
        label = _clean(" ".join(filter(None, (record.fields.get(name, "").strip() for name in fields))))
        if not label:
            self._note("empty label", record, f"nothing in {' and '.join(map(repr, fields))}")
            return
        times = self._times(record, origin=media.origin_seconds, fps=self._options.fps or video.info.fps)
        if times is None:
            return
        details = _details(record.fields, is_scored=reading.is_detected or reading.format == "activitynet")
        from_sheet = reading.path.parent.suffix.lower() in WORKBOOKS
        self._place(record, times=times, label=label, video=video, details=details, from_sheet=from_sheet)
        if record.subset:
            video.subsets.update([record.subset])
        if self._options.group is not None and self._options.group in record.fields:
            video.groups.update([record.fields[self._options.group]])

    def _unwanted(self, record: Record, *, is_detection: bool) -> str | None:
        """Why the user does not want a record."""
        for name, values in self._options.only.items():
            if record.fields.get(name, "") not in values:
                return f"{name} is {record.fields.get(name, '')!r}"
        lowest, score = self._options.min_score, number_of(record.fields.get("score"))
        if lowest is None and is_detection:
            lowest = _DETECTION_SCORE
        if lowest is None or score is None or score >= lowest:
            return None
        return f"its score is {score:.4g}, below {lowest:g}; --min-score sets the lowest"

    def _times(self, record: Record, *, origin: float, fps: float) -> Span | None:
        """Start and end in seconds of the video; a point is widened if that is wished."""
        start = record.start.at(fps) + origin
        if record.end is not None and record.end != record.start:
            return start, record.end.at(fps) + origin
        width = self._options.point_seconds
        if record.end is not None and width is None:
            self._note(
                "end not after start",
                record,
                f"from {start:g} to {start:g} s; --points keeps it, --point-length gives it a length",
            )
            return None
        if width is None:
            told = f"at {start:g} s, without an end; --points keeps it, --point-length gives it a length"
            self._note("point event", record, told)
            return None
        if width:
            self._note("widened point event", record, f"at {start:g} s; kept with a length of {width:g} s around it")
        return start - width / 2, start + width / 2

    def _place(
        self,
        record: Record,
        *,
        times: Span,
        label: str,
        video: ImportedVideo,
        details: Mapping[str, Any],
        from_sheet: bool,
    ) -> None:
        start, end = times
        duration = video.info.duration_seconds
        told = f"{shown(label)} from {start:g} to {end:g} s"
        is_point = start == end and self._options.point_seconds == 0
        if not (end > start or is_point):
            self._note("end not after start", record, told)
            return
        self._num_placed += 1
        if end > duration + _ROUNDING_SECONDS:
            self._num_past_end += 1
            self._num_like_frames += end <= video.info.num_frames
            self._num_like_minutes += from_sheet and end <= duration * 60
        overhang = _ROUNDING_SECONDS if is_point else 0.0
        if start >= duration + overhang or end <= -overhang:
            self._note("outside the video", record, f"{told}, of a video of {duration:.2f} s")
            return
        if start < -_ROUNDING_SECONDS or end > duration + _ROUNDING_SECONDS:
            self._note("clipped to the video", record, f"{told}, of a video of {duration:.2f} s; kept, clipped")
        start, end = min(max(start, 0.0), duration), min(max(end, 0.0), duration)
        if video.repeats.add(label, start, end):
            video.segments.append((start, end, label, details))
        else:
            self._note("duplicate", record, f"{told} is there already")


def _clean(label: str) -> str:
    """One spelling of what looks alike: composed accents, single spaces."""
    return " ".join(unicodedata.normalize("NFC", label).split())


def _details(fields: Mapping[str, str], *, is_scored: bool) -> dict[str, Any]:
    """Who made an annotation and when, and the score of a detection; left out where they are not well-formed."""
    details: dict[str, Any] = {}
    annotator = fields.get("annotator", "").strip()
    if annotator:
        details["annotator"] = annotator[:_LONGEST_NAME]
    edited = fields.get("edited", "").strip()
    try:
        if edited and datetime.fromisoformat(edited).tzinfo is not None:
            details["edited"] = edited
    except ValueError:
        pass
    score = number_of(fields.get("score")) if is_scored else None
    if score is not None and 0 <= score <= 1:
        details["score"] = score
    return details
