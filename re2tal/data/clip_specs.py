"""From a video to one clip of it: which frames, where they lie in time, which actions they show.

Arithmetic only; nothing is decoded here. S steps of the clip, M actions in it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from re2tal.common.types import AnnotatedVideo, TimeGrid
from re2tal.data.config import ResizeSampling, Sampling, WindowSampling
from re2tal.data.windows import (
    actions_in_window,
    draw_window,
    labelled_steps,
    resized_segments,
    window_starts,
    windowed_segments,
)
from re2tal.video import VideoError
from re2tal.video.sampling import FrameSample, resize_sample, window_sample

__all__ = [
    "ClipSpec",
    "FrameCountError",
    "WindowSpec",
    "clip_spec_from",
    "frame_grid",
    "window_specs_of",
    "clip_spec_of",
    "training_clip_spec",
]

# How far the frame counts of file and annotation may lie apart; real files differ by a few frames.
_FRAME_COUNT_TOLERANCE = 0.1


class FrameCountError(VideoError):
    """A file has another number of frames than its annotation says, so times would not fit."""


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """One clip before it is decoded."""

    sample: FrameSample
    grid: TimeGrid
    segments: np.ndarray
    """(M, 2) float64, in steps."""
    shown: np.ndarray
    """(N,) bool: which M of the video's actions they are."""
    first_step: int | None
    """The step of the video that is the clip's first; None where the clip may begin between two steps."""
    labelled: np.ndarray | None
    """(S,) bool, see `Clip`."""


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """Where in a video a test clip lies."""

    video: AnnotatedVideo
    start_step: int
    end_step: int
    """One past the last step inside the video."""


def frame_grid(num_frames: int, *, sampling: Sampling) -> np.ndarray:
    """Sorted numbers of all frames that clips of a video may contain."""
    match sampling:
        case WindowSampling():
            return np.arange(0, num_frames, sampling.frame_stride, dtype=np.int64)
        case ResizeSampling():
            return np.unique(_resized(num_frames, sampling).indices)
        case _:
            raise ValueError(f"unknown sampling {sampling!r}")


def training_clip_spec(
    video: AnnotatedVideo, *, file_frames: int, sampling: Sampling, draw: Callable[[int, int], int]
) -> ClipSpec:
    """A random window of the video, any or one of testing's; or the whole video resized.

    Args:
        video: With the actions to train on.
        file_frames: Number of frames of the file.
        draw: `draw(low, high)` gives a random whole number, both ends included.
    """
    match sampling:
        case WindowSampling(train_starts="any"):
            return _random_window(video, file_frames=file_frames, sampling=sampling, draw=draw)
        case WindowSampling(train_starts="test"):
            return _random_test_window(video, file_frames=file_frames, sampling=sampling, draw=draw)
        case ResizeSampling():
            return _whole_video(video, file_frames=file_frames, sampling=sampling)
        case _:
            raise ValueError(f"unknown sampling {sampling!r}")


def clip_spec_from(video: AnnotatedVideo, *, start: int, file_frames: int, sampling: Sampling) -> ClipSpec:
    """The clip for training that begins at a given place of the video, or the whole video resized.

    Args:
        start: In sampled frames or, where training takes testing's windows, in steps; of no matter for a whole video.
    """
    match sampling:
        case WindowSampling(train_starts="any"):
            total = -(-file_frames // sampling.frame_stride)  # rounded up
            length = min(sampling.num_steps * sampling.frames_per_step, total)
            start = min(start, total - length)
            return _window_between(video, start, start + length, file_frames=file_frames, sampling=sampling)
        case WindowSampling(train_starts="test"):
            places = window_specs_of(video, sampling=sampling, count_frames=lambda: file_frames)
            place = next(place for place in places if place.start_step >= start or place is places[-1])
            return clip_spec_of(place, file_frames=file_frames, sampling=sampling)
        case ResizeSampling():
            return _whole_video(video, file_frames=file_frames, sampling=sampling)
        case _:
            raise ValueError(f"unknown sampling {sampling!r}")


def window_specs_of(
    video: AnnotatedVideo, *, sampling: Sampling, overlap: float | None = None, count_frames: Callable[[], int]
) -> list[WindowSpec]:
    """The clips that cover a video.

    Args:
        overlap: Share of a window that the next one repeats; None: that of testing.
        count_frames: Gives the number of frames of the file; asked only if the annotation does not tell.
    """
    match sampling:
        case WindowSampling():
            num_frames = count_frames() if video.num_frames is None else video.num_frames
            total = -(-num_frames // sampling.frames_in_step)  # rounded up
            overlap = sampling.test_overlap if overlap is None else overlap
            return [
                WindowSpec(video=video, start_step=start, end_step=min(start + sampling.num_steps, total))
                for start in window_starts(total, num_steps=sampling.num_steps, overlap=overlap)
            ]
        case ResizeSampling():
            return [WindowSpec(video=video, start_step=0, end_step=sampling.num_steps)]
        case _:
            raise ValueError(f"unknown sampling {sampling!r}")


def clip_spec_of(place: WindowSpec, *, file_frames: int, sampling: Sampling) -> ClipSpec:
    """The clip at a place, with its actions."""
    match sampling:
        case ResizeSampling():
            return _whole_video(place.video, file_frames=file_frames, sampling=sampling)
        case WindowSampling():
            pass
        case _:
            raise ValueError(f"unknown sampling {sampling!r}")
    num_frames = _agreed_frames(place.video, file_frames)
    segments, shown = actions_in_window(
        windowed_segments(place.video, num_frames=num_frames, frames_in_step=sampling.frames_in_step),
        start=place.start_step,
        # The reference implementation lets a window end where its last step begins.
        end=place.end_step - 1,
        min_inside=sampling.min_inside,
    )
    first_frame = place.start_step * sampling.frames_in_step
    end_frame = place.end_step * sampling.frames_in_step
    return ClipSpec(
        sample=_window(file_frames, sampling, first_frame=first_frame, end_frame=end_frame),
        grid=_window_grid(place.video, num_frames=num_frames, sampling=sampling, first_frame=first_frame),
        segments=segments,
        shown=shown,
        first_step=place.start_step,
        labelled=labelled_steps(
            place.video,
            num_frames=num_frames,
            frames_in_step=sampling.frames_in_step,
            first_step=place.start_step,
            num_steps=sampling.num_steps,
        ),
    )


def _random_window(
    video: AnnotatedVideo, *, file_frames: int, sampling: WindowSampling, draw: Callable[[int, int], int]
) -> ClipSpec:
    start, end = draw_window(
        -(-file_frames // sampling.frame_stride),  # rounded up
        _in_sampled_frames(video, file_frames=file_frames, sampling=sampling),
        length=sampling.num_steps * sampling.frames_per_step,
        min_inside=sampling.min_inside,
        crop_ratio=sampling.crop_ratio,
        draw=draw,
    )
    return _window_between(video, start, end, file_frames=file_frames, sampling=sampling)


def _in_sampled_frames(video: AnnotatedVideo, *, file_frames: int, sampling: WindowSampling) -> np.ndarray:
    """(N, 2) the actions. Windows of training begin at any sampled frame, not only at whole steps."""
    num_frames = _agreed_frames(video, file_frames)
    segments = windowed_segments(video, num_frames=num_frames, frames_in_step=sampling.frames_in_step)
    return segments * sampling.frames_per_step


def _window_between(
    video: AnnotatedVideo, start: int, end: int, *, file_frames: int, sampling: WindowSampling
) -> ClipSpec:
    """The window from one sampled frame up to another."""
    num_frames = _agreed_frames(video, file_frames)
    per_step, stride = sampling.frames_per_step, sampling.frame_stride
    segments = _in_sampled_frames(video, file_frames=file_frames, sampling=sampling)
    inside, shown = actions_in_window(segments, start=start, end=end, min_inside=sampling.min_inside)
    return ClipSpec(
        sample=_window(file_frames, sampling, first_frame=start * stride, end_frame=end * stride),
        grid=_window_grid(video, num_frames=num_frames, sampling=sampling, first_frame=start * stride),
        segments=inside / per_step,
        shown=shown,
        first_step=None,
        labelled=labelled_steps(
            video,
            num_frames=num_frames,
            frames_in_step=sampling.frames_in_step,
            first_step=start / per_step,
            num_steps=sampling.num_steps,
        ),
    )


def _random_test_window(
    video: AnnotatedVideo, *, file_frames: int, sampling: WindowSampling, draw: Callable[[int, int], int]
) -> ClipSpec:
    """One of testing's windows, if possible one that holds an action."""
    places = window_specs_of(video, sampling=sampling, count_frames=lambda: file_frames)
    cuts = [clip_spec_of(place, file_frames=file_frames, sampling=sampling) for place in places]
    cuts = [cut for cut in cuts if cut.shown.any()] or cuts
    return cuts[draw(0, len(cuts) - 1)]


def _whole_video(video: AnnotatedVideo, *, file_frames: int, sampling: ResizeSampling) -> ClipSpec:
    return ClipSpec(
        sample=_resized(file_frames, sampling),
        grid=TimeGrid(
            start_seconds=0.0,
            seconds_per_step=video.duration_seconds / sampling.num_steps,
            duration_seconds=video.duration_seconds,
        ),
        segments=resized_segments(video, num_steps=sampling.num_steps),
        shown=np.ones(len(video.actions), bool),
        first_step=0,
        labelled=labelled_steps(video, num_frames=None, num_steps=sampling.num_steps),
    )


def _resized(file_frames: int, sampling: ResizeSampling) -> FrameSample:
    return resize_sample(file_frames, num_steps=sampling.num_steps, frames_per_step=sampling.frames_per_step)


def _window(file_frames: int, sampling: WindowSampling, *, first_frame: int, end_frame: int) -> FrameSample:
    return window_sample(
        file_frames,
        first_frame=first_frame,
        end_frame=end_frame,
        num_steps=sampling.num_steps,
        frames_per_step=sampling.frames_per_step,
        frame_stride=sampling.frame_stride,
    )


def _window_grid(video: AnnotatedVideo, *, num_frames: int, sampling: WindowSampling, first_frame: int) -> TimeGrid:
    seconds_per_frame = video.duration_seconds / num_frames
    return TimeGrid(
        start_seconds=first_frame * seconds_per_frame,
        seconds_per_step=sampling.frames_in_step * seconds_per_frame,
        duration_seconds=video.duration_seconds,
    )


def _agreed_frames(video: AnnotatedVideo, file_frames: int) -> int:
    """The number of frames that the annotated duration is divided into."""
    if video.num_frames is None:
        return file_frames
    if abs(video.num_frames - file_frames) > _FRAME_COUNT_TOLERANCE * video.num_frames:
        raise FrameCountError(
            f"video {video.video_id!r}: its file has {file_frames} frames, its annotation says {video.num_frames}, "
            'so actions would lie at wrong times; use the annotated file or remove "frame" from the annotation'
        )
    return video.num_frames
