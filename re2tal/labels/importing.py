"""Records of any format and a folder of videos -> annotations as the package reads them, and what was left out."""

import json
import math
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from re2tal.common.annotation_files import Repeats
from re2tal.common.atomic import atomic_text
from re2tal.common.labelled import read_labelled
from re2tal.labels.records import Problem, Reading, Reason, Record, SourceError
from re2tal.labels.report import ImportReport
from re2tal.labels.splitting import split_groups
from re2tal.labels.videos import VideoFolder, common_pattern, probe_all
from re2tal.video import VideoInfo

__all__ = ["ImportOptions", "ImportedLabels", "import_annotations", "write_annotations"]

# As the reader of annotations has it: overhangs up to this are rounding.
_ROUNDING_SECONDS = 0.01
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the user decides about the annotations, once they are read."""

    label: tuple[str, ...] = ()
    """Fields that make the label, joined by spaces; empty: those of the format."""
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Values of fields that an annotation must have, by field."""
    fps: float | None = None
    """Rate that frame numbers count at; None: that of each video."""
    point_seconds: float | None = None
    """Length that events without extent are given, around their time; None: they are left out."""
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


@dataclass(frozen=True, kw_only=True)
class ImportedLabels:
    """Annotations, ready to be written, and the report on them."""

    database: Mapping[str, Any]
    root: Path
    """Folder of the videos."""
    video_pattern: str
    """From a video's id to its file below the folder."""
    report: ImportReport


@dataclass(kw_only=True)
class _Video:
    """One file and what is annotated in it."""

    info: VideoInfo
    segments: list[tuple[float, float, str]] = field(default_factory=list)
    labelled: list[list[float]] | None = None
    """What somebody has looked at, by any file; None: the whole video."""
    repeats: Repeats = field(default_factory=Repeats)
    subsets: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)


def import_annotations(
    readings: Sequence[Reading], *, videos: Path, options: ImportOptions, tell: Callable[[int, int], None]
) -> ImportedLabels:
    """Find and probe the videos, convert and check every annotation, and share the videos out to subsets.

    Args:
        readings: of the files of annotations.
        videos: folder of the videos, searched at any depth.
        options: see there.
        tell: is told how many videos of how many have been probed.

    Raises:
        SourceError: an option names nothing that is there, or a video may be one of several files.
    """
    problems = [problem for reading in readings for problem in reading.problems]
    if options.label:
        readings = [replace(reading, label_fields=options.label) for reading in readings]
    _check_fields(readings, options)
    folder = VideoFolder(videos, allow_links=options.allow_links)
    file_of = _find_files(readings, folder)
    wanted = sorted({file for file in file_of.values() if file is not None} | folder.matching(options.empty))
    probed = probe_all(videos, wanted, tell=tell)
    found = {file: _Video(info=info) for file, info in probed.items() if not isinstance(info, str)}
    broken = {file: reason for file, reason in probed.items() if isinstance(reason, str)}
    collector = _Collector(videos=found, broken=broken, file_of=file_of, options=options, problems=problems)
    for reading in readings:
        collector.add(reading)
    kept = {file: found[file] for file in sorted(found)}
    pattern, ids = common_pattern(list(kept))
    fields = {name for reading in readings for record in reading.records for name in record.fields}
    groups = {file: _group_of(file, video, group=options.group, fields=fields) for file, video in kept.items()}
    subset_of = _subsets(kept, groups=groups, options=options)
    database = {
        ids[file]: _entry(video, subset=subset_of[file], group=groups[file] if options.group else None)
        for file, video in kept.items()
    }
    report = ImportReport.of(
        readings,
        database=database,
        problems=problems,
        num_files=len(folder.files),
        num_records=sum(len(reading.records) for reading in readings) + collector.num_from_problems,
        notes=[*_tiers(readings, options), *_links(folder)],
        hints=collector.hints(),
    )
    return ImportedLabels(database=database, root=videos, video_pattern=pattern, report=report)


def write_annotations(imported: ImportedLabels, path: Path) -> None:
    """As JSON of ActivityNet's layout, with the folder of the videos relative to the file; whole or not at all."""
    about = {
        "version": "re2tal 1",
        "videos": Path(os.path.relpath(imported.root.resolve(), path.parent.resolve())).as_posix(),
        "video_pattern": imported.video_pattern,
    }
    with atomic_text(path) as file:
        file.writelines(_lines(about, imported.database))


def _lines(about: Mapping[str, Any], database: Mapping[str, Any]) -> Iterator[str]:
    """JSON with a line for each annotation: as `json.dumps` indents, every number would have its own, at ten times the
    time."""

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    yield text(about).removesuffix("}") + ', "database": {'
    for place, (video_id, entry) in enumerate(database.items()):
        told = {name: value for name, value in entry.items() if name != "annotations"}
        yield f'{"," if place else ""}\n {text(video_id)}: {text(told).removesuffix("}")}, "annotations": ['
        rows = entry["annotations"]
        yield ",".join(f"\n  {text(row)}" for row in rows) + ("\n ]}" if rows else "]}")
    yield "\n}}\n"


def _check_fields(readings: Iterable[Reading], options: ImportOptions) -> None:
    """Fields that the user names must be there."""
    there = {name for reading in readings for record in reading.records for name in record.fields}
    for name in [*options.label, *options.only] if there else []:
        if name not in there:
            raise SourceError(f"no annotation has a field {name!r}; there are {', '.join(sorted(map(repr, there)))}")


def _tiers(readings: Iterable[Reading], options: ImportOptions) -> list[str]:
    """The tiers of ELAN's files, which may hold more than labels of actions."""
    tiers = Counter(
        record.fields["tier"] for reading in readings if reading.format == "elan" for record in reading.records
    )
    if len(tiers) < 2 or "tier" in options.only or "tier" in options.label:
        return []
    listed = ", ".join(f"{name!r} ({count})" for name, count in tiers.most_common(8))
    return [f"the annotations are of {len(tiers)} tiers, {listed}; --only tier=NAME takes one alone"]


def _links(folder: VideoFolder) -> list[str]:
    if not folder.linked:
        return []
    count = len(folder.linked)
    return [
        f"{count} links, such as {folder.linked[0]}, lead out of the folder of the videos and are not followed; if you "
        "have made them, --allow-links takes what they lead to"
    ]


def _find_files(readings: Iterable[Reading], folder: VideoFolder) -> dict[str, PurePosixPath | None]:
    """The file for each name that the annotations use."""
    names = {media.name for reading in readings for record in reading.records for media in record.media}
    names |= {name for reading in readings for name in reading.listed}
    return {name: folder.find(name) for name in sorted(names)}


class _Collector:
    """Puts records into their videos and notes what does not fit."""

    def __init__(
        self,
        *,
        videos: Mapping[PurePosixPath, _Video],
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
        self._num_past_end = self._num_placed = self._num_like_frames = 0

    def add(self, reading: Reading) -> None:
        """All records of a file, and the videos that it lists."""
        for name, subset in reading.listed.items():
            file = self._file_of[name]
            if file in self._videos and file is not None:
                self._videos[file].subsets.update([subset] if subset else [])
        for name, stretches in reading.labelled.items():
            file = self._file_of[name]
            if file in self._videos and file is not None:
                self._videos[file].labelled = [*(self._videos[file].labelled or []), *stretches]
        for record in reading.records:
            self._add(record, label_fields=reading.label_fields)

    def hints(self) -> list[str]:
        """What the numbers suggest to have gone wrong."""
        if self._num_past_end * 2 > self._num_placed > 0 and self._num_like_frames == self._num_past_end:
            return [
                f"{self._num_past_end} of {self._num_placed} annotations lie past the end of their video, and would "
                "lie inside if their times were frames; try --unit frames (or --unit milliseconds)"
            ]
        return []

    def _note(self, reason: Reason, record: Record, detail: str) -> None:
        self._problems.append(Problem(reason=reason, where=record.where, detail=detail))

    def _add(self, record: Record, *, label_fields: Sequence[str]) -> None:
        for name, values in self._options.only.items():
            if record.fields.get(name, "") not in values:
                self._note("not selected", record, f"{name} is {record.fields.get(name, '')!r}")
                return
        media = next((item for item in record.media if self._file_of.get(item.name) is not None), None)
        file = None if media is None else self._file_of[media.name]
        if media is None or file is None:
            self._note("unknown video", record, f"no file in the folder of the videos for {record.media[0].name!r}")
            return
        if file in self._broken:
            self._note("unreadable video", record, self._broken[file])
            return
        video = self._videos[file]
        label = _clean(" ".join(filter(None, (record.fields.get(name, "").strip() for name in label_fields))))
        if not label:
            self._note("empty label", record, f"nothing in {' and '.join(map(repr, label_fields))}")
            return
        times = self._times(record, origin=media.origin_seconds, fps=self._options.fps or video.info.fps)
        if times is None:
            return
        self._place(record, times=times, label=label, video=video)
        if record.subset:
            video.subsets.update([record.subset])
        if self._options.group is not None and self._options.group in record.fields:
            video.groups.update([record.fields[self._options.group]])

    def _times(self, record: Record, *, origin: float, fps: float) -> tuple[float, float] | None:
        """Start and end in seconds of the video; a point is widened if that is wished."""
        start = record.start.at(fps) + origin
        if record.end is not None and record.end != record.start:
            return start, record.end.at(fps) + origin
        width = self._options.point_seconds
        if record.end is not None and width is None:
            self._note(
                "end not after start", record, f"from {start:g} to {start:g} s; --point-length gives it a length"
            )
            return None
        if width is None:
            self._note("point event", record, f"at {start:g} s, without an end; --point-length gives it a length")
            return None
        self._note("widened point event", record, f"at {start:g} s; kept with a length of {width:g} s around it")
        return start - width / 2, start + width / 2

    def _place(self, record: Record, *, times: tuple[float, float], label: str, video: _Video) -> None:
        start, end = times
        duration = video.info.duration_seconds
        shown = f"{label!r} from {start:g} to {end:g} s"
        if not end > start:
            self._note("end not after start", record, shown)
            return
        self._num_placed += 1
        if end > duration + _ROUNDING_SECONDS:
            self._num_past_end += 1
            self._num_like_frames += end <= video.info.num_frames
        if start >= duration or end <= 0:
            self._note("outside the video", record, f"{shown}, of a video of {duration:.2f} s")
            return
        if start < -_ROUNDING_SECONDS or end > duration + _ROUNDING_SECONDS:
            self._note("clipped to the video", record, f"{shown}, of a video of {duration:.2f} s; kept, clipped")
        start, end = max(start, 0.0), min(end, duration)
        if video.repeats.add(label, start, end):
            video.segments.append((start, end, label))
        else:
            self._note("duplicate", record, f"{shown} is there already")


def _clean(label: str) -> str:
    """One spelling of what looks alike: composed accents, single spaces."""
    return " ".join(unicodedata.normalize("NFC", label).split())


def _group_of(file: PurePosixPath, video: _Video, *, group: str | None, fields: Collection[str]) -> str:
    """What stays together in the split; without a wish, the video itself."""
    if group is None:
        return str(file)
    if group in fields:
        if len(video.groups) > 1:
            raise SourceError(
                f"--group {group}: video {str(file)!r} has {len(video.groups)} values, "
                f"{', '.join(map(repr, sorted(video.groups)[:3]))}; a video has to belong to one group"
            )
        return next(iter(video.groups), str(file))
    try:
        found = re.search(group, str(file))
    except re.error as error:
        raise SourceError(f"--group {group!r} is neither a field nor a regular expression: {error}") from None
    if found is None:
        raise SourceError(
            f"--group {group!r} is no field of the annotations (they have {', '.join(sorted(fields))}) and, as "
            f"a regular expression, does not match the video {str(file)!r}"
        )
    return next((part for part in found.groups() if part), found[0])


def _subsets(
    videos: Mapping[PurePosixPath, _Video], *, groups: Mapping[PurePosixPath, str], options: ImportOptions
) -> dict[PurePosixPath, str]:
    """As the files tell for every video, else a split by groups."""
    told = {file: video.subsets.most_common(1)[0][0] for file, video in videos.items() if video.subsets}
    mixed = [str(file) for file, video in videos.items() if len(video.subsets) > 1]
    if mixed and not options.resplit:
        raise SourceError(f"{len(mixed)} videos are in several subsets, such as {mixed[0]!r}; --resplit splits anew")
    if told and not options.resplit:
        if len(told) < len(videos):
            untold = next(str(file) for file in videos if file not in told)
            raise SourceError(
                f"the annotations tell the subset of {len(told)} of {len(videos)} videos, not of {untold!r}; complete "
                "them, or split anew with --resplit"
            )
        return told
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for file, video in videos.items():
        counts[groups[file]].update(label for _, _, label in video.segments)
    chosen = split_groups(counts, share=options.split, seed=options.seed)
    return {file: "validation" if groups[file] in chosen else "training" for file in videos}


def _entry(video: _Video, *, subset: str, group: str | None) -> dict[str, Any]:
    info = video.info
    entry: dict[str, Any] = {
        "subset": subset,
        "duration": round(info.duration_seconds, _DIGITS),
        "frame": info.num_frames,
        "fps": round(info.fps, _DIGITS),
        "resolution": f"{info.width}x{info.height}",
    }
    if group is not None:
        entry["group"] = group
    segments = [(start, end) for start, end, _ in video.segments]
    labelled = read_labelled(video.labelled, annotated=segments, duration=entry["duration"])
    if labelled is not None:
        entry["labelled"] = [[round(start, _DIGITS), round(end, _DIGITS)] for start, end in labelled]
    entry["annotations"] = [
        {"segment": [round(start, _DIGITS), round(end, _DIGITS)], "label": label}
        for start, end, label in sorted(video.segments)
    ]
    assert math.isfinite(info.fps)
    return entry
