"""What the steps, windows, strides and regression ranges of an experiment are in seconds."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from re2tal.common.labelled import LabelledTime
from re2tal.common.types import AnnotatedVideo
from re2tal.config import ExperimentConfig
from re2tal.data import ResizeSampling, WindowSampling, annotations_of
from re2tal.networks.backbones.chunks import num_with_gradients
from re2tal.networks.heads import RegressionRange

__all__ = ["GradientShare", "LevelTimes", "Times", "gradient_share_of", "times_of"]

_DEFAULT_FPS = 30.0
_DEFAULT_DURATION = 120.0


@dataclass(frozen=True, kw_only=True)
class LevelTimes:
    """One level of the pyramid."""

    stride_steps: int
    stride_seconds: float
    """From one point to the next."""
    reach_steps: RegressionRange | None
    """How far away the farther end of an action may be from a point; None: any distance. None also where the head does
    not choose the level of an action by its length, and so below."""
    shortest_seconds: float | None
    longest_seconds: float | None
    """Actions of these lengths are learned by the points in their middle; None: however long."""
    share: float | None
    """Of the training actions; None without annotations."""


@dataclass(frozen=True, kw_only=True)
class GradientShare:
    """What `backbone.sampled_gradients` comes to."""

    chunk_frames: int
    num_chunks: int
    """Of a clip."""
    num_trained: int
    """Chunks of a clip that get gradients in a step."""
    arithmetic: float
    """Of the backbone in a step, over that with gradients through all chunks: a backward pass counts as two forward
    passes, and what is computed again as one."""

    def __str__(self) -> str:
        return (
            f"{self.num_trained} of a clip's {self.num_chunks} chunks of {self.chunk_frames} frames get gradients in a "
            f"step, which takes {self.arithmetic:.0%} of the backbone's arithmetic with gradients through all"
        )


def gradient_share_of(config: ExperimentConfig) -> GradientShare | None:
    """None where all chunks get gradients."""
    backbone, sampling = config.backbone, config.data.sampling
    length = backbone.chunk_length
    if backbone.sampled_gradients == 1 or length is None:
        return None
    num_chunks = sampling.num_steps * sampling.frames_per_step // length
    num_trained = num_with_gradients(num_chunks, share=backbone.sampled_gradients)
    backward = 3 if backbone.reversible or backbone.activation_checkpointing else 2
    return GradientShare(
        chunk_frames=length,
        num_chunks=num_chunks,
        num_trained=num_trained,
        arithmetic=(1 + backward * num_trained / num_chunks) / (1 + backward),
    )


@dataclass(frozen=True, kw_only=True)
class Times:
    """An experiment's time axis, for videos of one frame rate (and, where clips are whole videos, of one length)."""

    name: str
    fps: float
    duration_seconds: float | None
    """Of the video; None where it does not matter: in windows."""
    source: str
    """Where the two come from."""
    frames_per_second: float
    """That the backbone sees."""
    frames_in_step: float
    """Of the file."""
    step_seconds: float
    num_steps: int
    num_frames: int
    """Of a clip, that the backbone sees."""
    clip_seconds: float
    test_hop_seconds: float | None
    """From the start of a window to that of the next, in testing; None without windows."""
    test_whole_seconds: float | None
    """Actions up to this long lie whole in one of the windows; None also where they are put together to whole videos.
    """
    gradients: GradientShare | None
    """Which chunks of a training clip get gradients; None: all of it."""
    levels: tuple[LevelTimes, ...]
    labelled: LabelledTime | None
    """How much of the training videos is; None without annotations."""
    negative_share: float
    """Of the training clips that show no action."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        minutes = None if self.labelled is None else self.labelled.as_json()
        return {name: value for name, value in asdict(self).items() if name != "labelled"} | {"minutes": minutes}


def times_of(config: ExperimentConfig, *, fps: float | None = None, duration: float | None = None) -> Times:
    """The time axis of `config`.

    Args:
        config: of the experiment; its annotations are read if they are there.
        fps: frames per second of the videos; by default the median that the annotations tell, else 30.
        duration: of a video in seconds; by default the median of the annotations, else 120.

    Raises:
        ValueError: `fps` or `duration` is not above 0.
    """
    for name, value in (("fps", fps), ("duration", duration)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"--{name} must be a number above 0, such as 30, got {value}")
    sampling = config.data.sampling
    videos = _training_videos(config)
    rates = [rate for video in videos if (rate := config.data.frame_rate_of(video))]
    told_fps, told_duration = fps is not None, duration is not None
    fps = fps or (median(rates) if rates else _DEFAULT_FPS)
    duration = duration or (median(video.duration_seconds for video in videos) if videos else _DEFAULT_DURATION)
    sources = [
        "frames per second " + ("as given" if told_fps else "of the median video" if rates else "assumed (--fps)"),
    ]
    hop = whole = None
    match sampling:
        case WindowSampling():
            frames_in_step = float(sampling.frames_in_step)
            distance = max(int(sampling.num_steps * (1 - sampling.test_overlap)), 1)
            hop, whole = (steps * frames_in_step / fps for steps in (distance, sampling.num_steps - distance))
        case ResizeSampling():
            frames_in_step = duration * fps / sampling.num_steps
            sources.append(
                "length " + ("as given" if told_duration else "of the median video" if videos else "assumed")
            )
    step = frames_in_step / fps
    return Times(
        name=config.name,
        fps=fps,
        duration_seconds=duration if isinstance(sampling, ResizeSampling) else None,
        source=", ".join(sources),
        frames_per_second=sampling.frames_per_step / step,
        frames_in_step=frames_in_step,
        step_seconds=step,
        num_steps=sampling.num_steps,
        num_frames=sampling.num_steps * sampling.frames_per_step,
        clip_seconds=sampling.num_steps * step,
        test_hop_seconds=hop,
        test_whole_seconds=None if config.data.test_whole else whole,
        gradients=gradient_share_of(config),
        levels=_levels(config, step=step, lengths=_lengths_in_steps(config, videos, fps=fps)),
        labelled=sum((video.time for video in videos), LabelledTime()) if videos else None,
        negative_share=config.data.negative_share,
    )


def _training_videos(config: ExperimentConfig) -> list[AnnotatedVideo]:
    if not config.data.is_there():
        return []
    subset = config.data.train_subset
    names = {subset} if isinstance(subset, str) else set(subset)
    return [video for video in annotations_of(config.data).videos if video.subset in names]


def _lengths_in_steps(config: ExperimentConfig, videos: list[AnnotatedVideo], *, fps: float) -> np.ndarray:
    """(N,) of every training action."""
    sampling = config.data.sampling
    lengths = []
    for video in videos:
        if isinstance(sampling, WindowSampling):
            rate = config.data.frame_rate_of(video) or fps
            steps_per_second = rate / sampling.frames_in_step
        else:
            steps_per_second = sampling.num_steps / video.duration_seconds
        lengths += [(action.end_seconds - action.start_seconds) * steps_per_second for action in video.actions]
    return np.array(lengths)


def _levels(config: ExperimentConfig, *, step: float, lengths: np.ndarray) -> tuple[LevelTimes, ...]:
    strides = config.pyramid.strides
    ranges: Sequence[RegressionRange | None] = config.head.regression_ranges(strides) or [None] * len(strides)
    return tuple(
        _level(stride, found, step=step, lengths=lengths) for stride, found in zip(strides, ranges, strict=True)
    )


def _level(stride: int, found: RegressionRange | None, *, step: float, lengths: np.ndarray) -> LevelTimes:
    shortest = longest = share = None
    if found is not None:
        low, high = found
        shortest, longest = 2 * low * step, None if high is None else 2 * high * step
        # A point in the middle of an action is half of its length away from both ends.
        inside = (lengths / 2 >= low) & (lengths / 2 < (math.inf if high is None else high))
        share = float(inside.mean()) if len(lengths) else None
    return LevelTimes(
        stride_steps=stride,
        stride_seconds=stride * step,
        reach_steps=found,
        shortest_seconds=shortest,
        longest_seconds=longest,
        share=share,
    )
