"""Windows over a video and the actions inside them: arithmetic only.

N actions as (start, end) segments on the step grid of a video, M of them inside a window of S steps.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from re2tal.common.types import AnnotatedVideo

__all__ = [
    "actions_in_window",
    "draw_window",
    "in_frames_of_window",
    "labelled_steps",
    "nearest_windows",
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
    return in_frames_of_window(_actions(video), video=video, num_frames=num_frames) / frames_in_step


def in_frames_of_window(seconds: Iterable[Sequence[float]], *, video: AnnotatedVideo, num_frames: int) -> np.ndarray:
    """(N, 2) int64 whole frames, rounded down, of N segments of a video in seconds."""
    return (_table(seconds) / video.duration_seconds * num_frames).astype(np.int64)


def resized_segments(video: AnnotatedVideo, *, num_steps: int) -> np.ndarray:
    """(N, 2) float64 segments of a video that is resized to `num_steps` steps."""
    return _resized(_actions(video), video=video, num_steps=num_steps)


def labelled_steps(
    video: AnnotatedVideo, *, num_frames: int | None, frames_in_step: int = 1, first_step: float = 0, num_steps: int
) -> np.ndarray | None:
    """(S,) bool: which steps of a clip begin in a stretch that is labelled; None: all of the video is.

    Args:
        video: that the clip is cut from.
        num_frames: Of the video, whose windows have steps of `frames_in_step` frames; None: it is resized.
        first_step: Of the clip, in steps of the video.
        num_steps: S.
    """
    if video.labelled is None:
        return None
    if num_frames is None:
        stretches = _resized(video.labelled, video=video, num_steps=num_steps)
    else:  # rounded as actions are, so that no action sticks out of the stretch that holds it
        stretches = in_frames_of_window(video.labelled, video=video, num_frames=num_frames) / frames_in_step
    steps = first_step + np.arange(num_steps)[:, None]  # (S, 1)
    inside: np.ndarray = np.any((steps >= stretches[:, 0]) & (steps < stretches[:, 1]), axis=1)
    return inside


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


def nearest_windows(starts: Sequence[int], *, num_steps: int, total_steps: int) -> np.ndarray:
    """(T,) int64: of every step of a video, the window in whose middle it most nearly lies, the first of two alike.

    Args:
        starts: (W,) first steps of windows that cover the video, increasing.
        num_steps: of a window.
        total_steps: T.
    """
    middles = np.asarray(starts) + num_steps / 2
    nearest: np.ndarray = np.abs(np.arange(total_steps)[:, None] + 0.5 - middles).argmin(1)
    return nearest


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


def _resized(seconds: Iterable[Sequence[float]], *, video: AnnotatedVideo, num_steps: int) -> np.ndarray:
    return np.clip(_table(seconds) / video.duration_seconds, 0, 1) * num_steps


def _actions(video: AnnotatedVideo) -> list[tuple[float, float]]:
    return [(action.start_seconds, action.end_seconds) for action in video.actions]


def _table(seconds: Iterable[Sequence[float]]) -> np.ndarray:
    return np.array(list(seconds), np.float64).reshape(-1, 2)
