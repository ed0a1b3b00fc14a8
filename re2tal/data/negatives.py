"""Where clips lie that are known to show no action.

A clip may reach into what nobody has looked at, which has no part in the loss; it never touches an annotation.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from re2tal.common.labelled import without
from re2tal.common.types import AnnotatedVideo
from re2tal.data.annotations import AnnotationError
from re2tal.data.clip_specs import window_specs_of
from re2tal.data.config import DataSettings, ResizeSampling, Sampling, WindowSampling
from re2tal.data.windows import in_frames_of_window, labelled_steps

__all__ = ["NegativeClips", "draw_negative", "find_negatives", "require_negatives"]


@dataclass(frozen=True, kw_only=True)
class NegativeClips:
    """Clips of one video that show nothing, beginning anywhere between two places."""

    number: int
    """Of the video."""
    first: int
    last: int
    """Where they begin, as `clip_spec_from` takes it, both ends included."""
    weight: float
    """How often they are drawn beside others: how much of the video is known to be empty there."""


def find_negatives(
    videos: Sequence[AnnotatedVideo], *, sampling: Sampling, count_frames: Callable[[AnnotatedVideo], int | None]
) -> list[NegativeClips]:
    """All clips of `videos` that may be negatives.

    Args:
        videos: With all their actions, however short.
        sampling: See there.
        count_frames: Gives the number of frames of a video; None: it is of no use.
    """
    found: list[NegativeClips] = []
    for number, video in enumerate(videos):
        if not video.empty:
            continue
        match sampling:
            case ResizeSampling():
                if not video.annotated:
                    weight = video.time.empty / video.duration_seconds
                    found.append(NegativeClips(number=number, first=0, last=0, weight=weight))
            case WindowSampling():
                num_frames = count_frames(video)
                if num_frames is not None:
                    windows = _any_windows if sampling.train_starts == "any" else _windows_of_testing
                    found += windows(video, number, num_frames=num_frames, sampling=sampling)
            case _:
                raise ValueError(f"unknown sampling {sampling!r}")
    return found


def require_negatives(
    videos: Sequence[AnnotatedVideo], *, config: DataSettings, count_frames: Callable[[AnnotatedVideo], int | None]
) -> list[NegativeClips]:
    """As `find_negatives`, for training; an error if there are none."""
    found = find_negatives(videos, sampling=config.train_sampling, count_frames=count_frames)
    if not found:
        raise AnnotationError(
            f"data.negative_share = {config.negative_share:g} asks for clips that show no action, and in subset "
            f"{config.train_subset!r} of {config.origin} no video, nor a stretch as long as a window, is known to show "
            "none; add videos without annotations, or set data.negative_share=0"
        )
    return found


def draw_negative(found: Sequence[NegativeClips], *, rng: np.random.Generator) -> tuple[int, int]:
    """The number of a video, and where its clip begins."""
    weights = np.array([clips.weight for clips in found])
    clips = found[int(rng.choice(len(found), p=weights / weights.sum()))]
    return clips.number, int(rng.integers(clips.first, clips.last + 1))


def _any_windows(
    video: AnnotatedVideo, number: int, *, num_frames: int, sampling: WindowSampling
) -> list[NegativeClips]:
    """Windows from any sampled frame on: inside an empty stretch or, if that is shorter, around it."""
    stride, length = sampling.frame_stride, sampling.num_steps * sampling.frames_per_step
    total = -(-num_frames // stride)  # rounded up
    if total <= length:
        return [] if video.annotated else [NegativeClips(number=number, first=0, last=0, weight=video.time.empty)]
    found = []
    gaps = without([(0.0, video.duration_seconds)], video.annotated)
    gap_starts = [start for start, _ in gaps]
    for stretch in video.empty:
        gap = gaps[bisect_right(gap_starts, stretch[0]) - 1]  # between two annotations, labelled or not
        gap_start, gap_end = _sampled(gap, video, num_frames=num_frames, stride=stride)
        start, end = _sampled(stretch, video, num_frames=num_frames, stride=stride)
        bounds = (start, end - length) if end - start >= length else (end - length, start)
        first, last = max(bounds[0], gap_start), min(bounds[1], min(gap_end, total) - length)
        if first <= last and start < end:
            found.append(NegativeClips(number=number, first=first, last=last, weight=stretch[1] - stretch[0]))
    return found


def _sampled(stretch: tuple[float, float], video: AnnotatedVideo, *, num_frames: int, stride: int) -> tuple[int, int]:
    """The sampled frames that lie in a stretch: the first, and one past the last; the video's last one is complete."""
    start, end = in_frames_of_window([stretch], video=video, num_frames=num_frames)[0]
    return ceil(start / stride), ceil(end / stride) if end == num_frames else floor(end / stride)


def _windows_of_testing(
    video: AnnotatedVideo, number: int, *, num_frames: int, sampling: WindowSampling
) -> list[NegativeClips]:
    """Those of testing's windows that touch no annotation."""
    taken = in_frames_of_window(video.annotated, video=video, num_frames=num_frames) / sampling.frames_in_step  # (N, 2)
    found = []
    for place in window_specs_of(video, sampling=sampling, count_frames=lambda: num_frames):
        if ((taken[:, 0] < place.end_step) & (taken[:, 1] > place.start_step)).any():
            continue
        steps = place.end_step - place.start_step
        labelled = labelled_steps(
            video,
            num_frames=num_frames,
            frames_in_step=sampling.frames_in_step,
            first_step=place.start_step,
            num_steps=steps,
        )
        weight = float(steps if labelled is None else labelled.sum())
        if weight:
            found.append(NegativeClips(number=number, first=place.start_step, last=place.start_step, weight=weight))
    return found
