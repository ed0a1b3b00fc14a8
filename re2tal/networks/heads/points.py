"""The points of the pyramid: every step of every level may predict one segment around itself.

P points of all levels together, S_l steps of level l.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Points", "decode", "make_points", "level_ranges"]

_LONGEST_RANGE = 10_000.0
"""In steps; the deepest level takes whatever is too long for the others."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Where the points are and which actions each may answer for. Four tensors (P,), in steps of level 0."""

    positions: Tensor
    strides: Tensor
    min_range: Tensor
    """A point answers for an action only if its farther boundary is at least this far away,"""
    max_range: Tensor
    """and at most this far."""


def level_ranges(num_levels: int, *, first_reach: float, overlap: float = 1.0) -> list[tuple[float, float]]:
    """(min, max) regression range of every level: [0, r], [r, 2r], [2r, 4r] ..., the last one open.

    With an `overlap` of 2 they begin at half of that: [0, r], [r / 2, 2r], [r, 4r] ...
    """
    bounds = [0.0, *(first_reach * 2.0**level for level in range(num_levels - 1)), _LONGEST_RANGE]
    return list(zip([low / overlap for low in bounds[:-1]], bounds[1:], strict=True))


def make_points(
    lengths: Sequence[int],
    *,
    strides: Sequence[int],
    first_reach: float,
    overlap: float = 1.0,
    device: torch.device | None = None,
) -> Points:
    """The points of levels with `lengths[l]` steps, `strides[l]` apart, level after level."""
    counts = torch.tensor(lengths, device=device)

    def per_point(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device).repeat_interleave(
            counts, output_size=sum(lengths)
        )

    steps = [torch.arange(length, device=device) * stride for length, stride in zip(lengths, strides, strict=True)]
    min_range, max_range = zip(*level_ranges(len(lengths), first_reach=first_reach, overlap=overlap), strict=True)
    return Points(
        positions=torch.cat(steps).float(),
        strides=per_point(strides),
        min_range=per_point(min_range),
        max_range=per_point(max_range),
    )


def decode(points: Points, offsets: Tensor) -> Tensor:
    """Segments from the offsets of their boundaries.

    Args:
        points: P points.
        offsets: (..., P, 2) distances to (start, end), in strides of the point's level.

    Returns:
        (..., P, 2) segments in steps.
    """
    distances = offsets * points.strides[:, None]
    return torch.stack((points.positions - distances[..., 0], points.positions + distances[..., 1]), dim=-1)
