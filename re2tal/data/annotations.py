"""Annotation files of ActivityNet's layout, checked entry by entry."""

import difflib
import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from re2tal.types import Action, AnnotatedVideo

__all__ = ["AnnotationError", "Annotations", "find_class_names", "read_annotations", "read_ids", "select_subset"]

# Annotations of one label this close at both ends are the same action, written twice;
# ends this far past the video's end are rounding.
_SAME_SECONDS = 1e-3


class AnnotationError(ValueError):
    """An annotation file, class list or list of ids that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What an annotation file says, after cleaning."""

    path: Path
    videos: tuple[AnnotatedVideo, ...]
    problems: tuple[str, ...]
    """What was clamped or left out, one line each."""


def read_annotations(path: Path | str, *, ignore_labels: Collection[str] = ("Ambiguous",)) -> Annotations:
    """Read {"database": {id: {"subset", "duration", "frame"?, "annotations": [{"segment", "label"}]}}}.

    Actions that reach past the video are clamped to it; those outside it, without length or annotated
    twice are left out. Both are told in `problems`. Entries that cannot be understood are errors.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnnotationError(f"no annotation file at {path}; set data.annotations to its path") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AnnotationError(f"annotation file {path} is not readable JSON: {error}") from None
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise AnnotationError(
            f'annotation file {path} must hold {{"database": {{id: ...}}}}, got {_show(content)}; '
            "bring it to ActivityNet's layout"
        )
    problems: list[str] = []
    videos = tuple(
        _read_video(video_id, entry, path=path, ignore_labels=ignore_labels, problems=problems)
        for video_id, entry in database.items()
    )
    return Annotations(path=path, videos=videos, problems=tuple(problems))


def select_subset(annotations: Annotations, subset: str | Collection[str]) -> tuple[AnnotatedVideo, ...]:
    """The videos of a subset, in the order of the file; `subset` may list several names."""
    wanted = {subset} if isinstance(subset, str) else set(subset)
    chosen = tuple(video for video in annotations.videos if video.subset in wanted)
    if not chosen:
        there = ", ".join(sorted({repr(video.subset) for video in annotations.videos})) or "no videos"
        raise AnnotationError(
            f"no video of {annotations.path} is in subset {' or '.join(map(repr, sorted(wanted)))}; it has {there}"
        )
    return chosen


def find_class_names(annotations: Annotations, *, classes: Path | None) -> tuple[str, ...]:
    """The class names in the order of their indices: from a file with one per line, else the labels sorted.

    Every label of the annotations must be among them.
    """
    labels = {action.label: video for video in annotations.videos for action in video.actions}
    if classes is None:
        return tuple(sorted(labels))
    names = _read_lines(classes, what="class list", option="data.classes")
    if len(set(names)) < len(names) or not names:
        twice = sorted({name for name in names if names.count(name) > 1})
        raise AnnotationError(
            f"class list {classes} must name every class once, got {len(names)} names, twice: {twice}"
        )
    for label, video in labels.items():
        if label not in names:
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
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise AnnotationError(f"no {what} at {path}; set {option} to a text file with one name per line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{what} {path} is not a readable text file: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())


def _read_video(
    video_id: str, entry: Any, *, path: Path, ignore_labels: Collection[str], problems: list[str]
) -> AnnotatedVideo:
    where = f"{path}, video {video_id!r}"
    if not isinstance(entry, dict):
        raise AnnotationError(
            f'{where}: must be an object with "subset", "duration" and "annotations", got {_show(entry)}'
        )
    subset: Any = entry.get("subset")
    duration: Any = entry.get("duration")
    frames: Any = entry.get("frame")
    if not isinstance(subset, str):
        raise AnnotationError(f'{where}: "subset" must be text, such as "training", got {subset!r}')
    if not _is_number(duration) or duration <= 0:
        raise AnnotationError(f'{where}: "duration" must be the length in seconds, above 0, got {duration!r}')
    if frames is not None and (not _is_number(frames) or frames < 1 or frames != int(frames)):
        raise AnnotationError(f'{where}: "frame" must be the number of frames, a whole number, got {frames!r}')
    annotations = entry.get("annotations", [])
    if not isinstance(annotations, list):
        raise AnnotationError(f'{where}: "annotations" must be a list, got {_show(annotations)}')
    actions: list[Action] = []
    for row in annotations:
        action = _read_action(row, duration=duration, where=where, ignore_labels=ignore_labels, problems=problems)
        if action is None:
            continue
        if any(_same(action, earlier) for earlier in actions):
            problems.append(
                f"{where}: {action.label!r} from {action.start_seconds:g} to {action.end_seconds:g} s is annotated "
                "twice; used once"
            )
        else:
            actions.append(action)
    return AnnotatedVideo(
        video_id=video_id,
        subset=subset,
        duration_seconds=float(duration),
        num_frames=None if frames is None else int(frames),
        actions=tuple(actions),
    )


def _read_action(
    row: Any, *, duration: float, where: str, ignore_labels: Collection[str], problems: list[str]
) -> Action | None:
    """One annotation; None if it is left out."""
    if not isinstance(row, dict) or not isinstance(row.get("label"), str):
        raise AnnotationError(f'{where}: an annotation must have a "label" (text) and a "segment", got {_show(row)}')
    label, segment = row["label"], row.get("segment")
    if not isinstance(segment, list) or len(segment) != 2 or not all(map(_is_number, segment)):
        raise AnnotationError(f'{where}, {label!r}: "segment" must be [start, end] in seconds, got {segment!r}')
    if label in ignore_labels:
        return None
    start, end = segment
    if start >= end:
        problems.append(f"{where}: {label!r} from {start:g} to {end:g} s has no length; left out")
        return None
    if start >= duration or end <= 0:
        problems.append(f"{where}: {label!r} from {start:g} to {end:g} s lies outside the {duration:g} s; left out")
        return None
    if start < -_SAME_SECONDS or end > duration + _SAME_SECONDS:
        problems.append(f"{where}: {label!r} from {start:g} to {end:g} s reaches past the {duration:g} s; clamped")
    return Action(start_seconds=max(float(start), 0.0), end_seconds=min(float(end), float(duration)), label=label)


def _same(a: Action, b: Action) -> bool:
    near = max(abs(a.start_seconds - b.start_seconds), abs(a.end_seconds - b.end_seconds)) <= _SAME_SECONDS
    return near and a.label == b.label


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _show(value: Any) -> str:
    return f"an object with keys {list(value)[:5]}" if isinstance(value, dict) else f"{value!r:.80}"
