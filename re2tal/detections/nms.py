"""Soft non-maximum suppression: of segments that overlap a better one, lower the scores.

N candidates.
"""

import numpy as np
import torch
from torch import Tensor

from re2tal.detections.config import NmsConfig
from re2tal.detections.overlaps import Floats, expand, partners_iou
from re2tal.detections.suppression import suppress

__all__ = ["soft_nms"]

_ROUNDING = 1e-3
"""Share of a length by which the search for voters is too wide, so that rounding loses none."""


def soft_nms(segments: Tensor, *, scores: Tensor, labels: Tensor, config: NmsConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress overlapping segments; of equal scores the earlier segment goes first.

    Args:
        segments: (N, 2), in any unit.
        scores: (N,).
        labels: (N,) int64; they matter only with `per_class`.
        config: see there.

    Returns:
        (M, 2) segments, (M,) lowered scores, (M,) labels of the kept ones, best first.
    """
    voters, weights = segments.float().numpy(), scores.float().numpy()
    classes = labels.numpy()
    # Whoever is below the least score is never picked and lowers nobody; it may only vote.
    worthy = weights >= np.float32(config.min_score)
    candidates, groups = voters[worthy], classes[worthy]
    # What a broken network gives is handed on, and overlaps nothing.
    finite = np.isfinite(candidates)
    places = candidates if finite.all() else np.where(finite.all(1, keepdims=True), candidates, np.float32(0))
    keys = (places[:, 1], places[:, 0], groups)
    order = np.lexsort(keys if config.per_class else keys[:2])
    groups = groups[order] if config.per_class else np.zeros_like(groups)
    kept, kept_scores = suppress(places[order], scores=weights[worthy][order], groups=groups, config=config)
    kept = order[kept]
    found = candidates[kept]
    if config.voting_tiou is not None:
        found = vote(found, candidates=voters, scores=weights, tiou=config.voting_tiou)
    return (
        torch.from_numpy(found),
        torch.from_numpy(kept_scores.astype(np.float32)),
        torch.from_numpy(classes[worthy][kept]),
    )


def vote(segments: Floats, *, candidates: Floats, scores: Floats, tiou: float) -> Floats:
    """Segment voting: the score-weighted mean of the candidates that overlap each segment.

    Args:
        segments: (M, 2).
        candidates: (N, 2) in the same unit.
        scores: (N,) of the candidates.
        tiou: the overlap that a candidate needs to have a vote.

    Returns:
        (M, 2) moved segments; those without any vote (of length 0) stay.
    """
    order = np.argsort(candidates[:, 0])
    candidates, scores = candidates[order], scores[order]
    # Who overlaps a segment enough starts at most a share of its length after it, and is at most 1 / tiou as long.
    starts, lengths = segments[:, 0].astype(np.float64), (segments[:, 1] - segments[:, 0]).astype(np.float64)
    first = np.searchsorted(candidates[:, 0], starts - lengths * (1 / tiou - 1 + _ROUNDING))
    last = np.searchsorted(candidates[:, 0], starts + lengths * (1 - tiou + _ROUNDING), side="right")
    counts, voters = expand(first, np.maximum(first, last))
    of_voters = candidates[voters, 0], candidates[voters, 1]
    iou = partners_iou((segments[:, 0], segments[:, 1]), counts=counts, partners=of_voters)
    weights = np.where(iou >= np.float32(tiou), scores[voters], np.float32(0)).astype(np.float64)
    voted_for = np.repeat(np.arange(len(segments)), counts)
    total = np.bincount(voted_for, weights, len(segments))[:, None]
    sums = [np.bincount(voted_for, weights * side, len(segments)) for side in of_voters]
    moved = np.stack(sums, axis=1) / np.where(total > 0, total, 1)
    return np.where(total > 0, moved, segments).astype(np.float32)
