"""Map-style data sets of clips, for training, testing and the validation loss."""

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from re2tal.data.annotations import (
    AnnotationError,
    AnnotationProblem,
    Annotations,
    find_class_names,
    read_ids,
    select_subset,
)
from re2tal.data.broken import BrokenVideos, TooManyBrokenVideosError
from re2tal.data.config import DataConfig, ResizeSampling, Sampling, WindowSampling
from re2tal.data.cuts import Cut, Place, frame_grid, placed_cut, places_of, training_cut
from re2tal.data.features import FeaturesError, FeatureStore, VideoFeatures
from re2tal.data.frames import FrameStore, VideoFrames
from re2tal.data.whole import annotations_of
from re2tal.types import AnnotatedVideo, Clip
from re2tal.video import AugmentConfig, MissingVideoError, VideoError, augment, center_crop, probe

__all__ = [
    "AGNOSTIC_CLASS",
    "TestingSet",
    "TrainingSet",
    "ValidationSet",
    "placed_clip",
    "select_actions",
]

AGNOSTIC_CLASS = "action"
"""The only class of a class-agnostic data set."""


# A training item gives up after this many broken videos in a row.
_MAX_ATTEMPTS = 100

_COUNTED_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class _Videos:
    """The videos of a subset whose files are there."""

    videos: tuple[AnnotatedVideo, ...]
    class_names: tuple[str, ...]
    labels: frozenset[str]
    """As annotated, class-agnostic or not."""
    problems: tuple[AnnotationProblem, ...]

    @staticmethod
    def load(
        config: DataConfig,
        subset: str | tuple[str, ...],
        *,
        leave_out: Collection[str] = (),
        annotations: Annotations | None,
    ) -> "_Videos":
        annotations = annotations or annotations_of(config)
        left_out = read_ids(config.missing).union(leave_out)
        videos = tuple(video for video in select_subset(annotations, subset) if video.video_id not in left_out)
        _require_files(config, videos)
        labels = frozenset(action.label for video in videos for action in video.actions)
        if config.class_agnostic:
            names: tuple[str, ...] = (AGNOSTIC_CLASS,)
            videos = tuple(_relabelled(video) for video in videos)
        else:
            names = find_class_names(annotations, classes=config.classes, num_classes=config.num_classes)
        return _Videos(videos=videos, class_names=names, labels=labels, problems=annotations.problems)


def _require_files(config: DataConfig, videos: Collection[AnnotatedVideo]) -> None:
    absent = [video.video_id for video in videos if not config.input_path(video.video_id).is_file()]
    if not absent:
        return
    example = config.input_path(absent[0])
    listed = f"{', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}"
    if config.features is not None:
        raise FeaturesError(
            f"{len(absent)} of {len(videos)} videos have no features in data.features, such as {example}; extract them "
            f"(re2tal extract) or list their ids in data.missing ({listed})"
        )
    raise MissingVideoError(
        f"{len(absent)} of {len(videos)} videos are not where data.videos and data.video_pattern say, "
        f"such as {example}; put them there or list their ids in data.missing ({listed})"
    )


class TrainingSet(Dataset[Clip]):
    """One augmented clip of every video that shows an action.

    What an item holds depends on the seed, the epoch and the index alone: the number of workers and resuming a
    run change nothing. A video that cannot be decoded is replaced by another, drawn from the same numbers.
    """

    def __init__(
        self,
        config: DataConfig,
        augment_config: AugmentConfig,
        *,
        seed: int = 42,
        annotations: Annotations | None = None,
    ) -> None:
        """
        Args:
            config: see there.
            augment_config: see there.
            seed: of all random numbers.
            annotations: those of the config, where they have been read already.
        """
        loaded = _Videos.load(config, config.train_subset, annotations=annotations)
        self.class_names: tuple[str, ...] = loaded.class_names
        """In the order of the label indices."""
        self.problems: tuple[AnnotationProblem, ...] = loaded.problems
        """What was clamped or left out of the annotations."""
        self.videos: tuple[AnnotatedVideo, ...] = select_actions(loaded.videos, config)
        """The videos trained on, those without actions left out."""
        self._config = config
        self._augment_config = augment_config
        self._seed = seed
        # In shared memory, so that workers that live on from epoch to epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._broken = BrokenVideos(len(self.videos))
        self._store = _store(config, self.videos, short_side=config.short_side_train)

    def __len__(self) -> int:
        return len(self.videos)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random numbers of the next pass; call it before the loader is iterated."""
        self._epoch.fill_(epoch)

    @property
    def features(self) -> tuple[VideoFeatures, ...]:
        """Of every video, where clips are made of stored features and not of pixels."""
        return tuple(self._store) if isinstance(self._store, FeatureStore) else ()

    @property
    def broken(self) -> dict[str, str]:
        """The videos found unusable so far, by any worker, and why."""
        return {self.videos[index].video_id: reason for index, reason in self._broken.reasons().items()}

    def __getitem__(self, index: int) -> Clip:
        number = index
        for attempt in range(_MAX_ATTEMPTS):
            rng = np.random.default_rng((self._seed, int(self._epoch), index, attempt))
            if attempt:
                number = int(rng.integers(len(self.videos)))
            try:
                return self._clip(self.videos[number], rng)
            except (VideoError, OSError) as error:
                self._broken.add(number, str(error))
                self._check_share()
        raise TooManyBrokenVideosError(f"{_MAX_ATTEMPTS} broken videos in a row; {self._list_broken()}")

    def _clip(self, video: AnnotatedVideo, rng: np.random.Generator) -> Clip:
        with self._store.open(self._config.input_path(video.video_id)) as file:
            cut = training_cut(
                video,
                file_frames=file.num_frames,
                sampling=self._config.train_sampling,
                draw=lambda low, high: int(rng.integers(low, high + 1)),
            )
            if isinstance(file, VideoFeatures):
                return _to_clip(video, cut, _stored(file, cut), class_names=self.class_names)
            frames = augment(
                file.stream(cut.sample.indices),
                rng=rng,
                config=self._augment_config,
                size=self._config.crop_size,
                num_frames=len(cut.sample.indices),
            )
        return _to_clip(video, cut, frames, class_names=self.class_names)

    def _check_share(self) -> None:
        if self._broken.count() > self._config.max_broken_share * len(self.videos):
            raise TooManyBrokenVideosError(
                f"{self._broken.count()} of {len(self.videos)} training videos are broken, more than "
                f"data.max_broken_share = {self._config.max_broken_share:g} allows; {self._list_broken()}"
            )

    def _list_broken(self) -> str:
        listed = "".join(f"\n  {video_id}: {reason}" for video_id, reason in list(self.broken.items())[:20])
        return f"replace these files, list their ids in data.missing, or raise data.max_broken_share:{listed}"


class _PlacedClips(Dataset[Clip]):
    """Clips at fixed places, centre-cropped."""

    def __init__(
        self,
        config: DataConfig,
        *,
        overlap: float,
        labelled: bool,
        leave_out: Collection[str] = (),
        annotations: Annotations | None = None,
    ) -> None:
        loaded = _Videos.load(config, config.test_subset, leave_out=leave_out, annotations=annotations)
        self.class_names: tuple[str, ...] = loaded.class_names
        """In the order of the label indices."""
        self.labels: frozenset[str] = loaded.labels
        """Of the actions, as annotated: also where the set is class-agnostic."""
        self.problems: tuple[AnnotationProblem, ...] = loaded.problems
        """What was clamped or left out of the annotations."""
        self._config = config
        self._labelled = labelled
        self._store = _store(config, loaded.videos, short_side=config.short_side_test)
        self._file_frames = self._count_unknown(loaded.videos)
        self._places = [place for video in loaded.videos for place in self._places_in(video, overlap=overlap)]

    def __len__(self) -> int:
        return len(self._places)

    @property
    def video_ids(self) -> tuple[str, ...]:
        """The video of every clip; clips of one video are neighbours."""
        return tuple(place.video.video_id for place in self._places)

    @property
    def features(self) -> tuple[VideoFeatures, ...]:
        """Of every video, where clips are made of stored features and not of pixels."""
        return tuple(self._store) if isinstance(self._store, FeatureStore) else ()

    def __getitem__(self, index: int) -> Clip:
        place = self._places[index]
        with self._store.open(self._config.input_path(place.video.video_id)) as file:
            class_names = self.class_names if self._labelled else None
            return placed_clip(place, file=file, config=self._config, class_names=class_names)

    def _places_in(self, video: AnnotatedVideo, *, overlap: float) -> list[Place]:
        sampling = self._config.sampling

        def num_frames() -> int:
            return self._file_frames[video.video_id]

        places = places_of(video, sampling=sampling, overlap=overlap, count_frames=num_frames)
        if not self._labelled:
            return places
        # Which actions lie in a window depends on the annotated frames alone, where the annotation counts them.
        file_frames = num_frames() if video.num_frames is None else video.num_frames
        return [
            place for place in places if len(placed_cut(place, file_frames=file_frames, sampling=sampling).segments)
        ]

    def _count_unknown(self, videos: Collection[AnnotatedVideo]) -> dict[str, int]:
        """Frames of the files of the videos whose annotations do not count them."""
        if isinstance(self._config.sampling, ResizeSampling) and not self._labelled:
            return {}
        unknown = [video.video_id for video in videos if video.num_frames is None]
        counts: list[int] = []
        # FFmpeg reads outside of Python's lock. A few at a time: the first broken file ends it, and results
        # that waited by the thousand between FFmpeg's buffers took 60 KB a video, in holes of the heap.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(unknown), _COUNTED_AT_ONCE):
                paths = map(self._config.input_path, unknown[start : start + _COUNTED_AT_ONCE])
                counts += pool.map(self._count_frames, paths)
        return dict(zip(unknown, counts, strict=True))

    def _count_frames(self, path: Path) -> int:
        if isinstance(self._store, FeatureStore):
            with self._store.open(path) as file:
                return file.num_frames
        return probe(path).num_frames


class TestingSet(_PlacedClips):
    """Clips that cover every video of the test subset, without actions: windows, or the whole video resized."""

    __test__ = False  # the name makes pytest look for tests in it

    def __init__(
        self, config: DataConfig, *, leave_out: Collection[str] = (), annotations: Annotations | None = None
    ) -> None:
        """
        Args:
            config: see there.
            leave_out: ids of videos not to test on.
            annotations: those of the config, where they have been read already.
        """
        overlap = _overlaps(config.sampling)[0]
        super().__init__(config, overlap=overlap, labelled=False, leave_out=leave_out, annotations=annotations)


class ValidationSet(_PlacedClips):
    """The test subset's clips that show an action, with their actions, for a validation loss."""

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config, overlap=_overlaps(config.sampling)[1], labelled=True)


def _overlaps(sampling: Sampling) -> tuple[float, float]:
    """Overlap of the windows in testing and for the validation loss."""
    match sampling:
        case WindowSampling():
            return sampling.test_overlap, sampling.validation_overlap
        case ResizeSampling():
            return 0.0, 0.0
        case _:
            raise ValueError(f"unknown sampling {sampling!r}")


def _relabelled(video: AnnotatedVideo) -> AnnotatedVideo:
    return replace(video, actions=tuple(replace(action, label=AGNOSTIC_CLASS) for action in video.actions))


def select_actions(videos: tuple[AnnotatedVideo, ...], config: DataConfig) -> tuple[AnnotatedVideo, ...]:
    """The videos that show an action to train on; an error if there is none."""
    if isinstance(config.sampling, ResizeSampling):
        share = config.sampling.min_share
        videos = tuple(
            replace(
                video,
                actions=tuple(
                    action
                    for action in video.actions
                    if action.end_seconds - action.start_seconds > share * video.duration_seconds
                ),
            )
            for video in videos
        )
    chosen = tuple(video for video in videos if video.actions)
    if not chosen:
        raise AnnotationError(
            f"training needs at least one action, got none in the {len(videos)} videos of subset "
            f"{config.train_subset!r} of {config.annotations}; check data.train_subset and data.ignore_labels"
        )
    return chosen


def placed_clip(
    place: Place, *, file: VideoFrames | VideoFeatures, config: DataConfig, class_names: tuple[str, ...] | None = None
) -> Clip:
    """The clip at a place of a video, centre-cropped.

    Args:
        place: of testing.
        file: the video's frames, or its stored features.
        config: see there.
        class_names: of the labels; None leaves the video's actions out.
    """
    cut = placed_cut(place, file_frames=file.num_frames, sampling=config.sampling)
    if isinstance(file, VideoFeatures):
        inputs = _stored(file, cut)
    else:
        inputs = center_crop(file.frames(cut.sample.indices), size=config.crop_size)
    if class_names is None:
        cut = replace(cut, segments=np.zeros((0, 2)), shown=np.zeros(len(place.video.actions), bool))
    return _to_clip(place.video, cut, inputs, class_names=class_names or ())


def _stored(file: VideoFeatures, cut: Cut) -> Tensor:
    assert cut.first_step is not None
    return file.window(cut.first_step)


def _store(config: DataConfig, videos: tuple[AnnotatedVideo, ...], *, short_side: int) -> FrameStore | FeatureStore:
    if config.features is not None:
        return FeatureStore(config, videos)
    grid = partial(frame_grid, sampling=config.sampling)
    return FrameStore(short_side=short_side, grid=grid, limit_mib=config.cache_mib)


def _to_clip(video: AnnotatedVideo, cut: Cut, frames: Tensor, *, class_names: tuple[str, ...]) -> Clip:
    shown = (action for action, is_shown in zip(video.actions, cut.shown, strict=True) if is_shown)
    return Clip(
        video_id=video.video_id,
        frames=frames,
        mask=torch.from_numpy(cut.sample.mask),
        grid=cut.grid,
        segments=torch.from_numpy(cut.segments).float(),
        labels=torch.tensor([class_names.index(action.label) for action in shown], dtype=torch.int64),
    )
