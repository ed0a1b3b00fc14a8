"""What a data set looks like in numbers: lengths of its actions and videos, rates, sizes."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.common.annotation_files import read_json
from re2tal.common.labelled import LabelledTime
from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import UnsafeNameError, path_inside, some
from re2tal.data.annotations import Annotations, read_annotations, select_subset
from re2tal.labels.records import SourceError
from re2tal.video import VideoError, VideoInfo, probe

__all__ = ["DataSet", "Measures", "load_data_set", "measure"]

_SAMPLE = 24
"""Videos that are opened where the annotations do not tell frame rate and size."""
_POINT_SECONDS = 1.0
_SIDED = re.compile(r"\b(left|right|links|rechts|gauche|droite|izquierd[ao]|derech[ao])\b|[ _-][LR]\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Annotations and where their videos are."""

    annotations: Annotations
    videos: Path
    video_pattern: str
    train_subset: str
    test_subset: str
    extra: dict[str, dict[str, Any]]
    """What else the file says of its videos, by id."""
    allow_links: bool = False
    """Whether links may lead out of the folder."""
    point_seconds: float | None = None
    """Length that point events are given in `annotations`; None: they are left out."""
    only_points: bool = False
    """Whether all annotations are point events."""

    @property
    def num_left_out_points(self) -> int:
        """Annotations without a length, which nothing trains on."""
        return sum(problem.kind == "without length" for problem in self.annotations.problems)

    def path_of(self, video_id: str) -> Path:
        """Where the file of a video is expected.

        Raises:
            SourceError: that is not in the folder.
        """
        return _path_of(self.video_pattern.replace("{id}", video_id), folder=self.videos, allow_links=self.allow_links)


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Numbers that the settings are chosen from; lengths in seconds, of the training videos."""

    num_train: int
    """Training videos with actions."""
    num_test: int
    num_actions: int
    class_names: tuple[str, ...]
    shortest: float
    """Length that one action in twenty stays below."""
    short: float
    """Length that one action in ten stays below."""
    median: float
    upper: float
    """Length that three actions in four stay below."""
    long: float
    """Length that nineteen actions in twenty stay below."""
    longest: float
    video_median: float
    video_long: float
    """Length that nine videos in ten stay below."""
    video_longest: float
    actions_per_minute: float
    total_seconds: float
    fps: float
    """Median of the videos."""
    fps_range: tuple[float, float]
    pixels: int
    """Of one frame of the median video."""
    aspect: float
    """Width over height of what is in the picture in every video: theirs if it is one, else the nearest to a square."""
    time: LabelledTime
    """How much of all training videos is labelled."""
    empty_videos: tuple[float, ...]
    """Labelled lengths of the training videos that are known to show no action."""
    empty_stretches: tuple[float, ...]
    """Lengths of the stretches of other training videos that are known to show none; empty if no video is known to
    and all are labelled as a whole, as they then are in data sets that tell nothing of negatives."""

    @property
    def has_sides(self) -> bool:
        """Whether a class seems to tell left from right."""
        return any(_SIDED.search(name) for name in self.class_names)


def _path_of(name: str, *, folder: Path, allow_links: bool) -> Path:
    try:
        return path_inside(folder, name, allow_links=allow_links)
    except UnsafeNameError as error:
        raise SourceError(
            f"the file of a video: {error}; correct its name in the annotations, or, for links of your own, give "
            "--allow-links"
        ) from None


def load_data_set(
    annotations: Path, *, videos: Path | None, allow_links: bool = False, point_seconds: float | None = None
) -> DataSet:
    """Read annotations of ActivityNet's layout; `videos` and the pattern of names stand in those of `re2tal import`.

    Args:
        annotations: the file.
        videos: their folder.
        allow_links: whether links may lead out of it.
        point_seconds: length that point events are given; None: one second if there is nothing else, else they are left
            out.
    """
    read = read_annotations(annotations)
    only_points = not any(video.actions for video in read.videos)
    if only_points or point_seconds is not None:
        point_seconds = point_seconds or _POINT_SECONDS
        read = read_annotations(annotations, point_seconds=point_seconds)
    only_points = only_points and any(video.actions for video in read.videos)
    content: dict[str, Any] = {}
    if annotations.is_file() and annotations.suffix != ".zip":
        content = read_json(annotations, what="file of annotations", fix="give --annotations")
    told = content.get("videos")
    folder = videos or (annotations.parent / told if isinstance(told, str) else None)
    if folder is None:
        raise SourceError(f"{annotations} does not tell where its videos are; give their folder with --videos")
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}; give the folder of the videos with --videos")
    pattern = content.get("video_pattern")
    subsets = [video.subset for video in read.videos]
    database = content.get("database")
    data = DataSet(
        annotations=read,
        videos=folder,
        video_pattern=(
            pattern if isinstance(pattern, str) else _find_pattern(folder, read.videos, allow_links=allow_links)
        ),
        allow_links=allow_links,
        point_seconds=point_seconds,
        only_points=only_points,
        train_subset=_choose(subsets, ("training", "train", "Validation"), path=annotations, what="train"),
        test_subset=_choose(subsets, ("validation", "val", "testing", "test", "Test"), path=annotations, what="test"),
        extra=database if isinstance(database, dict) else {},
    )
    for video in read.videos:
        data.path_of(video.video_id)  # refused here rather than by the run that the config is for
    return data


def _choose(subsets: Sequence[str], names: Iterable[str], *, path: Path, what: str) -> str:
    for name in names:
        if name in subsets:
            return name
    there = some(f"{name!r} ({count})" for name, count in Counter(subsets).items()) or "none"
    raise SourceError(
        f"{path} has no videos to {what} on; its subsets are {there}, expected 'training' and 'validation'; "
        + ("split them with re2tal import --resplit" if len(subsets) > 1 else "annotate another video")
    )


def _find_pattern(folder: Path, videos: Sequence[AnnotatedVideo], *, allow_links: bool) -> str:
    """The pattern that leads to the most files."""
    names = {file.name for file in folder.iterdir()}
    suffixes = [suffix for suffix, _ in Counter(Path(name).suffix for name in sorted(names)).most_common()]
    patterns = [prefix + "{id}" + suffix for suffix in [*suffixes, ""] for prefix in ("", "v_")]

    def fit(pattern: str) -> int:
        paths = (
            _path_of(pattern.replace("{id}", video.video_id), folder=folder, allow_links=allow_links)
            for video in videos
        )
        return sum(path.is_file() for path in paths)

    best = max(patterns, key=fit)
    if not fit(best):
        raise SourceError(
            f"no video of the annotations, such as {videos[0].video_id!r}, is a file in {folder}; give the folder with "
            "--videos, or import the annotations again with re2tal import, which finds files by any name"
        )
    return best


def measure(data: DataSet) -> Measures:
    """Look at the annotations, and into some videos where those do not tell rates and sizes."""
    whole = select_subset(data.annotations, data.train_subset)
    training = [video for video in whole if video.actions]
    if not training:
        raise SourceError(f"{data.annotations.path} has no action in the training videos; nothing can be learnt")
    actions = [action for video in training for action in video.actions]
    lengths = np.array([action.end_seconds - action.start_seconds for action in actions])
    durations = np.array([video.duration_seconds for video in training])
    testing = select_subset(data.annotations, data.test_subset)
    empty = tuple(video.time.empty for video in whole if video.empty and not video.annotated)
    tells_negatives = bool(empty) or any(video.labelled is not None for video in whole)
    rates, sizes = _rates_and_sizes(data, training)
    sizes += _rates_and_sizes(data, testing)[1]

    def share(values: np.ndarray, percent: float) -> float:
        return float(np.percentile(values, percent))

    return Measures(
        num_train=len(training),
        num_test=len(testing),
        num_actions=len(actions),
        class_names=tuple(sorted({action.label for action in actions})),
        shortest=share(lengths, 5),
        short=share(lengths, 10),
        median=share(lengths, 50),
        upper=share(lengths, 75),
        long=share(lengths, 95),
        longest=float(lengths.max()),
        video_median=share(durations, 50),
        video_long=share(durations, 90),
        video_longest=float(durations.max()),
        actions_per_minute=60 * len(actions) / float(durations.sum()),
        total_seconds=float(durations.sum()),
        fps=share(np.array(rates), 50),
        fps_range=(min(rates), max(rates)),
        pixels=sorted(height * width for height, width in sizes)[len(sizes) // 2],
        aspect=_common_aspect([width / height for height, width in sizes]),
        time=sum((video.time for video in whole), LabelledTime()),
        empty_videos=empty,
        empty_stretches=tuple(end - start for video in training for start, end in video.empty if tells_negatives),
    )


def _common_aspect(aspects: Sequence[float]) -> float:
    if min(aspects) >= 1:
        return min(aspects)
    return max(aspects) if max(aspects) <= 1 else 1.0


def _rates_and_sizes(data: DataSet, videos: Sequence[AnnotatedVideo]) -> tuple[list[float], list[tuple[int, int]]]:
    """Frames per second and (height, width), as told by the annotations or by the files of some videos."""
    rates: list[float] = []
    sizes: list[tuple[int, int]] = []
    opened = 0
    for video in videos:
        entry = data.extra.get(video.video_id, {})
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(entry.get("resolution", "")))
        frames = video.num_frames
        if found and frames and int(found[1]) and int(found[2]):
            rates.append(frames / video.duration_seconds)
            sizes.append((int(found[2]), int(found[1])))
        elif opened < _SAMPLE and (info := _look(data, video)) is not None:
            opened += 1
            rates.append(info.num_frames / video.duration_seconds)
            sizes.append((info.height, info.width))
    if not rates:
        path = data.path_of(videos[0].video_id)
        raise SourceError(f"none of {len(videos)} videos can be read, such as {path}; are they in {data.videos}?")
    return rates, sizes


def _look(data: DataSet, video: AnnotatedVideo) -> VideoInfo | None:
    try:
        return probe(data.path_of(video.video_id))
    except (VideoError, OSError):
        return None
