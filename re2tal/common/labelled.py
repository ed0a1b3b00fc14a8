"""Which stretches of a video somebody has looked at. What lies in none of them is unknown, not empty.

Stretches are (start, end) in seconds, in order, apart from one another. N segments.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from re2tal.common.untrusted import is_number, shown

__all__ = ["LabelledTime", "Stretches", "lies_outside", "merged", "read_labelled", "without"]

Stretches = tuple[tuple[float, float], ...]

# Ends this close to an end of the video are rounding.
_ROUNDING_SECONDS = 0.01


def read_labelled(value: Any, *, annotated: Iterable[Sequence[float]], duration: float) -> Stretches | None:
    """What the field "labelled" of an annotation file says of a video.

    What an annotation covers has been looked at, too, whatever the field says.

    Args:
        value: of the field: a list of [start, end] in seconds; None where there is none.
        annotated: segments of the video's annotations, in seconds.
        duration: of the video, in seconds.

    Returns:
        The stretches, cut to the video; None: the whole video.

    Raises:
        ValueError: `value` is something else.
    """
    if value is None:
        return None
    if not isinstance(value, list) or not all(map(_is_stretch, value)):
        raise ValueError(
            f'"labelled" must be a list of [start, end] in seconds, the start not after the end, got {shown(value)}'
        )
    stretches = merged([*value, *annotated], duration=duration)
    return None if stretches == ((0.0, float(duration)),) else stretches


def merged(stretches: Iterable[Sequence[float]], *, duration: float) -> Stretches:
    """Any segments as stretches of a video; those that touch become one, those without length vanish."""
    found: list[tuple[float, float]] = []
    for start, end in sorted((float(start), float(end)) for start, end in stretches):
        start = 0.0 if start <= _ROUNDING_SECONDS else start
        end = float(duration) if end >= duration - _ROUNDING_SECONDS else end
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return tuple(found)


def without(stretches: Iterable[tuple[float, float]], taken: Iterable[Sequence[float]]) -> Stretches:
    """The parts of `stretches` that no segment in `taken` covers; one without length cuts a stretch in two."""
    left = []
    cuts = sorted((float(start), float(end)) for start, end in taken)
    for start, end in stretches:
        for cut_start, cut_end in cuts:
            if cut_start >= end:
                break
            if cut_end > start:
                left += [(start, cut_start)] if cut_start > start else []
                start = cut_end
        left += [(start, end)] if start < end else []
    return tuple(left)


def lies_outside(segments: np.ndarray, stretches: Stretches) -> np.ndarray:
    """(N,) bool: segments (N, 2) of which more than half lies in no stretch; without length, those that lie in none."""
    starts, ends = np.array(stretches, np.float64).reshape(-1, 2).T  # (K,), (K,)
    inside = np.minimum(segments[:, 1:], ends) - np.maximum(segments[:, :1], starts)  # (N, K); below 0: apart
    length = segments[:, 1] - segments[:, 0]
    mostly = 2 * inside.clip(min=0).sum(1) < length
    return np.where(length > 0, mostly, ~(inside >= 0).any(1))


@dataclass(frozen=True, kw_only=True)
class LabelledTime:
    """How much of one or more videos is labelled, in seconds."""

    labelled: float = 0.0
    empty: float = 0.0
    """Of what is labelled: without any annotation, and so known to show no action."""
    unlabelled: float = 0.0

    @staticmethod
    def of(*, duration: float, labelled: Stretches | None, annotated: Iterable[Sequence[float]]) -> "LabelledTime":
        """Of one video; arguments as of `read_labelled`, which gives `labelled`."""
        whole = ((0.0, float(duration)),) if labelled is None else labelled
        seconds = _seconds(whole)
        return LabelledTime(labelled=seconds, empty=_seconds(without(whole, annotated)), unlabelled=duration - seconds)

    def __add__(self, other: "LabelledTime") -> "LabelledTime":
        return LabelledTime(**{name: getattr(self, name) + getattr(other, name) for name in vars(self)})

    def in_words(self) -> str:
        """In minutes, for people."""
        labelled, empty, unlabelled = (f"{seconds / 60:.1f}" for seconds in vars(self).values())
        return f"{labelled} min labelled, {empty} min of them without an action; {unlabelled} min not labelled"

    def as_json(self) -> dict[str, float]:
        """Minutes, by name."""
        return {name: round(seconds / 60, 3) for name, seconds in vars(self).items()}


def _seconds(stretches: Stretches) -> float:
    return sum(end - start for start, end in stretches)


def _is_stretch(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]
