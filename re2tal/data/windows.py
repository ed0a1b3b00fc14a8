"""Windows over a video and the actions inside them: arithmetic only.

N actions as (start, end) segments on the step grid of a video, M of them inside a window.
"""

from collections.abc import Callable

import numpy as np

from re2tal.common.types import AnnotatedVideo

__all__ = [
    "actions_in_window",
    "draw_window",
    "resized_segments",
    "window_distance",
    "window_starts",
    "windowed_segments",
]

_MAX_TRIALS = 200
"""Draws of a training window until one holds an action."""


def windowed_segments(video: AnnotatedVideo, *, num_frames: int, frames_in_step: int) -> np.ndarray:
    """(N, 2) float64 segments of a video whose step i begins at frame `i * frames_in_step`.

    Times are cut to whole frames first, as in the reference implementation.
    """
    seconds = _seconds(video)
    return (seconds / video.duration_seconds * num_frames).astype(np.int64) / frames_in_step


def resized_segments(video: AnnotatedVideo, *, num_steps: int) -> np.ndarray:
    """(N, 2) float64 segments of a video that is resized to `num_steps` steps."""
    return np.clip(_seconds(video) / video.duration_seconds, 0, 1) * num_steps


def window_starts(total_steps: int, *, num_steps: int, overlap: float) -> list[int]:
    """First steps of windows that cover a video: evenly spaced, the last one moved back to end with the video.

    10 steps, windows of 4, overlap 0.5:   0 2 4 6        11 steps:   0 2 4 6 7
    """
    if total_steps <= num_steps:
        return [0]
    distance = window_distance(num_steps, overlap=overlap)
    last = total_steps - num_steps
    starts = list(range(0, last + 1, distance))
    return starts if starts[-1] == last else [*starts, last]


def window_distance(num_steps: int, *, overlap: float) -> int:
    """Steps from the beginning of a window to that of the next one."""
    return max(int(num_steps * (1 - overlap)), 1)


def actions_in_window(
    segments: np.ndarray, *, start: float, end: float, min_inside: float
) -> tuple[np.ndarray, np.ndarray]:
    """The actions of which at least the share `min_inside` lies in a window, clipped to it.

    Args:
        segments: (N, 2) in any unit; those without length are never inside.
        start, end: The window, in the same unit.

    Returns:
        (M, 2) segments counted from `start`, and (N,) bool: which actions they are.
    """
    clipped = np.clip(segments, start, end)
    length = segments[:, 1] - segments[:, 0]
    inside = (length > 0) & (clipped[:, 1] - clipped[:, 0] >= min_inside * length)
    return clipped[inside] - start, inside


def draw_window(
    total: int,
    segments: np.ndarray,
    *,
    length: int,
    min_inside: float,
    crop_ratio: tuple[float, float],
    draw: Callable[[int, int], int],
) -> tuple[int, int]:
    """A random window that holds an action, if one is found in 200 draws.

    Args:
        total: Length of the video, in any whole unit.
        segments: (N, 2) actions in that unit.
        length: Length of the window. A video that is not longer is cropped to a random share in `crop_ratio`.
        draw: `draw(low, high)` gives a random whole number, both ends included.

    Returns:
        Start and end of the window.
    """
    if total <= length:
        length = draw(max(round(crop_ratio[0] * total), 1), min(round(crop_ratio[1] * total), total))
        if length == total:
            return 0, total
    start = 0
    for _ in range(_MAX_TRIALS):
        start = draw(0, total - length)
        if actions_in_window(segments, start=start, end=start + length, min_inside=min_inside)[1].any():
            break
    return start, start + length


def _seconds(video: AnnotatedVideo) -> np.ndarray:
    table = [(action.start_seconds, action.end_seconds) for action in video.actions]
    return np.array(table, np.float64).reshape(-1, 2)
