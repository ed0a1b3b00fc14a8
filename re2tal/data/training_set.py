"""The map-style data set of clips to train on."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from re2tal.common.types import AnnotatedVideo, Clip, FrameChange
from re2tal.data.annotations import AnnotationError, AnnotationProblem, Annotations
from re2tal.data.broken import BrokenVideos, TooManyBrokenVideosError
from re2tal.data.clip_specs import clip_spec_from, training_clip_spec
from re2tal.data.clips import count_frames, seen, store_of, stored, to_clip
from re2tal.data.config import DataSettings, ResizeSampling
from re2tal.data.features import FeatureStore, VideoFeatures
from re2tal.data.negatives import NegativeClips, draw_negative, require_negatives
from re2tal.data.subsets import SubsetVideos
from re2tal.video import AugmentSettings, VideoError

__all__ = ["TrainingSet", "select_actions", "select_empty"]

# A training item gives up after this many broken videos in a row.
_MAX_ATTEMPTS = 100


class TrainingSet(Dataset[Clip]):
    """One augmented clip of every video that shows an action, then clips that show none, as many as the config says.

    What an item holds depends on the seed, the epoch and the index alone: the number of workers and resuming a
    run change nothing. A video that cannot be decoded is replaced by another, drawn from the same numbers.
    """

    def __init__(
        self,
        config: DataSettings,
        augment_config: AugmentSettings,
        *,
        seed: int = 42,
        annotations: Annotations | None = None,
        changed_later: bool = False,
    ) -> None:
        """
        Args:
            config: see there.
            augment_config: see there.
            seed: of all random numbers.
            annotations: those of the config, where they have been read already.
            changed_later: whether clips leave what they can of their augmentation to `PixelBatch.ready_on`.
        """
        loaded = SubsetVideos.load(config, config.train_subset, annotations=annotations)
        self.class_names: tuple[str, ...] = loaded.class_names
        """In the order of the label indices."""
        self.problems: tuple[AnnotationProblem, ...] = loaded.problems
        """What was clamped or left out of the annotations."""
        with_actions = select_actions(loaded.videos, config)
        self.videos: tuple[AnnotatedVideo, ...] = (*with_actions, *select_empty(loaded.videos, config))
        """The videos trained on: those with actions, then, with negatives, those that are known to show none."""
        self._num_with_actions = len(with_actions)
        self._config = config
        self._augment_config, self._changed_later = augment_config, changed_later
        self._seed = seed
        # In shared memory, so that workers that live on from epoch to epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._broken = BrokenVideos(len(self.videos))
        self._store = store_of(config, self.videos, short_side=config.short_side_train)
        self._negatives = self._find_negatives(loaded.videos) if config.negative_share else []
        share = config.negative_share
        self.num_negatives: int = max(round(len(with_actions) * share / (1 - share)), 1) if share else 0
        """Clips of an epoch that show no action: those of the highest indices."""

    def __len__(self) -> int:
        return self._num_with_actions + self.num_negatives

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
        if index >= len(self):  # ends a loop over the set
            raise IndexError(f"there are {len(self)} clips, got index {index}")
        number, start = index, None
        for attempt in range(_MAX_ATTEMPTS):
            rng = np.random.default_rng((self._seed, int(self._epoch), index, attempt))
            if index >= self._num_with_actions:
                number, start = draw_negative(self._negatives, rng=rng)
            elif attempt:
                number = int(rng.integers(self._num_with_actions))
            try:
                return self._clip(self.videos[number], rng, start=start)
            except (VideoError, OSError) as error:
                self._broken.add(number, str(error))
                self._check_share()
        raise TooManyBrokenVideosError(f"{_MAX_ATTEMPTS} broken videos in a row; {self._list_broken()}")

    def _find_negatives(self, videos: tuple[AnnotatedVideo, ...]) -> list[NegativeClips]:
        """Those of `self.videos`, of which `videos` have all actions, also those too short to train on."""
        whole = {video.video_id: video for video in videos}
        annotated = [whole[video.video_id] for video in self.videos]
        counted = count_frames(annotated, config=self._config, store=self._store, skip_broken=True)
        return require_negatives(
            annotated,
            config=self._config,
            count_frames=lambda video: video.num_frames or counted.get(video.video_id),
        )

    def _clip(self, video: AnnotatedVideo, rng: np.random.Generator, *, start: int | None) -> Clip:
        """A random clip that shows an action or, at `start`, one that does not."""
        with self._store.open(self._config.input_path(video.video_id)) as file:
            sampling = self._config.train_sampling
            if start is not None:
                cut = clip_spec_from(video, start=start, file_frames=file.num_frames, sampling=sampling)
            else:
                cut = training_clip_spec(
                    video,
                    file_frames=file.num_frames,
                    sampling=sampling,
                    draw=lambda low, high: int(rng.integers(low, high + 1)),
                )
            if isinstance(file, VideoFeatures):
                return to_clip(video, cut, stored(file, cut), class_names=self.class_names)
            frames, change = self._augmented(file.stream(cut.sample.indices), rng, num_frames=len(cut.sample.indices))
        return to_clip(video, cut, seen(frames, change), class_names=self.class_names)

    def _augmented(
        self, frames: Iterable[Tensor], rng: np.random.Generator, *, num_frames: int
    ) -> tuple[Tensor, FrameChange | None]:
        size = self._config.crop_size
        if self._changed_later:
            return self._augment_config.begin(frames, rng=rng, size=size, num_frames=num_frames)
        return self._augment_config.apply(frames, rng=rng, size=size, num_frames=num_frames), None

    def _check_share(self) -> None:
        if self._broken.count() > self._config.max_broken_share * len(self.videos):
            raise TooManyBrokenVideosError(
                f"{self._broken.count()} of {len(self.videos)} training videos are broken, more than "
                f"data.max_broken_share = {self._config.max_broken_share:g} allows; {self._list_broken()}"
            )

    def _list_broken(self) -> str:
        listed = "".join(f"\n  {video_id}: {reason}" for video_id, reason in list(self.broken.items())[:5])
        if self._broken.count() == len(self.videos):
            return f"replace these files:{listed}"
        return f"replace these files, list their ids in data.missing, or raise data.max_broken_share:{listed}"


def select_actions(videos: tuple[AnnotatedVideo, ...], config: DataSettings) -> tuple[AnnotatedVideo, ...]:
    """The videos that show an action to train on; an error if there is none."""
    num_actions = sum(len(video.actions) for video in videos)
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
    if not chosen and num_actions:
        raise AnnotationError(
            f"all {num_actions} actions to train on cover no more than data.sampling.min_share of their video, and are "
            "left out; data.sampling.min_share=0 keeps them"
        )
    if not chosen:
        raise AnnotationError(
            f"training needs at least one action, got none in the {len(videos)} videos of subset "
            f"{config.train_subset!r} of {config.origin}; check data.train_subset and data.ignore_labels"
        )
    return chosen


def select_empty(videos: tuple[AnnotatedVideo, ...], config: DataSettings) -> tuple[AnnotatedVideo, ...]:
    """The videos to train on that are known to show no action, all of them or where they are labelled; none, unless
    `config` wants negatives."""
    return tuple(video for video in videos if config.negative_share and video.empty and not video.annotated)
