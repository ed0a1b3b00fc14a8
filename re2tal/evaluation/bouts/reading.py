"""Annotations or detections -> what was observed in every video."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.common.annotation_files import AnnotationFileError, read_annotation_file, read_json
from re2tal.common.labelled import Stretches, read_labelled
from re2tal.common.untrusted import is_number, shown, some
from re2tal.evaluation.bouts.observation import Observation, clipped, merged
from re2tal.evaluation.files import read_predictions
from re2tal.evaluation.tables import EvaluationError

__all__ = ["DEFAULT_THRESHOLD", "BoutRules", "Observed", "read_observed"]

DEFAULT_THRESHOLD = 0.3
"""As of the tables that `re2tal predict` writes for people."""
_MOST_SECONDS = 1e8

Bouts = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, kw_only=True)
class BoutRules:
    """What counts as a bout."""

    threshold: float | None = None
    """Score that a detection needs; None: 0.3. Annotations that have a score need it only if it is given."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Of single classes."""
    merge_gap: float | None = None
    """Bouts of one class at most so many seconds apart are one; 0 joins those that touch. None: only those that
    overlap."""
    min_bout: float = 0.0
    """Seconds; shorter bouts do not count. Point events do."""
    annotator: str | None = None
    """Whose annotations count; None: everybody's."""
    subset: tuple[str, ...] = ()
    """Subsets of annotations that count; empty: all."""

    def counts(self, label: str, score: float | None, *, default: float | None) -> bool:
        """Whether something with this score is a bout."""
        least = self.thresholds.get(label, default if self.threshold is None else self.threshold)
        return score is None or least is None or score >= least

    def bouts(self, segments: list[tuple[float, float]]) -> np.ndarray:
        """(N, 2) bouts of one class."""
        joined = merged(segments, gap=self.merge_gap)
        lengths = joined[:, 1] - joined[:, 0]
        return joined[(lengths >= self.min_bout) | (lengths == 0)]


@dataclass(frozen=True, kw_only=True)
class Observed:
    """All videos of a file."""

    path: Path
    observations: tuple[Observation, ...]
    annotators: Mapping[str, int]
    """Annotations by annotator; empty where the file does not tell."""
    lengths: Mapping[str, float]
    """Seconds, of the videos whose length, or at least what was looked at, is known."""
    notes: tuple[str, ...]
    """What a reader should know."""

    @property
    def without_length(self) -> tuple[str, ...]:
        """Videos of unknown length, taken to end with their last bout."""
        return tuple(item.video_id for item in self.observations if item.video_id not in self.lengths)


def read_observed(path: Path, *, rules: BoutRules, seconds: Mapping[str, float] | None = None) -> Observed:
    """Read an annotation file (any layout that `re2tal.common.annotation_files` knows) or a file of detections.

    Args:
        path: JSON of ActivityNet's layout or submission layout, NPZ with detections, or THUMOS-14's text files.
        rules: what counts as a bout.
        seconds: lengths of videos, where the file does not tell. Others are taken to end with their last bout.
    """
    if path.suffix == ".npz" or _holds_detections(path):
        return _read_detections(path, rules=rules, seconds=seconds or {})
    return _read_annotations(path, rules=rules, seconds=seconds or {})


def _holds_detections(path: Path) -> bool:
    if path.is_dir() or path.suffix == ".zip":
        return False
    try:
        content = read_json(path, what="annotations", fix="give the path of annotations or of a detections.json")
    except AnnotationFileError as error:
        raise EvaluationError(str(error)) from None
    return isinstance(content, dict) and "results" in content and "database" not in content


def _read_detections(path: Path, *, rules: BoutRules, seconds: Mapping[str, float]) -> Observed:
    if rules.annotator is not None or rules.subset:
        raise EvaluationError(
            f"{path} holds detections, which have neither annotators nor subsets; leave the choice out"
        )
    found = read_predictions(path)
    bouts: list[Bouts] = [{} for _ in found.video_ids]
    columns = (found.video_index, found.label_index, found.segments, found.scores)
    for video, label, (start, end), score in zip(*(column.tolist() for column in columns), strict=True):
        name = found.class_names[label]
        if rules.counts(name, score, default=DEFAULT_THRESHOLD):
            bouts[video].setdefault(name, []).append((start, end))
    observations = tuple(
        _observation(video_id, of_video, rules=rules, length=seconds.get(video_id), labelled=None)
        for video_id, of_video in zip(found.video_ids, bouts, strict=True)
    )
    notes = [] if rules.threshold is not None else [f"detections count from a score of {DEFAULT_THRESHOLD:g} on"]
    lengths = {video_id: seconds[video_id] for video_id in found.video_ids if video_id in seconds}
    return Observed(path=path, observations=observations, annotators={}, lengths=lengths, notes=tuple(notes))


def _read_annotations(path: Path, *, rules: BoutRules, seconds: Mapping[str, float]) -> Observed:
    try:
        database = read_annotation_file(path, fix="give the path of annotations or of a detections.json").database
    except AnnotationFileError as error:
        raise EvaluationError(str(error)) from None
    annotators: Counter[str] = Counter()
    observations, lengths = [], {}
    for video_id, entry in database.items():
        where = f"{path}, video {shown(video_id)}"
        rows = entry.get("annotations", []) if isinstance(entry, dict) else None
        if not isinstance(rows, list):
            raise EvaluationError(f'{where}: must be an object with a list "annotations", got {shown(entry)}')
        if rules.subset and entry.get("subset") not in rules.subset:
            continue
        bouts: Bouts = {}
        for row in rows:
            label, segment, annotator, score = _row(row, where=where)
            annotators.update([] if annotator is None else [annotator])
            if rules.annotator in (None, annotator) and rules.counts(label, score, default=None):
                bouts.setdefault(label, []).append(segment)
        length = _length(entry, where=where) or seconds.get(video_id)
        labelled = _labelled(entry, length=length, where=where)
        observation = _observation(video_id, bouts, rules=rules, length=length, labelled=labelled)
        if length is not None:
            lengths[video_id] = length
        elif labelled is not None:
            lengths[video_id] = max((end for _, end in labelled), default=0.0)
        observations.append(_with_frames(observation, entry))
    _require(rules, path=path, database=database, annotators=annotators, num_chosen=len(observations))
    notes = []
    if len(annotators) > 1 and rules.annotator is None:
        listed = some([f"{shown(name)} ({count})" for name, count in annotators.most_common()])
        notes.append(f"annotations are by {listed}, and all count together; --annotator NAME takes one's own")
    return Observed(
        path=path,
        observations=tuple(observations),
        annotators=dict(annotators),
        lengths=lengths,
        notes=tuple(notes),
    )


def _require(
    rules: BoutRules, *, path: Path, database: Mapping[str, Any], annotators: Counter[str], num_chosen: int
) -> None:
    if rules.annotator is not None and rules.annotator not in annotators:
        there = some([shown(name) for name in annotators]) or 'none, since no annotation has an "annotator"'
        raise EvaluationError(f"{path} has no annotation by {shown(rules.annotator)}; its annotators are {there}")
    if not num_chosen:
        subsets = sorted({str(entry.get("subset")) for entry in database.values() if isinstance(entry, dict)})
        raise EvaluationError(
            f"no video of {path} is in subset {' or '.join(map(shown, rules.subset))}; it has {some(subsets)}"
            if database
            else f"{path} holds no video"
        )


def _row(row: Any, *, where: str) -> tuple[str, tuple[float, float], str | None, float | None]:
    """Label, segment, annotator and score of an annotation."""
    label = row.get("label") if isinstance(row, dict) else None
    if not isinstance(label, str):
        raise EvaluationError(f'{where}: an annotation must have a "label" (text) and a "segment", got {shown(row)}')
    start, end = _pair(row.get("segment"), what=f"{where}, {shown(label)}: segment")
    annotator, score = row.get("annotator"), row.get("score")
    if annotator is not None and not isinstance(annotator, str):
        raise EvaluationError(f'{where}, {shown(label)}: "annotator" must be a name (text), got {shown(annotator)}')
    if score is not None and not is_number(score):
        raise EvaluationError(f'{where}, {shown(label)}: "score" must be a number, got {shown(score)}')
    return label, (start, end), annotator, score


def _length(entry: Mapping[str, Any], *, where: str) -> float | None:
    length = entry.get("duration")
    if length is not None and not (is_number(length) and 0 < length <= _MOST_SECONDS):
        raise EvaluationError(f'{where}: "duration" must be the length in seconds, above 0, got {shown(length)}')
    return None if length is None else float(length)


def _labelled(entry: Mapping[str, Any], *, length: float | None, where: str) -> Stretches | None:
    """What somebody has looked at; None: the whole video."""
    annotated = [row["segment"] for row in entry.get("annotations", [])]
    try:
        return read_labelled(
            entry.get("labelled"), annotated=annotated, duration=math.inf if length is None else length
        )
    except ValueError as error:
        raise EvaluationError(f"{where}: {error}") from None


def _pair(value: Any, *, what: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)) or value[0] > value[1]:
        raise EvaluationError(f"{what} must be [start, end] in seconds, start not after the end, got {shown(value)}")
    return float(value[0]), float(value[1])


def _observation(
    video_id: str,
    bouts: Mapping[str, list[tuple[float, float]]],
    *,
    rules: BoutRules,
    length: float | None,
    labelled: Stretches | None,
) -> Observation:
    if length is None:
        segments = [*(segment for of_class in bouts.values() for segment in of_class), *(labelled or ())]
        length = max((end for _, end in segments), default=0.0)
    whole = np.array([[0.0, length]])
    stretches = whole if labelled is None else clipped(np.array(labelled, np.float64).reshape(-1, 2), whole)
    stretches = stretches[stretches[:, 1] > stretches[:, 0]]
    inside = {label: clipped(rules.bouts(segments), stretches) for label, segments in sorted(bouts.items())}
    return Observation(
        video_id=video_id, stretches=stretches, bouts={label: found for label, found in inside.items() if len(found)}
    )


def _with_frames(observation: Observation, entry: Mapping[str, Any]) -> Observation:
    """With the length of a frame, where the entry tells the rate, or the number of frames."""
    rate: Any = entry.get("fps")
    frames: Any = entry.get("frame")
    length: Any = entry.get("duration")
    if not is_number(rate) and is_number(frames) and length:
        rate = frames / length
    if not is_number(rate) or not 0.1 <= rate <= 10_000:
        return observation
    return replace(observation, frame_seconds=1 / rate)
