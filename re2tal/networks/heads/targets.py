"""Which point should predict which action.

P points, N actions, K classes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from re2tal.networks.heads.points import Points

__all__ = ["Targets", "assign_targets"]

_SAME_LENGTH = 1e-3
"""Steps. Actions closer in length are taken for one action with several labels (THUMOS-14 has such)."""


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the points of one clip should say."""

    classes: Tensor
    """(P, K) float, 1 for the classes of a point's action; all 0 for background."""
    offsets: Tensor
    """(P, 2) distances to the action's (start, end), in strides; without meaning for background."""


@torch.no_grad()
def assign_targets(
    points: Points,
    *,
    segments: Tensor,
    labels: Tensor,
    num_classes: int,
    center_radius: float,
    all_labels: bool = False,
) -> Targets:
    """Give each point the shortest action that it lies in the middle of and that lies in its regression range.

    Args:
        points: P points.
        segments: (N, 2) actions in steps.
        labels: (N,) int64 class indices.
        num_classes: K.
        center_radius: how far from an action's centre a point may lie, in strides of its level.
        all_labels: give it the classes of all actions that it could be given, and the boundaries of the shortest.
    """
    positions, strides = points.positions[:, None], points.strides[:, None]  # (P, 1)
    if len(segments) == 0:
        return Targets(
            classes=positions.new_zeros(len(positions), num_classes), offsets=positions.new_zeros(len(positions), 2)
        )
    starts, ends = segments[:, 0], segments[:, 1]
    distances = torch.stack((positions - starts, ends - positions), dim=-1)  # (P, N, 2)

    centers = 0.5 * (starts + ends)
    inner_starts = torch.maximum(centers - strides * center_radius, starts)  # (P, N)
    inner_ends = torch.minimum(centers + strides * center_radius, ends)
    central = (positions > inner_starts) & (positions < inner_ends)

    farther = distances.amax(-1)  # (P, N)
    in_range = (farther >= points.min_range[:, None]) & (farther <= points.max_range[:, None])

    lengths = (ends - starts).expand_as(central).masked_fill(~(central & in_range), float("inf"))  # (P, N)
    shortest, chosen = lengths.min(dim=1)  # (P,)
    matches = lengths.isfinite()
    if not all_labels:
        matches = matches & (lengths <= shortest[:, None] + _SAME_LENGTH)
    one_hot = F.one_hot(labels, num_classes).to(distances.dtype)  # (N, K)
    offsets = distances[torch.arange(len(chosen), device=chosen.device), chosen]
    return Targets(classes=(matches.to(distances.dtype) @ one_hot).clamp(max=1), offsets=offsets / strides)
