"""Records of any format and a folder of videos -> annotations as the package reads them, and what was left out."""

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from re2tal.common.annotation_files import annotation_lines
from re2tal.common.atomic import atomic_text
from re2tal.common.labelled import read_labelled
from re2tal.common.untrusted import shown, some
from re2tal.common.video_files import videos_passed_over
from re2tal.labels.collecting import Collector, ImportedVideo, ImportOptions, chosen_file
from re2tal.labels.lengths import ToldVideos
from re2tal.labels.records import Media, Reading, SourceError, ToldLength
from re2tal.labels.report import ImportReport
from re2tal.labels.splitting import split_groups
from re2tal.labels.videos import VideoFolder, common_pattern, probe_all

__all__ = ["ImportOptions", "ImportedLabels", "import_annotations", "write_annotations"]

_DIGITS = 6
_TIERED = ("elan", "anvil", "textgrid")


@dataclass(frozen=True, kw_only=True)
class ImportedLabels:
    """Annotations, ready to be written, and the report on them."""

    database: Mapping[str, Any]
    root: Path | None
    """Folder of the videos; None where there are none at hand."""
    video_pattern: str
    """From a video's id to its file below the folder."""
    report: ImportReport


def import_annotations(
    readings: Sequence[Reading],
    *,
    videos: Path | None,
    lengths: Mapping[str, ToldLength] = MappingProxyType({}),
    options: ImportOptions,
    tell: Callable[[int, int], None],
) -> ImportedLabels:
    """Find and probe the videos, convert and check every annotation, and share the videos out to subsets.

    Args:
        readings: of the files of annotations.
        videos: folder of the videos, searched at any depth; None: they are not at hand, and `lengths` and the files
            of annotations tell how long they are.
        lengths: of videos that are not at hand.
        options: see there.
        tell: is told how many videos of how many have been probed.

    Raises:
        SourceError: an option names nothing that is there, or a video may be one of several files.
    """
    problems = [problem for reading in readings for problem in reading.problems]
    if options.label:
        readings = [replace(reading, label_fields=options.label) for reading in readings]
    _check_fields(readings, options)
    folder = ToldVideos(readings, lengths) if videos is None else VideoFolder(videos, allow_links=options.allow_links)
    if isinstance(folder, ToldVideos):
        _require_rates(readings, folder, options)
    file_of = _find_files(readings, folder)
    wanted = sorted(
        {chosen[1] for media in _mentions(readings) if (chosen := chosen_file(media, file_of)) is not None}
        | folder.matching(options.empty)
    )
    if isinstance(folder, ToldVideos):
        probed = {file: folder.infos[file] for file in wanted}
    else:
        probed = probe_all(folder.root, wanted, tell=tell)
    found = {file: ImportedVideo(info=info) for file, info in probed.items() if not isinstance(info, str)}
    broken = {file: reason for file, reason in probed.items() if isinstance(reason, str)}
    collector = Collector(videos=found, broken=broken, file_of=file_of, options=options, problems=problems)
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
        notes=[*_tiers(readings, options), *_annotators(readings, options), *_links(folder), *_passed_over(videos)],
        hints=collector.hints(),
    )
    return ImportedLabels(database=database, root=videos, video_pattern=pattern, report=report)


def write_annotations(imported: ImportedLabels, path: Path) -> None:
    """As JSON of ActivityNet's layout, with the folder of the videos relative to the file; whole or not at all."""
    about = {"version": "re2tal 1"}
    if imported.root is not None:
        about["videos"] = Path(os.path.relpath(imported.root.resolve(), path.parent.resolve())).as_posix()
        about["video_pattern"] = imported.video_pattern
    with atomic_text(path) as file:
        file.writelines(annotation_lines(about, imported.database))


def _require_rates(readings: Iterable[Reading], folder: ToldVideos, options: ImportOptions) -> None:
    """Frame numbers need a rate, which not every table of lengths tells."""
    in_frames = any(
        record.start.frames or (record.end and record.end.frames) for item in readings for record in item.records
    )
    if (
        in_frames
        and options.fps is None
        and not all(info.fps for info in folder.infos.values() if not isinstance(info, str))
    ):
        raise SourceError("annotations count in frames, and nothing tells the rate; give it with --fps")


def _check_fields(readings: Iterable[Reading], options: ImportOptions) -> None:
    """Fields that the user names must be there."""
    there = {name for reading in readings for record in reading.records for name in record.fields}
    for name in [*options.label, *options.only] if there else []:
        if name not in there:
            raise SourceError(f"no annotation has a field {name!r}; there are {some(sorted(map(repr, there)))}")


def _tiers(readings: Iterable[Reading], options: ImportOptions) -> list[str]:
    """The tiers of ELAN's, Anvil's and Praat's files, which may hold more than labels of actions."""
    tiers = Counter(
        record.fields["tier"] for reading in readings if reading.format in _TIERED for record in reading.records
    )
    if len(tiers) < 2 or "tier" in options.only or "tier" in options.label:
        return []
    listed = some(f"{name!r} ({count})" for name, count in tiers.most_common())
    return [f"the annotations are of {len(tiers)} tiers, {listed}; --only tier=NAME takes one alone"]


def _annotators(readings: Sequence[Reading], options: ImportOptions) -> list[str]:
    """Several people who may have labelled the same."""
    by = Counter(name for reading in readings for record in reading.records if (name := record.fields.get("annotator")))
    if len(by) < 2 or "annotator" in options.only:
        return []
    listed = some(f"{name!r} ({count})" for name, count in by.most_common())
    return [
        f"the annotations are of {len(by)} annotators, {listed}, all of which count, also where they overlap; --only "
        "annotator=NAME takes one's alone"
    ]


def _links(folder: VideoFolder) -> list[str]:
    told = []
    if folder.linked:
        told.append(
            f"{len(folder.linked)} links, such as {folder.linked[0]}, lead out of the folder of the videos and are not "
            "followed; if you have made them, --allow-links takes what they lead to"
        )
    if folder.unnameable:
        told.append(
            f"the names of {len(folder.unnameable)} videos, such as {shown(str(folder.unnameable[0]))}, are no text in "
            "UTF-8; rename the files"
        )
    return told


def _passed_over(videos: Path | None) -> list[str]:
    told = None if videos is None else videos_passed_over(videos)
    return [told] if told else []


def _mentions(readings: Iterable[Reading]) -> Iterator[tuple[Media, ...]]:
    """The names of every video that the files are about."""
    for reading in readings:
        yield from (record.media for record in reading.records)
        yield from (coverage.media for coverage in reading.covered)
        yield from ((Media(name=name),) for name in reading.listed)
        yield from (problem.media for problem in reading.problems if problem.media)


def _find_files(readings: Sequence[Reading], folder: VideoFolder) -> dict[str, PurePosixPath | None]:
    """The file for each name that the annotations use."""
    of_folder: dict[str, bool] = {}
    for media in _mentions(readings):
        of_folder |= {item.name: item.of_folder for item in media}
    found = {name: folder.find(name, in_folder=of_folder[name]) for name in sorted(of_folder)}
    claims: dict[PurePosixPath, str] = {}
    for name, file in found.items():
        if file is None or not of_folder[name]:
            continue
        inside = PurePosixPath(name).parent.name
        if claims.setdefault(file, inside) != inside:
            raise SourceError(
                f"both {claims[file]!r} and {inside!r} would have the video {file}; put the videos of each into a "
                "folder that is called so"
            )
    return found


def _group_of(file: PurePosixPath, video: ImportedVideo, *, group: str | None, fields: Collection[str]) -> str:
    """What stays together in the split; without a wish, the video itself."""
    if group is None:
        return str(file)
    if group in fields:
        if len(video.groups) > 1:
            raise SourceError(
                f"--group {group}: video {str(file)!r} has {len(video.groups)} values, "
                f"{some(map(repr, sorted(video.groups)))}; a video has to belong to one group"
            )
        return next(iter(video.groups), str(file))
    try:
        found = re.search(group, str(file))
    except re.error as error:
        raise SourceError(f"--group {group!r} is neither a field nor a regular expression: {error}") from None
    if found is None:
        raise SourceError(
            f"--group {group!r} is no field of the annotations (they have {some(sorted(fields))}) and, as "
            f"a regular expression, does not match the video {str(file)!r}"
        )
    return next((part for part in found.groups() if part), found[0])


def _subsets(
    videos: Mapping[PurePosixPath, ImportedVideo], *, groups: Mapping[PurePosixPath, str], options: ImportOptions
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
        counts[groups[file]].update(segment[2] for segment in video.segments)
    chosen = split_groups(counts, share=options.split, seed=options.seed)
    return {file: "validation" if groups[file] in chosen else "training" for file in videos}


def _entry(video: ImportedVideo, *, subset: str, group: str | None) -> dict[str, Any]:
    info = video.info
    entry: dict[str, Any] = {
        "subset": subset,
        "duration": round(info.duration_seconds, _DIGITS),
        "frame": info.num_frames,
        "fps": round(info.fps, _DIGITS),
        "resolution": f"{info.width}x{info.height}",
    }
    for name in [*(() if info.fps else ("frame", "fps")), *(() if info.width else ("resolution",))]:
        del entry[name]  # of a video that is not at hand
    if group is not None:
        entry["group"] = group
    segments = [(start, end) for start, end, *_ in video.segments]
    looked = None if (spans := video.labelled) is None else [list(span) for span in spans]
    if (labelled := read_labelled(looked, annotated=segments, duration=entry["duration"])) is not None:
        entry["labelled"] = [[round(start, _DIGITS), round(end, _DIGITS)] for start, end in labelled]
    entry["annotations"] = [
        {"segment": [round(start, _DIGITS), round(end, _DIGITS)], "label": label, **details}
        for start, end, label, details in sorted(video.segments, key=lambda segment: segment[:3])
    ]
    assert math.isfinite(info.fps)
    return entry
