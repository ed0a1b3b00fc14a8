"""Which frames of a file make up a clip: index arithmetic only.

T frames and S steps of a clip; `frames_per_step = T / S`.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["FrameSample", "resize_sample", "window_sample"]


@dataclass(frozen=True, kw_only=True)
class FrameSample:
    """The frames of one clip."""

    indices: np.ndarray
    """(T,) int64 frame numbers."""
    mask: np.ndarray
    """(S,) bool, True where a step lies inside the video."""


def resize_sample(num_frames: int, *, num_steps: int, frames_per_step: int) -> FrameSample:
    """The whole video at even distances: the frame in the middle of each of T equal parts.

        10 frames, T = 4:   parts of 2.5 frames, with their middles in frames 1, 3, 6 and 8

    Frames repeat if the video has fewer than T.
    """
    _require_frames(num_frames)
    length = num_steps * frames_per_step
    part = num_frames / length
    # Middles as frame numbers: frame i spans i - 0.5 to i + 0.5. `arange` may give one too many. A middle right
    # between two frames goes to the even one; `arange` and `rint` decide such ties as the reference implementation.
    middles = np.arange(part / 2 - 0.5, num_frames + part / 2 - 0.5, part)[:length]
    indices = np.clip(np.rint(middles), 0, num_frames - 1).astype(np.int64)
    return FrameSample(indices=indices, mask=np.ones(num_steps, bool))


def window_sample(
    num_frames: int,
    *,
    first_frame: int,
    end_frame: int,
    num_steps: int,
    frames_per_step: int,
    frame_stride: int,
) -> FrameSample:
    """Every `frame_stride`-th frame from `first_frame` on, before `end_frame` and the video's end.

    If that is fewer than T frames, the last one is repeated and the steps without frames of
    their own are masked out.
    """
    _require_frames(num_frames)
    length = num_steps * frames_per_step
    real = np.arange(first_frame, min(end_frame, num_frames), frame_stride, dtype=np.int64)[:length]
    if not len(real):
        raise ValueError(
            f"a window must begin inside the video, got frames {first_frame} to {end_frame} of {num_frames}; "
            "does the annotation count more frames than the file has?"
        )
    indices = np.concatenate([real, np.full(length - len(real), real[-1])])
    # A step that only some of its frames fill is masked out; a clip keeps one step, however short it is.
    num_real_steps = max(len(real) // frames_per_step, 1)
    return FrameSample(indices=indices, mask=np.arange(num_steps) < num_real_steps)


def _require_frames(num_frames: int) -> None:
    if num_frames < 1:
        raise ValueError(f"a video must have at least one frame, got {num_frames}")
