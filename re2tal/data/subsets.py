"""The videos of a subset, and whether their files are there."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import some
from re2tal.common.video_files import plain_name
from re2tal.data.annotations import (
    AnnotationProblem,
    Annotations,
    find_class_names,
    read_ids,
    select_subset,
)
from re2tal.data.config import DataSettings
from re2tal.data.features import FeaturesError
from re2tal.data.whole import annotations_of
from re2tal.video import MissingVideoError

__all__ = ["AGNOSTIC_CLASS", "SubsetVideos", "TestSubset"]

AGNOSTIC_CLASS = "action"
"""The only class of a class-agnostic data set."""


@dataclass(frozen=True, kw_only=True)
class SubsetVideos:
    """The videos of a subset whose files are there."""

    videos: tuple[AnnotatedVideo, ...]
    class_names: tuple[str, ...]
    labels: frozenset[str]
    """As annotated, class-agnostic or not."""
    problems: tuple[AnnotationProblem, ...]

    @staticmethod
    def load(
        config: DataSettings,
        subset: str | tuple[str, ...],
        *,
        leave_out: Collection[str] = (),
        annotations: Annotations | None,
    ) -> "SubsetVideos":
        annotations = annotations or annotations_of(config)
        left_out = read_ids(config.missing).union(leave_out)
        videos = tuple(video for video in select_subset(annotations, subset) if video.video_id not in left_out)
        if config.has_files:
            _require_files(config, videos)
        labels = frozenset(action.label for video in videos for action in video.actions)
        if config.class_agnostic:
            names: tuple[str, ...] = (AGNOSTIC_CLASS,)
            videos = tuple(_relabelled(video) for video in videos)
        else:
            names = find_class_names(annotations, classes=config.classes, num_classes=config.num_classes)
        return SubsetVideos(videos=videos, class_names=names, labels=labels, problems=annotations.problems)


class TestSubset:
    """The test subset of a config, of which a data set makes clips."""

    __test__ = False  # the name makes pytest look for tests in it

    def __init__(self, config: DataSettings, *, leave_out: Collection[str], annotations: Annotations | None) -> None:
        """
        Args:
            config: see there.
            leave_out: ids of videos not to test on.
            annotations: those of the config, where they have been read already.
        """
        loaded = SubsetVideos.load(config, config.test_subset, leave_out=leave_out, annotations=annotations)
        self.videos: tuple[AnnotatedVideo, ...] = loaded.videos
        self.class_names: tuple[str, ...] = loaded.class_names
        """In the order of the label indices."""
        self.labels: frozenset[str] = loaded.labels
        """Of the actions, as annotated: also where the set is class-agnostic."""
        self.problems: tuple[AnnotationProblem, ...] = loaded.problems
        """What was clamped or left out of the annotations."""


def _require_files(config: DataSettings, videos: Collection[AnnotatedVideo]) -> None:
    absent = [video.video_id for video in videos if not config.input_path(video.video_id).is_file()]
    if not absent:
        return
    example = config.input_path(absent[0])
    listed = some(absent)
    if config.features is not None:
        raise FeaturesError(
            f"{len(absent)} of {len(videos)} videos have no features in data.features, such as {example}; extract them "
            f"(re2tal extract) or list their ids in data.missing ({listed})"
        )
    raise MissingVideoError(
        f"{len(absent)} of {len(videos)} videos are not where data.videos and data.video_pattern say, "
        f"such as {example}{_respelled(example)}; put them there or list their ids in data.missing ({listed})"
    )


def _respelled(path: Path) -> str:
    """The file that is probably meant: names look alike whose accents are stored in one character or in two."""
    there = sorted(file.name for file in path.parent.iterdir()) if path.parent.is_dir() else []
    alike = next((name for name in there if plain_name(name) == plain_name(path.name)), None)
    return "" if alike is None else f" (there is {ascii(alike)}, and {ascii(path.name)} is asked for; rename one)"


def _relabelled(video: AnnotatedVideo) -> AnnotatedVideo:
    return replace(video, actions=tuple(replace(action, label=AGNOSTIC_CLASS) for action in video.actions))
