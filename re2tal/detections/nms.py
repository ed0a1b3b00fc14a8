"""Soft non-maximum suppression: of segments that overlap a better one, lower the scores.

N candidates.
"""

from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from re2tal.segments import segment_iou
from re2tal.settings import Settings

__all__ = ["NmsConfig", "soft_nms"]

Floats = NDArray[np.float32]

_TINY = 1e-7
"""Smallest union: keeps the IoU of two empty segments at 0."""

_WHOLE_MATRIX = 400
"""Up to this many candidates all overlaps are computed at once; beyond, row by row as they are needed.
(Measured, one core: 100 candidates 0.3 ms against 1.0 by rows; 500 3.1 against 3.5; 2000 40 against 12.)"""


class NmsConfig(Settings):
    """How overlapping segments suppress each other.

    A picked segment multiplies the score of every other one by a decay of their IoU, where the IoU is at least
    `iou_threshold + iou_threshold_slope * length of the picked segment`.
    """

    decay: Literal["gaussian", "linear", "hard"] = "gaussian"
    """exp(-IoU^2 / sigma), 1 - IoU, or 0 (classical suppression)."""
    sigma: PositiveFloat = 0.7
    """Width of the Gaussian: the larger, the milder."""
    iou_threshold: float = Field(default=0.0, ge=0)
    """Overlaps below it are left alone."""
    iou_threshold_slope: float = Field(default=0.0, ge=0)
    """Grows the threshold with the length of the picked segment, in 1 / the unit of the segments."""
    min_score: PositiveFloat = 0.001
    """What falls below is dropped."""
    max_segments: PositiveInt = 2000
    """The best that are kept of a video."""
    per_class: bool = True
    """Segments suppress only those of their own class."""
    voting_tiou: float | None = Field(default=None, gt=0, le=1)
    """Move each kept segment to the score-weighted mean of all candidates that overlap it at least this much."""

    @model_validator(mode="after")
    def _voting_is_class_agnostic(self) -> Self:
        if self.per_class and self.voting_tiou is not None:
            raise ValueError(
                f"segment voting is for class-agnostic suppression, got voting_tiou={self.voting_tiou} with per_class; "
                "set per_class=False, or voting_tiou=None"
            )
        return self


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
    order = torch.from_numpy(np.lexsort((segments[:, 1].numpy(), segments[:, 0].numpy())))
    segments, scores, labels = segments[order].float(), scores[order].float(), labels[order]
    groups = (
        [torch.nonzero(labels == label)[:, 0] for label in torch.unique(labels)] if config.per_class else [_all(labels)]
    )
    kept, kept_scores = _all(labels[:0]), scores[:0]
    for group in groups:
        floor = _worth_picking(kept_scores, config=config)
        picks, pick_scores = _suppress(
            segments[group].numpy(), scores=scores[group].numpy(), floor=floor, config=config
        )
        kept = torch.cat((kept, group[torch.from_numpy(picks)]))
        kept_scores = torch.cat((kept_scores, torch.from_numpy(pick_scores)))
    best = kept_scores.argsort(descending=True, stable=True)[: config.max_segments]
    kept, kept_scores = kept[best], kept_scores[best]
    found = segments[kept]
    if config.voting_tiou is not None:
        found = vote(found, candidates=segments, scores=scores, tiou=config.voting_tiou)
    return found, kept_scores, labels[kept]


def vote(segments: Tensor, *, candidates: Tensor, scores: Tensor, tiou: float) -> Tensor:
    """Segment voting: the score-weighted mean of the candidates that overlap each segment.

    Args:
        segments: (M, 2).
        candidates: (N, 2) in the same unit.
        scores: (N,) of the candidates.
        tiou: the overlap that a candidate needs to have a vote.

    Returns:
        (M, 2) moved segments; those without any vote (of length 0) stay.
    """
    weights = (segment_iou(segments, candidates) >= tiou) * scores  # (M, N)
    total = weights.sum(dim=1, keepdim=True)
    return torch.where(total > 0, weights @ candidates / total, segments)


def _all(labels: Tensor) -> Tensor:
    return torch.arange(len(labels))


def _worth_picking(kept_scores: Tensor, *, config: NmsConfig) -> float:
    """The score below which a segment can no longer be among the best of the video."""
    if len(kept_scores) < config.max_segments:
        return config.min_score
    return max(config.min_score, float(kept_scores.topk(config.max_segments).values[-1]))


def _suppress(segments: Floats, *, scores: Floats, floor: float, config: NmsConfig) -> tuple[NDArray[np.int64], Floats]:
    """Pick the best, lower the others, again. Scores only fall, so all is told once the best is below `floor`.

    Args:
        segments: (N, 2), sorted by start.
        scores: (N,) float32.
        floor: the lowest score of interest.
        config: see there.

    Returns:
        (M,) int64 indices in the order of picking, (M,) their scores when picked.
    """
    scores = scores.copy()
    neighbours = _Neighbours(segments, config=config)
    picks: list[int] = []
    pick_scores: list[float] = []
    for _ in range(min(len(scores), config.max_segments)):
        best = int(scores.argmax())
        score = scores[best]
        if score < floor:
            break
        picks.append(best)
        pick_scores.append(score)
        reach, decay = neighbours.of(best)
        scores[reach] *= decay
        scores[best] = -1.0  # below any floor: never picked again
    return np.array(picks, dtype=np.int64), np.array(pick_scores, dtype=np.float32)


class _Neighbours:
    """For every segment the range of those it may overlap, and what it multiplies their scores by.

    In numpy, since at these sizes it is the number of calls that costs, and torch's cost several times as much.
    """

    def __init__(self, segments: Floats, *, config: NmsConfig) -> None:
        """Of (N, 2) segments sorted by start."""
        self._starts, self._ends = np.ascontiguousarray(segments.T)  # (N,), (N,)
        self._lengths = self._ends - self._starts
        self._config = config
        self._everything = slice(0, len(segments))
        self._matrix: Floats | None = None
        if len(segments) <= _WHOLE_MATRIX:
            self._matrix = self._decay(self._everything, self._everything)
        else:
            # No segment overlaps one that starts after its end, or that started longer ago than the longest lasts.
            self._first = np.searchsorted(self._starts, self._starts - self._lengths.max())
            self._last = np.searchsorted(self._starts, self._ends, side="right")

    def of(self, index: int) -> tuple[slice, Floats]:
        """The range of neighbours of segment `index`, and their factors."""
        if self._matrix is not None:
            return self._everything, self._matrix[index]
        reach = slice(int(self._first[index]), int(self._last[index]))
        return reach, self._decay(slice(index, index + 1), reach)[0]

    def _decay(self, picked: slice, others: slice) -> Floats:
        """(P, O) factors in [0, 1] by which each picked segment lowers each other's score."""
        config = self._config
        overlap = np.minimum(self._ends[picked, None], self._ends[others])
        overlap -= np.maximum(self._starts[picked, None], self._starts[others])
        np.maximum(overlap, 0, out=overlap)
        union = self._lengths[picked, None] + self._lengths[others]
        union -= overlap
        iou = overlap / np.maximum(union, _TINY, out=union)
        match config.decay:
            case "gaussian":
                factor = np.exp(iou * iou / -config.sigma)
            case "linear":
                factor = 1 - iou
            case "hard":
                factor = np.zeros_like(iou)
            case _:
                raise AssertionError(config.decay)
        if config.iou_threshold == config.iou_threshold_slope == 0:
            return factor
        threshold = config.iou_threshold + config.iou_threshold_slope * self._lengths[picked]
        return np.where(iou >= threshold[:, None], factor, np.float32(1))
