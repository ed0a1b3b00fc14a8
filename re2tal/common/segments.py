"""Geometry of temporal segments: pure functions of (start, end) pairs, in any one unit.

N, M segments; a segment is (start, end) with start <= end.
"""

import torch
from torch import Tensor

__all__ = ["paired_diou", "paired_iou", "segment_iou"]

_TINY = 1e-7
"""Smallest denominator: keeps the IoU of two empty segments at 0 and its gradient finite."""


def segment_iou(a: Tensor, b: Tensor) -> Tensor:
    """Temporal IoU of every segment in `a` with every segment in `b`.

    Args:
        a: (N, 2) segments.
        b: (M, 2) segments in the same unit as `a`.

    Returns:
        (N, M) IoU in [0, 1]; 0 where both segments are empty.
    """
    return paired_iou(a[:, None], b[None])


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Temporal IoU of each segment in `a` with the segment at the same place in `b`.

    Args:
        a: (..., 2) segments.
        b: (..., 2) segments; the leading sizes broadcast against those of `a`.

    Returns:
        (...) IoU in [0, 1]; 0 where both segments are empty.
    """
    overlap_start = torch.maximum(a[..., 0], b[..., 0])
    overlap_end = torch.minimum(a[..., 1], b[..., 1])
    intersection = (overlap_end - overlap_start).clamp(min=0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - intersection
    return intersection / union.clamp(min=_TINY)


def paired_diou(a: Tensor, b: Tensor) -> Tensor:
    """Distance-IoU: the IoU less the squared distance of the centres over the squared length of the hull.

    Unlike the IoU it still has a gradient where the segments do not touch (Zheng et al., AAAI 2020).

    Args:
        a: (N, 2) segments.
        b: (N, 2) segments in the same unit as `a`.

    Returns:
        (N,) DIoU in (-1, 1].
    """
    hull = torch.maximum(a[..., 1], b[..., 1]) - torch.minimum(a[..., 0], b[..., 0])
    centre_distance = (a.sum(-1) - b.sum(-1)) / 2
    return paired_iou(a, b) - centre_distance**2 / (hull**2).clamp(min=_TINY)
