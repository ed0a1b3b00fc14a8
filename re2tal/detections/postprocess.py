"""From proposals on the step grid of one clip to detections in seconds of one video.

Whole videos: candidates -> soft-NMS -> seconds -> labels. Sliding windows: candidates -> seconds -> labels, per
window; then soft-NMS over all windows of the video. Labels come from a classifier of whole videos if there is one.

N proposals, K classes.
"""

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from re2tal.common.settings import Settings
from re2tal.common.types import Detections, Proposals, TimeGrid
from re2tal.detections.config import NmsConfig
from re2tal.detections.nms import soft_nms
from re2tal.detections.video_scores import VideoLabelsConfig, VideoScores

__all__ = ["PostprocessConfig", "detect_window", "merge_windows"]


class PostprocessConfig(Settings):
    """Which proposals become detections."""

    min_score: float = Field(default=0.001, ge=0, lt=1)
    """A proposal and a class make a candidate if their score is above this."""
    max_candidates: PositiveInt = 2000
    """The best that are kept of a clip."""
    nms: NmsConfig = NmsConfig()
    """How candidates suppress each other."""
    point_seconds: PositiveFloat | None = None
    """Detections are point events, the middles of segments; they suppress each other as segments of so many seconds
    around them do. None: detections are segments."""
    video_labels: VideoLabelsConfig | None = None
    """The classifier of whole videos that gives a class-agnostic detector's segments their labels."""


def detect_window(
    proposals: Proposals,
    *,
    grid: TimeGrid,
    video_id: str,
    config: PostprocessConfig,
    merged_later: bool,
    video_labels: VideoScores | None = None,
) -> Detections:
    """The detections of one clip.

    Args:
        proposals: of the clip.
        grid: where the clip lies in its video.
        video_id: of that video.
        config: see there.
        merged_later: the clip is a window and `merge_windows` follows: suppression is left to it.
        video_labels: what `config.video_labels` names, as read; labels are then indices of its class names.

    Raises:
        ValueError: scores are not numbers, which no threshold lets pass: nothing would be found, in silence.
    """
    if bool(proposals.scores.isnan().any()):
        raise ValueError(
            f"scores must be numbers, the network gives NaN for video {video_id!r}; its weights are probably broken: "
            "take an earlier checkpoint, or set training.amp=none if it computes in half precision"
        )
    segments, scores, labels = _candidates(proposals, config=config)
    if not merged_later:
        segments, scores, labels = _suppress(
            segments, scores=scores, labels=labels, config=config, seconds_per_unit=grid.seconds_per_step
        )
    found = Detections(video_id=video_id, segments=grid.to_seconds(segments), scores=scores, labels=labels)
    return found if video_labels is None else video_labels.label(found)


def merge_windows(windows: Sequence[Detections], *, config: PostprocessConfig) -> Detections:
    """Suppress over all windows of one video."""
    if not windows:
        raise ValueError("there must be at least one window to merge, got none; pass a video's windows together")
    video_ids = sorted({window.video_id for window in windows})
    if len(video_ids) > 1:
        raise ValueError(f"the windows must be of one video, got {video_ids}; group them by video_id first")
    segments, scores, labels = _suppress(
        torch.cat([window.segments for window in windows]),
        scores=torch.cat([window.scores for window in windows]),
        labels=torch.cat([window.labels for window in windows]),
        config=config,
        seconds_per_unit=1.0,
    )
    return Detections(video_id=video_ids[0], segments=segments, scores=scores, labels=labels)


def _suppress(
    segments: Tensor, *, scores: Tensor, labels: Tensor, config: PostprocessConfig, seconds_per_unit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What `soft_nms` keeps; with `config.point_seconds` the middles of segments, as segments without length.

    Of two segments of one length w whose middles are d apart the IoU is (w - d) / (w + d), 0 from w on: suppression by
    IoU is suppression by distance.
    """
    if config.point_seconds is None:
        return soft_nms(segments, scores=scores, labels=labels, config=config.nms)
    half = config.point_seconds / seconds_per_unit / 2
    middles = segments.mean(-1, keepdim=True)  # (N, 1)
    around = torch.cat((middles - half, middles + half), dim=-1)
    kept, scores, labels = soft_nms(around, scores=scores, labels=labels, config=config.nms)
    return kept.mean(-1, keepdim=True).expand(-1, 2), scores, labels


def _candidates(proposals: Proposals, *, config: PostprocessConfig) -> tuple[Tensor, Tensor, Tensor]:
    """The best pairs of a proposal and a class: (M, 2) segments, (M,) scores, (M,) labels, best first."""
    num_classes = proposals.scores.shape[1]
    scores = proposals.scores.detach().float().cpu().flatten()  # (N * K,)
    above = (scores > config.min_score).nonzero()[:, 0]
    if len(above) > config.max_candidates:  # sort little more than what is kept
        above = above[scores[above] >= scores[above].topk(config.max_candidates, sorted=False).values.min()]
    best = scores[above].argsort(descending=True, stable=True)[: config.max_candidates]
    pairs = above[best]
    segments = proposals.segments.detach().float().cpu()[pairs // num_classes]
    return segments, scores[pairs], pairs % num_classes
