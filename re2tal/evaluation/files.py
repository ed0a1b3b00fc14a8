"""Reading ground truth and predictions for the metric, with errors that say which entry is wrong."""

import zipfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from re2tal.common.annotation_files import AnnotationFile, AnnotationFileError, Repeats, read_annotation_file, read_json
from re2tal.common.labelled import Stretches, read_labelled
from re2tal.common.untrusted import shown, some
from re2tal.evaluation.tables import EvaluationError, GroundTruth, Predictions

__all__ = ["predictions_of", "read_blocked", "read_ground_truth", "read_json_file", "read_predictions"]

_LARGEST_NPZ = 2**31
"""Bytes that the arrays of a file may unpack to; a small archive may unpack to more than any memory."""
_NPZ_COLUMNS = ("video_id", "t_start", "t_end", "label", "score")


def read_ground_truth(
    path: Path | str | AnnotationFile,
    *,
    subset: str | Sequence[str],
    blocked: Path | str | Collection[str] | None = None,
    ignore_labels: Collection[str] = ("Ambiguous",),
    subset_file: Path | str | None = None,
    one_class: str | None = None,
    as_annotated: bool = False,
    point_seconds: float | None = None,
) -> GroundTruth:
    """The labelled actions of one subset.

    Args:
        path: a file of any layout that `re2tal.common.annotation_files` knows, ActivityNet's for one; or one as read.
        subset: Name of the subset; several where files of different origin name it differently.
        blocked: Videos to leave out: ids, or a JSON file with a list of ids.
        ignore_labels: Annotations to leave out.
        subset_file: CSV with columns "video" and "subset", for a `path` that does not tell the subsets.
        one_class: The label that every action gets instead of its own, to measure a class-agnostic detector.
        as_annotated: Count every annotation, as ActivityNet's own evaluation code does. Otherwise an action that is
            annotated twice counts once and empty ones are left out, as in the reference implementation.
        point_seconds: The length that annotations without one are given, around their time; with 0 they stay points.
            None: they are empty.
    """
    file = path if isinstance(path, AnnotationFile) else _read_file(Path(path), subset_file=subset_file)
    path, database = file.path, file.database
    subset_of = _subsets(database, path)
    wanted = (subset,) if isinstance(subset, str) else tuple(subset)
    if not set(wanted) & set(subset_of.values()):
        there = some(map(repr, sorted(set(subset_of.values())))) or "none"
        raise EvaluationError(
            f"no video of {path} is in subset {some(map(repr, wanted))}; it has {there}: name one of these"
        )
    blocked = read_blocked(blocked)
    chosen = {name: entry for name, entry in database.items() if subset_of[name] in wanted and name not in blocked}
    truth = _ground_truth(chosen, path=path, blocked=blocked, ignore_labels=ignore_labels)
    if one_class is not None:
        truth = replace(truth, class_names=(one_class,), label_index=np.zeros_like(truth.label_index))
    if point_seconds is not None:
        truth = replace(truth, segments=_widened(truth.segments, seconds=point_seconds))
    return truth if as_annotated else _cleaned(truth, points=point_seconds is not None)


def _read_file(path: Path, *, subset_file: Path | str | None) -> AnnotationFile:
    try:
        return read_annotation_file(
            path,
            subset_file=None if subset_file is None else Path(subset_file),
            what="ground truth",
            fix="give the path of an annotation file",
        )
    except AnnotationFileError as error:
        raise EvaluationError(str(error)) from None


def read_predictions(path: Path | str) -> Predictions:
    """Scored segments.

    Args:
        path: JSON of ActivityNet's submission layout, {"results": {id: [{"segment", "label", "score"}]}},
            or NPZ with one array per column: video_id, t_start, t_end, label, score.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return _read_npz(path)
    content = read_json_file(path, what="predictions")
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise EvaluationError(
            f'{path} must hold {{"results": {{id: [{{"segment", "label", "score"}}]}}}}, got {_keys(content)}'
        )
    return predictions_of(results, path=path)


def predictions_of(results: dict[str, Any], *, path: Path) -> Predictions:
    """Scored segments, by video id, as they stand in the JSON file at `path`."""
    for name, rows_of_video in results.items():
        if not isinstance(rows_of_video, list):
            raise EvaluationError(f"{path}, video {name!r}: must be a list of predictions, got {shown(rows_of_video)}")
    rows = _Rows(path, results)
    class_names, label_index = _numbered(rows.labels())
    predictions = Predictions(
        video_ids=tuple(results),
        class_names=class_names,
        video_index=rows.video_index,
        label_index=label_index,
        segments=rows.numbers("segment"),
        scores=rows.numbers("score"),
    )
    _check_predictions(predictions, path)
    return predictions


def read_blocked(blocked: Path | str | Collection[str] | None) -> frozenset[str]:
    """The ids of blocked videos: given, or read from a JSON file with a list (or an object) of ids."""
    if blocked is None:
        return frozenset()
    if not isinstance(blocked, (Path, str)):
        return frozenset(blocked)
    content = read_json_file(Path(blocked), what="blocked videos")
    if not isinstance(content, (list, dict)) or not all(isinstance(name, str) for name in content):
        raise EvaluationError(f"{blocked} must hold a JSON list of video ids, got {shown(content)}")
    return frozenset(content)


def _ground_truth(
    database: dict[str, Any], *, path: Path, blocked: frozenset[str], ignore_labels: Collection[str]
) -> GroundTruth:
    kept: dict[str, list[Any]] = {}
    for name, entry in database.items():
        annotations = entry.get("annotations") if isinstance(entry, dict) else None
        if not isinstance(annotations, list):
            raise EvaluationError(f'{path}, video {name!r}: must have a list "annotations", got {_keys(entry)}')
        kept[name] = [row for row in annotations if not (isinstance(row, dict) and row.get("label") in ignore_labels)]
    rows = _Rows(path, kept)
    class_names, label_index = _numbered(rows.labels())
    labelled = {name: _labelled(entry, where=f"{path}, video {name!r}") for name, entry in database.items()}
    return GroundTruth(
        video_ids=tuple(kept),
        class_names=class_names,
        video_index=rows.video_index,
        label_index=label_index,
        segments=rows.numbers("segment"),
        durations=np.array([_duration(entry) for entry in database.values()], np.float64),
        blocked=blocked,
        labelled={name: stretches for name, stretches in labelled.items() if stretches is not None},
        empty=frozenset(name for name in kept if not database[name]["annotations"] and labelled[name] != ()),
    )


def _labelled(entry: dict[str, Any], *, where: str) -> Stretches | None:
    """What somebody has looked at; None: the whole video."""
    if entry.get("labelled") is None:
        return None
    duration = _duration(entry)
    segments: list[Any] = [row.get("segment") for row in entry["annotations"] if isinstance(row, dict)]
    annotated = [segment for segment in segments if _is_finite(segment, (2,))]
    try:
        return read_labelled(
            entry["labelled"], annotated=annotated, duration=np.inf if np.isnan(duration) else duration
        )
    except ValueError as error:
        raise EvaluationError(f"{where}: {error}") from None


def _duration(entry: dict[str, Any]) -> float:
    """Of a video, in seconds. The metric does without it, so that an odd one is as good as none."""
    value = entry.get("duration")
    return float(value) if isinstance(value, int | float) and 0 < value < 1e9 else np.nan


def _widened(segments: np.ndarray, *, seconds: float) -> np.ndarray:
    """Segments (N, 2) of which those without length get one."""
    is_point = segments[:, :1] == segments[:, 1:]
    return np.where(is_point, segments + np.array([-0.5, 0.5]) * seconds, segments)


def _cleaned(truth: GroundTruth, *, points: bool) -> GroundTruth:
    """Without empty segments and repeated annotations, which are named in `problems`; with points if they count."""
    kept: list[int] = []
    problems: list[str] = []
    repeats = Repeats()
    columns = (truth.video_index.tolist(), truth.label_index.tolist(), truth.segments.tolist())
    for row, (video, label, (start, end)) in enumerate(zip(*columns, strict=True)):
        counts = start < end or (points and start == end)
        if counts and repeats.add((video, label), start, end):
            kept.append(row)
            continue
        if counts:
            fault = "annotated twice with the same label; counted once"
        else:
            hint = " (`re2tal evaluate --points` measures point events)" if start == end else ""
            fault = f"does not end after it starts; left out{hint}"
        problems.append(f"video {truth.video_ids[video]!r}, segment {[start, end]}: {fault}")
    used, label_index = np.unique(truth.label_index[kept], return_inverse=True)
    return replace(
        truth,
        class_names=tuple(truth.class_names[label] for label in used),
        video_index=truth.video_index[kept],
        label_index=label_index,
        segments=truth.segments[kept],
        problems=tuple(problems),
    )


def _read_npz(path: Path) -> Predictions:
    columns = _npz_columns(path)
    lengths = {name: column.shape for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or columns["score"].ndim != 1:
        raise EvaluationError(f"{path}: every array must be 1-D and of one length, got {lengths}")
    kinds = {name: "USiu" if name in ("video_id", "label") else "fiu" for name in columns}
    if wrong := [name for name, column in columns.items() if column.dtype.kind not in kinds[name]]:
        raise EvaluationError(
            f"{path}: video_id and label must be text, the other arrays numbers, got {wrong[0]} of type "
            f"{columns[wrong[0]].dtype}"
        )
    try:
        names = {name: columns[name].astype(str).tolist() for name in ("video_id", "label")}
    except ValueError as error:  # bytes or numbers that are no characters
        raise EvaluationError(f"{path}: video_id and label must be text: {error}") from None
    video_ids, video_index = _numbered(names["video_id"])
    class_names, label_index = _numbered(names["label"])
    predictions = Predictions(
        video_ids=video_ids,
        class_names=class_names,
        video_index=video_index,
        label_index=label_index,
        segments=np.stack([columns["t_start"], columns["t_end"]], 1).astype(np.float64),
        scores=columns["score"].astype(np.float64),
    )
    _check_predictions(predictions, path)
    return predictions


def _npz_columns(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _LARGEST_NPZ:
            raise ValueError(f"it unpacks to {size} bytes, more than {_LARGEST_NPZ}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in _NPZ_COLUMNS}
    except FileNotFoundError:
        raise EvaluationError(f"no predictions at {path}; give the path of a .json or .npz file") from None
    except KeyError as error:
        raise EvaluationError(f"{path} must hold the arrays {', '.join(_NPZ_COLUMNS)}: {error}") from None
    except Exception as error:  # a file of anything makes its reader fail in any way, for lack of memory too
        raise EvaluationError(f"{path} is not a readable NPZ file: {error}") from None


def _check_predictions(predictions: Predictions, path: Path) -> None:
    reversed_rows = np.flatnonzero(predictions.segments[:, 0] > predictions.segments[:, 1])
    not_finite = np.flatnonzero(~np.isfinite(predictions.scores) | ~np.isfinite(predictions.segments).all(1))
    for rows, rule in (
        (not_finite, "score and segment must be finite"),
        (reversed_rows, "start must not pass the end"),
    ):
        if len(rows):
            row = rows[0]
            raise EvaluationError(
                f"{path}, video {predictions.video_ids[predictions.video_index[row]]!r}: {rule}, got segment "
                f"{predictions.segments[row].tolist()} with score {predictions.scores[row]} ({len(rows)} such entries)"
            )


def read_json_file(path: Path, *, what: str) -> Any:
    """The content of a JSON file; `what` is what errors call it."""
    try:
        return read_json(path, what=what, fix="give the path of a JSON file")
    except AnnotationFileError as error:
        raise EvaluationError(str(error)) from None


def _subsets(database: dict[str, Any], path: Path) -> dict[str, str]:
    for name, entry in database.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("subset"), str):
            raise EvaluationError(f'{path}, video {name!r}: must have a "subset" (text), got {_keys(entry)}')
    return {name: entry["subset"] for name, entry in database.items()}


class _Rows:
    """The entries of all videos of a file, column by column; what is wrong with one is told with its video."""

    def __init__(self, path: Path, by_video: dict[str, list[Any]]) -> None:
        self._path, self._names = path, list(by_video)
        self._rows = [row for rows in by_video.values() for row in rows]
        self.video_index = np.repeat(np.arange(len(by_video)), [len(rows) for rows in by_video.values()])
        """(N,) the video of each entry."""

    def labels(self) -> list[str]:
        """N class names."""
        labels = self._column("label")
        for row, label in enumerate(labels):
            if not isinstance(label, str):
                raise self._error(row, f"label must be a class name (text), got {shown(label)}")
        return labels

    def numbers(self, key: Literal["segment", "score"]) -> np.ndarray:
        """Segments (N, 2) or scores (N,) as float64."""
        values = self._column(key)
        shape = (len(values), 2) if key == "segment" else (len(values),)
        try:
            table = np.array(values, np.float64).reshape(shape) if not values else np.array(values, np.float64)
        except (TypeError, ValueError):
            table = np.zeros(0)
        if table.shape != shape or not np.isfinite(table).all():
            wrong = next(row for row, value in enumerate(values) if not _is_finite(value, shape[1:]))
            rule = "two finite numbers [start, end] in seconds" if key == "segment" else "a finite number"
            raise self._error(wrong, f"{key} must be {rule}, got {shown(values[wrong])}")
        return table

    def _column(self, key: str) -> list[Any]:
        try:
            return [row[key] for row in self._rows]
        except (KeyError, TypeError, IndexError):
            wrong = next(place for place, row in enumerate(self._rows) if not isinstance(row, dict) or key not in row)
            raise self._error(wrong, f'an entry must have "{key}", got {shown(self._rows[wrong])}') from None

    def _error(self, row: int, problem: str) -> EvaluationError:
        return EvaluationError(f"{self._path}, video {self._names[self.video_index[row]]!r}: {problem}")


def _is_finite(value: Any, shape: tuple[int, ...]) -> bool:
    try:
        number = np.array(value, np.float64)
    except (TypeError, ValueError):
        return False
    return number.shape == shape and bool(np.isfinite(number).all())


def _numbered(values: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The different values in order of appearance, and the place of each among them (N,)."""
    number: dict[str, int] = {}
    places = [number.setdefault(value, len(number)) for value in values]
    return tuple(number), np.array(places, np.int64)


def _keys(value: Any) -> str:
    return f"an object with keys {shown(list(value))}" if isinstance(value, dict) else shown(value)
