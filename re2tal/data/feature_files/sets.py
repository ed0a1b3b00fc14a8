"""Clips of features that others have extracted, to train and to test on.

S steps of a clip, T features of a video, C channels, N actions, M of them in a clip.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from re2tal.common.types import AnnotatedVideo, Clip, FeatureClip, TimeGrid
from re2tal.data.annotations import Annotations
from re2tal.data.clip_specs import ClipSpec
from re2tal.data.clips import to_clip
from re2tal.data.config import WindowSampling
from re2tal.data.feature_files.config import FeatureDataConfig
from re2tal.data.feature_files.store import FeatureArrays
from re2tal.data.subsets import TestSubset
from re2tal.data.training_set import TrainingSet
from re2tal.data.windows import actions_in_window, draw_window, labelled_steps, resized_segments, window_starts
from re2tal.video import AugmentConfig
from re2tal.video.sampling import FrameSample

__all__ = ["FeatureTestingSet", "FeatureTrainingSet"]

_MIN_INSIDE_RESIZED = 0.5


class FeatureTrainingSet(TrainingSet):
    """A random window of the features of every video that shows an action, or all of them resized."""

    def __init__(self, config: FeatureDataConfig, *, seed: int, annotations: Annotations | None = None) -> None:
        """
        Args:
            config: see there.
            seed: of all random numbers.
            annotations: those of the config, where they have been read already.
        """
        super().__init__(config, AugmentConfig(), seed=seed, annotations=annotations)
        self._data = config
        self._arrays = FeatureArrays(config, self.videos)

    def _clip(self, video: AnnotatedVideo, rng: np.random.Generator, *, start: int | None) -> Clip:
        """A random clip that shows an action, if one is found."""
        assert start is None, "there are no negatives among features"
        sampling, length = self._data.sampling, self._arrays.length(video.video_id)
        is_window = isinstance(sampling, WindowSampling)
        steps = _steps_of(video, config=self._data)
        first, end = draw_window(
            length if is_window else sampling.num_steps,
            steps,
            length=sampling.num_steps,
            min_inside=sampling.min_inside if isinstance(sampling, WindowSampling) else _MIN_INSIDE_RESIZED,
            crop_ratio=sampling.crop_ratio if isinstance(sampling, WindowSampling) else self._data.resize_crop,
            draw=lambda low, high: int(rng.integers(low, high + 1)),
        )
        spec = _clip_spec(video, config=self._data, first=first, end=end, num_steps=sampling.num_steps)
        return to_clip(video, spec, _made(self._arrays, video, spec), class_names=self.class_names)


class FeatureTestingSet(TestSubset):
    """Clips that cover every video of the test subset, without actions; see `TestingClips`."""

    def __init__(
        self, config: FeatureDataConfig, *, leave_out: Collection[str] = (), annotations: Annotations | None = None
    ) -> None:
        super().__init__(config, leave_out=leave_out, annotations=annotations)
        self._config = config
        self._arrays = FeatureArrays(config, self.videos)
        self._places = [(video, *window) for video in self.videos for window in self._windows_of(video)]

    def __len__(self) -> int:
        return len(self._places)

    @property
    def video_ids(self) -> tuple[str, ...]:
        """The video of every clip; clips of one video are neighbours."""
        return tuple(video.video_id for video, _, _ in self._places)

    def __getitem__(self, index: int) -> Clip:
        video, first, end = self._places[index]
        num_steps = end - first if self._config.test_whole else self._config.sampling.num_steps
        spec = _clip_spec(_without_actions(video), config=self._config, first=first, end=end, num_steps=num_steps)
        return to_clip(_without_actions(video), spec, _made(self._arrays, video, spec), class_names=())

    def in_order(self, numbers: Sequence[int]) -> Iterator[Clip]:
        """The clips of these numbers."""
        return (self[number] for number in numbers)

    def _windows_of(self, video: AnnotatedVideo) -> list[tuple[int, int]]:
        """First features of the clips of a video, and one past their last."""
        sampling, length = self._config.sampling, self._arrays.length(video.video_id)
        if not isinstance(sampling, WindowSampling):
            return [(0, sampling.num_steps)]
        if self._config.test_whole:
            return [(0, length)]
        starts = window_starts(length, num_steps=sampling.num_steps, overlap=sampling.test_overlap)
        return [(start, min(start + sampling.num_steps, length)) for start in starts]


def _without_actions(video: AnnotatedVideo) -> AnnotatedVideo:
    """As a test clip sees it."""
    return replace(video, actions=(), labelled=None)


def _steps_of(video: AnnotatedVideo, *, config: FeatureDataConfig) -> np.ndarray:
    """(N, 2) float64 actions of a video, in its features or, where it is resized, in steps."""
    if not isinstance(config.sampling, WindowSampling):
        return resized_segments(video, num_steps=config.sampling.num_steps)
    seconds = np.array([(action.start_seconds, action.end_seconds) for action in video.actions], np.float64)
    return _to_steps(seconds.reshape(-1, 2), video=video, config=config)


def _to_steps(seconds: np.ndarray, *, video: AnnotatedVideo, config: FeatureDataConfig) -> np.ndarray:
    rate = config.frame_rate_of(video)
    assert rate is not None, "the features were looked at"
    steps: np.ndarray = (seconds * rate - config.offset) / config.stride
    return steps


def _clip_spec(video: AnnotatedVideo, *, config: FeatureDataConfig, first: int, end: int, num_steps: int) -> ClipSpec:
    """The clip of `num_steps` steps from one feature (or step of a resized video) up to another."""
    sampling = config.sampling
    min_inside = sampling.min_inside if isinstance(sampling, WindowSampling) else _MIN_INSIDE_RESIZED
    steps = _steps_of(video, config=config)
    inside, shown = actions_in_window(steps, start=first, end=end, min_inside=min_inside)
    if isinstance(sampling, WindowSampling):
        rate = config.frame_rate_of(video)
        assert rate is not None, "the features were looked at"
        per_step, start_seconds = config.stride / rate, (first * config.stride + config.offset) / rate
        labelled = _labelled(video, config=config, first=first, num_steps=num_steps)
    else:
        per_step = video.duration_seconds / num_steps
        start_seconds = first * per_step
        labelled = labelled_steps(video, num_frames=None, first_step=first, num_steps=num_steps)
    indices = np.minimum(first + np.arange(num_steps), end - 1)
    return ClipSpec(
        sample=FrameSample(indices=indices, mask=np.arange(num_steps) < end - first),
        grid=TimeGrid(start_seconds=start_seconds, seconds_per_step=per_step, duration_seconds=video.duration_seconds),
        segments=inside,
        shown=shown,
        first_step=first,
        labelled=labelled,
    )


def _labelled(video: AnnotatedVideo, *, config: FeatureDataConfig, first: int, num_steps: int) -> np.ndarray | None:
    """(S,) bool: which steps lie in a stretch that is labelled; None: all of the video is."""
    if video.labelled is None:
        return None
    stretches = _to_steps(np.array(video.labelled, np.float64).reshape(-1, 2), video=video, config=config)
    steps = first + np.arange(num_steps)[:, None]  # (S, 1)
    inside: np.ndarray = np.any((steps >= stretches[:, 0]) & (steps < stretches[:, 1]), axis=1)
    return inside


def _made(arrays: FeatureArrays, video: AnnotatedVideo, spec: ClipSpec) -> "partial[FeatureClip]":
    """What makes a clip of the features of a spec; 0 past the video's end."""
    config, length = arrays.config, arrays.length(video.video_id)
    num_real, num_steps = int(spec.sample.mask.sum()), len(spec.sample.mask)
    assert spec.first_step is not None
    if isinstance(config.sampling, WindowSampling):
        real = arrays.part(video.video_id, spec.first_step, spec.first_step + num_real)
    else:
        whole = _resized(arrays.part(video.video_id, 0, length), num_steps=config.sampling.num_steps)
        real = whole[:, spec.first_step : spec.first_step + num_real]
    return partial(FeatureClip, features=F.pad(real, (0, num_steps - num_real)))


def _resized(features: Tensor, *, num_steps: int) -> Tensor:
    """(C, T) -> (C, num_steps)."""
    return F.interpolate(features[None], size=num_steps, mode="linear", align_corners=False)[0]
