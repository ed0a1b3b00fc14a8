"""Annotation files, checked entry by entry."""

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from re2tal.common.annotation_files import AnnotationFile, AnnotationFileError, Repeats, read_annotation_file
from re2tal.common.labelled import Stretches, read_labelled
from re2tal.common.types import Action, AnnotatedVideo
from re2tal.common.untrusted import is_number, shown, some

__all__ = [
    "AnnotationError",
    "AnnotationProblem",
    "Annotations",
    "find_class_names",
    "read_annotations",
    "read_class_names",
    "read_ids",
    "select_subset",
]

# Ends this far past the video's end are rounding: durations are written with two decimals.
_ROUNDING_SECONDS = 0.01

# Of a video that is three years long. What is listed of a video grows with both.
_MOST_SECONDS = 1e8
_MOST_FRAMES = 10**9

CLASS_LIST = "category_idx.txt"
"""Class names beside an annotation file or in a folder of them, one per line."""


class AnnotationError(ValueError):
    """An annotation file, class list or list of ids that cannot be used."""


ProblemKind = Literal["clamped", "outside", "without length", "annotated twice", "without duration"]


@dataclass(frozen=True, kw_only=True)
class AnnotationProblem:
    """One thing that was repaired in an annotation file."""

    kind: ProblemKind
    path: Path
    video_id: str
    detail: str
    """What was found and what was made of it."""

    def __str__(self) -> str:
        return f"{self.path}, video {self.video_id!r}: {self.detail}"


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What an annotation file says, after cleaning."""

    path: Path
    videos: tuple[AnnotatedVideo, ...]
    problems: tuple[AnnotationProblem, ...]
    """What was clamped or left out."""


def read_annotations(
    path: Path | str,
    *,
    ignore_labels: Collection[str] = ("Ambiguous",),
    subset_file: Path | None = None,
    duration_of: Callable[[str], float | None] = lambda video_id: None,
    point_seconds: float | None = None,
) -> Annotations:
    """Read a file of any layout that `re2tal.common.annotation_files` knows.

    Actions that reach past the video are clamped to it; those outside it, without length or annotated
    twice are left out. Both are told in `problems`. Entries that cannot be understood are errors.

    Args:
        path: of the file.
        ignore_labels: annotations to leave out.
        subset_file: CSV with columns "video" and "subset", for a `path` that does not tell the subsets.
        duration_of: gives the length of a video in seconds, or None where it cannot. Asked only if the layout does not
            tell; a video without length is taken to end with its last annotation.
        point_seconds: length that point events, which end where they start, are given around their time; None: they
            are left out.
    """
    try:
        file = read_annotation_file(Path(path), subset_file=subset_file, fix="set data.annotations to its path")
    except AnnotationFileError as error:
        raise AnnotationError(str(error)) from None
    problems: list[AnnotationProblem] = []
    database = file.database
    if not file.tells_durations:
        database = _with_durations(file, duration_of=duration_of, problems=problems)
    if point_seconds is not None:
        database = {video_id: _widened(entry, seconds=point_seconds) for video_id, entry in database.items()}
    videos = tuple(
        _read_video(video_id, entry, path=file.path, ignore_labels=ignore_labels, problems=problems)
        for video_id, entry in database.items()
    )
    return Annotations(path=file.path, videos=videos, problems=tuple(problems))


def select_subset(annotations: Annotations, subset: str | Collection[str]) -> tuple[AnnotatedVideo, ...]:
    """The videos of a subset, in the order of the file; `subset` may list several names."""
    wanted = {subset} if isinstance(subset, str) else set(subset)
    chosen = tuple(video for video in annotations.videos if video.subset in wanted)
    if not chosen:
        there = some(sorted({repr(video.subset) for video in annotations.videos})) or "no videos"
        raise AnnotationError(
            f"no video of {annotations.path} is in subset {some(map(repr, sorted(wanted)))}; it has {there}: "
            "set data.train_subset and data.test_subset to some of these"
        )
    return chosen


def find_class_names(
    annotations: Annotations, *, classes: Path | None = None, num_classes: int | None = None
) -> tuple[str, ...]:
    """The class names in the order of their indices; every label of the annotations must be among them.

    Args:
        annotations: of all subsets.
        classes: file with one name per line; None: `category_idx.txt` beside the annotations if it is there,
            else the labels sorted.
        num_classes: how many there must be; None: any number.
    """
    names = _list_class_names(annotations, classes=classes)
    if num_classes is not None and len(names) != num_classes:
        raise AnnotationError(
            f"{annotations.path} must have {num_classes} classes (data.num_classes), got {len(names)}: "
            f"{some(names)}; give a class list (data.classes), correct the annotations or data.num_classes"
        )
    return names


def read_class_names(path: Path) -> tuple[str, ...]:
    """The class names in a text file, one per line, in the order of their indices."""
    names = _read_lines(path, what="class list", option="data.classes")
    if len(set(names)) < len(names) or not names:
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise AnnotationError(
            f"class list {path} must name every class once, got {len(names)} names, twice: {shown(twice)}"
        )
    return names


def _list_class_names(annotations: Annotations, *, classes: Path | None) -> tuple[str, ...]:
    labels = {action.label: video for video in annotations.videos for action in video.actions}
    beside = (annotations.path if annotations.path.is_dir() else annotations.path.parent) / CLASS_LIST
    classes = classes or (beside if beside.is_file() else None)
    if classes is None:
        return tuple(sorted(labels))
    names = read_class_names(classes)
    known = frozenset(names)
    for label, video in labels.items():
        if label not in known:
            similar = difflib.get_close_matches(label, names, n=1)
            hint = f" (did you mean {similar[0]!r}?)" if similar else ""
            raise AnnotationError(
                f"{annotations.path}, video {video.video_id!r}: label {label!r} is not in class list {classes}{hint}; "
                "add it there, correct the annotation, or put it into data.ignore_labels"
            )
    return names


def read_ids(source: Path | Iterable[str] | None) -> frozenset[str]:
    """Video ids: given, or read from a text file with one per line."""
    if source is None:
        return frozenset()
    if isinstance(source, Path):
        return frozenset(_read_lines(source, what="list of missing videos", option="data.missing"))
    return frozenset(source)


def _read_lines(path: Path, *, what: str, option: str) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise AnnotationError(f"no {what} at {path}; set {option} to a text file with one name per line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{what} {path} is not a readable text file: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())


def _with_durations(
    file: AnnotationFile, *, duration_of: Callable[[str], float | None], problems: list[AnnotationProblem]
) -> dict[str, Any]:
    database: dict[str, Any] = {}
    for video_id, entry in file.database.items():
        duration = duration_of(video_id)
        if duration is None:
            duration = max(row["segment"][1] for row in entry["annotations"])
            detail = (
                f"has no readable file to tell its length; taken to end with its last annotation, at {duration:g} s"
            )
            problems.append(
                AnnotationProblem(kind="without duration", path=file.path, video_id=video_id, detail=detail)
            )
        database[video_id] = {**entry, "duration": duration}
    return database


def _widened(entry: Any, *, seconds: float) -> Any:
    """An entry with segments in place of its point events; what is odd is left for its reader."""
    rows: Any = entry.get("annotations") if isinstance(entry, dict) else None
    duration: Any = entry.get("duration") if isinstance(entry, dict) else None
    if not isinstance(rows, list) or not is_number(duration):
        return entry

    def around(row: Any) -> Any:
        segment = row.get("segment") if isinstance(row, dict) else None
        if not isinstance(segment, list) or len(segment) != 2 or not all(map(is_number, segment)):
            return row
        point, end = segment
        if point != end:
            return row
        if not 0 <= point <= duration + _ROUNDING_SECONDS:  # a segment outside, as what the reader leaves out
            return {**row, "segment": [point - seconds, point] if point < 0 else [point, point + seconds]}
        return {**row, "segment": [max(point - seconds / 2, 0.0), min(point + seconds / 2, duration)]}

    return {**entry, "annotations": [around(row) for row in rows]}


def _read_video(
    video_id: str, entry: Any, *, path: Path, ignore_labels: Collection[str], problems: list[AnnotationProblem]
) -> AnnotatedVideo:
    where = f"{path}, video {video_id!r}"
    if not isinstance(entry, dict):
        raise AnnotationError(
            f'{where}: must be an object with "subset", "duration" and "annotations", got {shown(entry)}'
        )
    subset: Any = entry.get("subset")
    duration: Any = entry.get("duration")
    frames: Any = entry.get("frame")
    if not isinstance(subset, str):
        raise AnnotationError(f'{where}: "subset" must be text, such as "training", got {shown(subset)}')
    if not is_number(duration) or not 0 < duration <= _MOST_SECONDS:
        raise AnnotationError(
            f'{where}: "duration" must be the length in seconds, above 0, got {shown(duration)} (at most '
            f"{_MOST_SECONDS:g})"
        )
    if frames is not None and (not is_number(frames) or not 1 <= frames <= _MOST_FRAMES or frames != int(frames)):
        raise AnnotationError(
            f'{where}: "frame" must be the number of frames, a whole number, got {shown(frames)} (at most '
            f"{_MOST_FRAMES})"
        )
    rate: Any = entry.get("fps")
    annotations = entry.get("annotations", [])
    if not isinstance(annotations, list):
        raise AnnotationError(f'{where}: "annotations" must be a list, got {shown(annotations)}')

    def tell(kind: ProblemKind, detail: str) -> None:
        problems.append(AnnotationProblem(kind=kind, path=path, video_id=video_id, detail=detail))

    actions, left_out = _read_actions(
        annotations, duration=duration, where=where, ignore_labels=ignore_labels, tell=tell
    )
    return AnnotatedVideo(
        video_id=video_id,
        subset=subset,
        duration_seconds=float(duration),
        num_frames=None if frames is None else int(frames),
        actions=tuple(actions),
        labelled=_read_stretches(entry, duration=duration, where=where),
        left_out=tuple(left_out),
        frame_rate=float(rate) if is_number(rate) and rate > 0 else None,
    )


def _read_actions(
    annotations: list[Any],
    *,
    duration: float,
    where: str,
    ignore_labels: Collection[str],
    tell: Callable[[ProblemKind, str], None],
) -> tuple[list[Action], list[tuple[float, float]]]:
    """The actions of a video, and where annotations lie that are left out."""
    actions: list[Action] = []
    left_out: list[tuple[float, float]] = []
    repeats = Repeats()
    for row in annotations:
        action = _read_action(row, duration=duration, where=where, ignore_labels=ignore_labels, tell=tell)
        if action is None:
            left_out.append((min(row["segment"]), max(row["segment"])))
        elif repeats.add(action.label, action.start_seconds, action.end_seconds):
            actions.append(action)
        else:
            times = f"{action.start_seconds:g} to {action.end_seconds:g} s"
            tell("annotated twice", f"{action.label!r} from {times} is annotated twice; used once")
    return actions, left_out


def _read_stretches(entry: dict[str, Any], *, duration: float, where: str) -> Stretches | None:
    """What of a video is labelled; its annotations are known to be sound."""
    try:
        segments = [row["segment"] for row in entry.get("annotations", [])]
        return read_labelled(entry.get("labelled"), annotated=segments, duration=duration)
    except ValueError as error:
        raise AnnotationError(f"{where}: {error}") from None


def _read_action(
    row: Any, *, duration: float, where: str, ignore_labels: Collection[str], tell: Callable[[ProblemKind, str], None]
) -> Action | None:
    """One annotation; None if it is left out."""
    if not isinstance(row, dict) or not isinstance(row.get("label"), str) or not row["label"].strip():
        raise AnnotationError(f'{where}: an annotation must have a "label" (text) and a "segment", got {shown(row)}')
    label, segment = row["label"], row.get("segment")
    if not isinstance(segment, list) or len(segment) != 2 or not all(map(is_number, segment)):
        raise AnnotationError(f'{where}, {label!r}: "segment" must be [start, end] in seconds, got {shown(segment)}')
    if label in ignore_labels:
        return None
    start, end = segment
    if start >= end:
        hint = " (data.point_seconds trains on point events)" if start == end else ""
        tell("without length", f"{label!r} from {start:g} to {end:g} s has no length; left out{hint}")
        return None
    if start >= duration or end <= 0:
        tell("outside", f"{label!r} from {start:g} to {end:g} s lies outside the {duration:g} s; left out")
        return None
    if start < -_ROUNDING_SECONDS or end > duration + _ROUNDING_SECONDS:
        tell("clamped", f"{label!r} from {start:g} to {end:g} s reaches past the {duration:g} s; clamped")
    return Action(start_seconds=max(float(start), 0.0), end_seconds=min(float(end), float(duration)), label=label)
