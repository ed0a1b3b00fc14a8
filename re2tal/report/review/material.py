"""What a review begins with: the videos, what was detected and annotated in them, and what to look at first."""

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, StrictFloat, StringConstraints, TypeAdapter, ValidationError

from re2tal.common.annotation_files import AnnotationFileError, read_annotation_file, read_json
from re2tal.common.labelled import Stretches
from re2tal.common.settings import Settings
from re2tal.common.untrusted import shown, some
from re2tal.evaluation import Predictions, read_predictions
from re2tal.report.review.errors import ReviewError
from re2tal.report.review.ranges import join
from re2tal.report.review.state import FAR, Content, Key, ReviewSegment, Seconds, ShortName, VideoState

__all__ = ["Material", "ReviewStretch", "read_material", "score_curves"]

_DECIMALS = 3
_WHOLE: Stretches = ((0.0, FAR),)


class ReviewStretch(Settings):
    """A stretch to look at, and how much use that is expected to be."""

    model_config = ConfigDict(extra="ignore")
    video: str
    start: Seconds
    end: Seconds
    score: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Material:
    """The input of a review."""

    files: Mapping[str, Path]
    """By video id, as annotations or else detections call it."""
    classes: tuple[str, ...]
    annotators: tuple[str, ...]
    """Who is named in the annotations."""
    about: Mapping[str, Any]
    """What the annotation file says beside its database."""
    database: Mapping[str, Any]
    """The entries of the annotation file."""
    suggestions: tuple[ReviewStretch, ...]
    """The most useful first."""
    inputs: Mapping[str, str | None]
    """Hashes of the files that segments come from, by option."""
    notes: tuple[str, ...]
    found: Predictions | None
    rows_of: Mapping[str, np.ndarray]
    """Rows of the detections by video id."""
    _known: dict[str, VideoState] = field(default_factory=dict)

    def state_of(self, video: str) -> VideoState:
        """What is known of a video before any edit."""
        if video not in self._known:
            self._known[video] = VideoState(segments=self._segments(video), looked=self._looked(video))
        return self._known[video]

    def scores_of(self, video: str) -> np.ndarray:
        """(N,) scores of the detections of a video."""
        return np.zeros(0) if self.found is None else self.found.scores[self._rows(video)]

    def seconds_of(self, video: str) -> float | None:
        """The length that the annotations tell."""
        value = self.database[video].get("duration") if video in self.database else None
        return float(value) if isinstance(value, int | float) and 0 < value < FAR else None

    def _rows(self, video: str) -> np.ndarray:
        return self.rows_of.get(video, np.zeros(0, np.int64))

    def _segments(self, video: str) -> dict[str, Content]:
        segments = {}
        for place, row in enumerate(self.database.get(video, {}).get("annotations", ())):
            start, end = (min(max(time, 0.0), FAR) for time in row["segment"])
            if start > end or not row["label"].strip():  # stays in the file as it is
                continue
            value = ReviewSegment(
                start=start,
                end=end,
                label=row["label"],
                status="kept",
                score=row.get("score"),
                source=f"a{place}",
                annotator=row.get("annotator") or None,
                edited=row.get("edited"),
            )
            segments[value.source or ""] = Content(value=value)
        found = self.found
        for place, row in enumerate(self._rows(video).tolist()):
            assert found is not None
            start, end = np.round(found.segments[row].clip(0, FAR), _DECIMALS).tolist()
            value = ReviewSegment(
                start=start,
                end=end,
                label=found.class_names[found.label_index[row]],
                status="proposed",
                score=round(float(found.scores[row]), 4),
            )
            segments[f"d{place}"] = Content(value=value)
        return segments

    def _looked(self, video: str) -> Stretches:
        if video not in self.database:
            return ()
        labelled = self.database[video].get("labelled")
        return _WHOLE if labelled is None else join(map(tuple, labelled))

    def curves_of(self, video: str) -> dict[str, list[list[float]]]:
        """Of each class, and of all ("", the first), the largest score at any time, as `score_curves` gives it."""
        if self.found is None:
            return {}
        rows = self._rows(video)
        labels, segments, scores = self.found.label_index[rows], self.found.segments[rows], self.found.scores[rows]
        curves = {"": score_curves(segments, scores)}
        for label in np.unique(labels).tolist():
            curves[self.found.class_names[label]] = score_curves(segments[labels == label], scores[labels == label])
        return curves


def score_curves(segments: np.ndarray, scores: np.ndarray) -> list[list[float]]:
    """The largest score of the segments that hold a time, as steps.

    Args:
        segments: (N, 2) seconds.
        scores: (N,) scores.

    Returns:
        Times, and the value from each of them on.
    """
    order = np.argsort(segments[:, 0], kind="stable").tolist()
    times, values = [0.0], [0.0]
    running: list[tuple[float, float]] = []  # (-score, end)
    begun = 0
    for time in np.unique(segments).tolist():
        while begun < len(order) and segments[order[begun], 0] <= time:
            heapq.heappush(running, (-float(scores[order[begun]]), float(segments[order[begun], 1])))
            begun += 1
        while running and running[0][1] <= time:
            heapq.heappop(running)
        value = -running[0][0] if running else 0.0
        if value != values[-1]:
            times.append(round(time, _DECIMALS))
            values.append(round(value, _DECIMALS))
    return [times, values]


def read_material(
    files: Mapping[str, Path],
    *,
    detections: Path | None,
    annotations: Path | None,
    classes: Sequence[str] = (),
    first: Path | None = None,
) -> Material:
    """Read the files of a review and match their ids with the videos.

    Args:
        files: the videos by id; annotations and detections may call them by id or name, with the ending or without.
        detections: of `re2tal predict`, or in the same layout; None: there are none.
        annotations: of any layout that the package reads; None: there are none.
        classes: names to begin the list of classes with.
        first: JSON of `re2tal suggest`, {"suggestions": [{"video", "start", "end", "score"}]}.

    Raises:
        ReviewError: a file that cannot be used, or ids that are of no video.
    """
    about, database = ({}, {}) if annotations is None else _read_annotations(annotations)
    found = None if detections is None else read_predictions(detections)
    for name in [*classes, *(found.class_names if found else ())]:
        _check(_LABEL, name, where=f"{detections}, label" if found and name in found.class_names else "--classes")
    names = _Names(files)
    # Annotations of other videos are what new ones are added to; detections of others are a mistake.
    annotated = names.match(database, path=annotations, needs_one=False)
    detected = names.match(found.video_ids if found else (), path=detections)
    id_of = {file: name for name, file in [*detected.items(), *annotated.items()]}  # annotations have the last word
    rows_of: dict[str, np.ndarray] = {}
    if found is not None:
        order = np.argsort(found.video_index, kind="stable")
        bounds = np.searchsorted(found.video_index[order], np.arange(len(found.video_ids) + 1))
        for place, name in enumerate(found.video_ids):
            video = id_of.get(detected.get(name, ""), name)
            rows_of[video] = order[bounds[place] : bounds[place + 1]]
    listed = {id_of.get(file, file): path for file, path in files.items()}
    labels = sorted({row["label"] for entry in database.values() for row in entry["annotations"]})
    who = sorted(
        {row["annotator"] for entry in database.values() for row in entry["annotations"] if "annotator" in row}
    )
    return Material(
        files=listed,
        classes=tuple(dict.fromkeys([*classes, *labels, *sorted(found.class_names if found else ())])),
        annotators=tuple(name for name in who if name),
        about=about,
        database=database,
        suggestions=() if first is None else _read_suggestions(first, names=names, id_of=id_of),
        inputs={"detections": _hash(detections), "annotations": _hash(annotations)},
        notes=names.notes,
        found=found,
        rows_of=rows_of,
    )


class _Names:
    """Finds the video that a file of annotations or detections means by a name."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._ids: dict[str, str | None] = {video: video for video in files}
        """By name; None where it may mean several."""
        self._example = next(iter(files), "")
        self.notes: tuple[str, ...] = ()
        for video, path in files.items():
            for name in {video + path.suffix, path.name, path.stem, path.stem.removeprefix("v_")}:
                if self._ids.setdefault(name, video) != video and name not in files:
                    self._ids[name] = None

    def find(self, name: str) -> str | None:
        return self._ids.get(name) or self._ids.get(f"v_{name}")

    def match(self, names: Iterable[str], *, path: Path | None, needs_one: bool = True) -> dict[str, str]:
        """The videos of all names that have one; says in `notes` which have none."""
        names = list(names)
        found = {name: video for name in names if (video := self.find(name)) is not None}
        if names and not found and needs_one:
            raise ReviewError(
                f"no video of {path} is among the given ones: it has {shown(names[0])}, for example, the videos are "
                f"called like {shown(self._example)}; give the folder of those videos"
            )
        missing = [name for name in names if name not in found]
        if missing:
            self.notes += (f"{len(missing)} of {len(names)} videos of {path} have no file here: {some(missing)}",)
        return found


def _read_annotations(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the file says beside its entries, and the entries, of which all that is used has been checked."""
    fix = "give --annotations the path of an annotation file"
    try:
        database = read_annotation_file(path, needs_subsets=False, fix=fix).database
        content = {} if path.is_dir() or path.suffix == ".zip" else read_json(path, what="annotation file", fix=fix)
    except AnnotationFileError as error:
        raise ReviewError(str(error)) from None
    about = {name: value for name, value in content.items() if name != "database"} if "database" in content else {}
    for video, entry in database.items():
        where = f"{path}, video {shown(video)}"
        if not isinstance(entry, dict) or not isinstance(entry.setdefault("annotations", []), list):
            raise ReviewError(f'{where}: must be an object with a list "annotations", got {shown(entry)}')
        for row in entry["annotations"]:
            _check(_Row, row, where=where)
        if entry.get("labelled") is not None:
            _check(_LABELLED, entry["labelled"], where=f'{where}, "labelled"')
    return about, database


class _Row(Settings):
    """What is used of an annotation."""

    model_config = ConfigDict(extra="ignore")
    segment: tuple[StrictFloat, StrictFloat]
    label: ShortName
    score: StrictFloat | None = None
    annotator: Annotated[str, StringConstraints(max_length=200)] | None = None
    edited: Key | None = None


_LABEL = TypeAdapter(Annotated[str, StringConstraints(max_length=200, pattern=r"\S")])
_LABELLED = TypeAdapter(list[tuple[Seconds, Seconds]])


def _check(kind: type[Settings] | TypeAdapter[Any], value: Any, *, where: str) -> Any:
    try:
        return kind.validate_python(value) if isinstance(kind, TypeAdapter) else kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ReviewError(f"{where}: {place or 'it'}: {first['msg']}, got {shown(value)}") from None


def _read_suggestions(path: Path, *, names: _Names, id_of: Mapping[str, str]) -> tuple[ReviewStretch, ...]:
    try:
        content = read_json(path, what="suggestions", fix="write it with `re2tal suggest`, or leave --first out")
    except AnnotationFileError as error:
        raise ReviewError(str(error)) from None
    if not isinstance(content, dict) or not isinstance(content.get("suggestions"), list):
        raise ReviewError(
            f'{path} must hold {{"suggestions": [{{"video", "start", "end", "score"}}]}}, got {shown(content)}'
        )
    listed: list[ReviewStretch] = [
        _check(ReviewStretch, row, where=f"{path}, suggestion {place}")
        for place, row in enumerate(content["suggestions"], start=1)
    ]
    found = names.match(dict.fromkeys(row.video for row in listed), path=path)
    known = [
        row.model_copy(update={"video": id_of.get(found[row.video], found[row.video])})
        for row in listed
        if row.video in found
    ]
    return tuple(sorted(known, key=lambda row: -row.score))


def _hash(path: Path | None) -> str | None:
    if path is None:
        return None
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()
