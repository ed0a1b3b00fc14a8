"""ActionFormer's head: every point of the pyramid classifies and regresses one segment.

B batch, C channels, S_l steps of level l, P points of all levels together, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, distributed, nn

from re2tal.common.types import Proposals
from re2tal.networks.heads.interface import HeadSettings, RegressionRange
from re2tal.networks.heads.losses import diou_loss, focal_loss
from re2tal.networks.heads.points import Points, decode, level_ranges, make_points
from re2tal.networks.heads.targets import assign_targets
from re2tal.networks.layers import MaskedConvNorm

__all__ = ["Head", "HeadConfig", "HeadOutputs", "PointHead"]


class HeadConfig(HeadSettings):
    """Sizes, targets and losses of ActionFormer's head."""

    kind: Literal["actionformer"] = "actionformer"
    num_convs: PositiveInt = 2
    """Convolutions before the classifier, and as many before the regressor."""
    prior: float = Field(default=0.01, gt=0, lt=1)
    """Probability of each class at the start of training."""
    first_reach: PositiveFloat = 4.0
    """Steps. Actions whose farther boundary is at most this far from a point belong to the first level,
    those up to twice as far to the second, and so on; the last level takes all longer ones."""
    range_overlap: float = Field(default=1.0, ge=1)
    """Ranges of levels after the first begin at so many times less: with 2, an action belongs to two levels."""
    center_radius: PositiveFloat = 1.5
    """Points at most this many strides from an action's centre learn to predict it."""
    all_labels: bool = False
    """A point learns the classes of all actions that lie around it and in its range; else that of the shortest alone.
    It learns the boundaries of the shortest either way."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Part of the classification target spread evenly over the classes and the background."""
    regression_weight: PositiveFloat = 1.0
    """Weight of the regression loss beside the classification loss."""
    initial_normalizer: PositiveFloat = 100.0
    """Both losses are divided by a running mean of the number of positive points; this is where it starts."""
    normalizer_momentum: float = Field(default=0.9, ge=0, lt=1)
    """How slowly that mean moves."""

    def build(self, *, in_channels: int, num_classes: int, strides: Sequence[int]) -> "Head":
        """ActionFormer's head, with fresh weights."""
        return Head(self, in_channels=in_channels, num_classes=num_classes, strides=strides)

    def regression_ranges(self, strides: Sequence[int]) -> Sequence[RegressionRange]:
        """That of the first level begins at 0, and that of the last is open."""
        *bounded, (low, _) = level_ranges(len(strides), first_reach=self.first_reach, overlap=self.range_overlap)
        return [*bounded, (low, None)]


@dataclass(frozen=True, kw_only=True)
class HeadOutputs:
    """What the head says of a batch, at every point."""

    logits: Tensor
    """(B, P, K) before the sigmoid."""
    offsets: Tensor
    """(B, P, 2) distances to (start, end), >= 0, in strides."""
    mask: Tensor
    """(B, P) bool, True for points inside the video."""
    points: Points


class Scale(nn.Module):
    """A learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * self.scale


class PointHead(nn.Module):
    """What heads have in common whose points classify and regress: layers of all levels, targets, normalizer."""

    loss_normalizer: Tensor

    def __init__(
        self, config: HeadConfig, *, in_channels: int, num_classes: int, strides: Sequence[int], num_regressed: int
    ) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.cls_convs = nn.ModuleList(MaskedConvNorm(in_channels, in_channels) for _ in range(config.num_convs))
        self.reg_convs = nn.ModuleList(MaskedConvNorm(in_channels, in_channels) for _ in range(config.num_convs))
        self.cls_head = nn.Conv1d(in_channels, num_classes, 3, padding=1)
        self.reg_head = nn.Conv1d(in_channels, num_regressed, 3, padding=1)
        self.scale = nn.ModuleList(Scale() for _ in strides)
        self.cls_head.bias = nn.Parameter(torch.full((num_classes,), math.log(config.prior / (1 - config.prior))))
        self.register_buffer("loss_normalizer", torch.tensor(config.initial_normalizer))

    def points(self, levels: Sequence[Tensor]) -> Points:
        """The P points of levels (B, C, S_l)."""
        return make_points(
            [level.shape[-1] for level in levels],
            strides=self.strides,
            first_reach=self.config.first_reach,
            overlap=self.config.range_overlap,
            device=levels[0].device,
        )

    def targets(self, points: Points, *, segments: Sequence[Tensor], labels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Classes (B, P, K) and offsets (B, P, 2), see `Targets`, of the actions of B clips."""
        found = [
            assign_targets(
                points,
                segments=clip_segments,
                labels=clip_labels,
                num_classes=self.num_classes,
                center_radius=self.config.center_radius,
                all_labels=self.config.all_labels,
            )
            for clip_segments, clip_labels in zip(segments, labels, strict=True)
        ]
        return torch.stack([target.classes for target in found]), torch.stack([target.offsets for target in found])

    def smoothed(self, classes: Tensor) -> Tensor:
        """Targets (B, P, K) of the classification, of which a part is spread over the classes and the background."""
        smoothing = self.config.label_smoothing
        return classes * (1 - smoothing) + smoothing / (self.num_classes + 1)

    @torch.no_grad()
    def normalizer(self, num_positive: Tensor) -> Tensor:
        """The number to divide by: a running mean in training, this batch's own count otherwise.

        Processes that average their gradients count their points together, so that they get the gradients of one
        process that has all their clips.
        """
        num_processes = 1
        if self.training and distributed.is_initialized():
            num_processes = distributed.get_world_size()
            distributed.all_reduce(num_positive)
        current = num_positive.clamp(min=1).to(self.loss_normalizer.dtype)
        if not self.training:
            return current
        self.loss_normalizer.lerp_(current, 1 - self.config.normalizer_momentum)
        return self.loss_normalizer / num_processes


class Head(PointHead):
    """Two towers of convolutions shared by all levels, one for the classes, one for the boundaries."""

    def __init__(self, config: HeadConfig, *, in_channels: int, num_classes: int, strides: Sequence[int]) -> None:
        super().__init__(config, in_channels=in_channels, num_classes=num_classes, strides=strides, num_regressed=2)

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> HeadOutputs:
        """Classify and regress at every point.

        Args:
            levels: features (B, C, S_l).
            masks: (B, S_l) bool.
        """
        logits, offsets = [], []
        for level, mask, scale in zip(levels, masks, self.scale, strict=True):
            classes = boundaries = level
            for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs, strict=True):
                classes, boundaries = cls_conv(classes, mask), reg_conv(boundaries, mask)
            logits.append(self.cls_head(classes))
            offsets.append(scale(self.reg_head(boundaries)).relu())
        # At least float32 from here on: boundaries at step 500 need more digits than half precision has.
        precise = torch.promote_types(logits[0].dtype, torch.float32)
        return HeadOutputs(
            logits=torch.cat(logits, dim=-1).transpose(1, 2).to(precise),
            offsets=torch.cat(offsets, dim=-1).transpose(1, 2).to(precise),
            mask=torch.cat(list(masks), dim=-1),
            points=self.points(levels),
        )

    def losses(
        self,
        predictions: HeadOutputs,
        *,
        segments: Sequence[Tensor],
        labels: Sequence[Tensor],
        labelled: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The parts are `classification_loss` and `regression_loss`; in training the loss normalizer moves.

        Arguments are those of `DetectionHead.losses`.
        """
        points, valid = predictions.points, predictions.mask
        if labelled is not None:
            valid = valid & torch.cat(list(labelled), dim=-1)
        target_classes, target_offsets = self.targets(points, segments=segments, labels=labels)
        positive = (target_classes.sum(-1) > 0) & valid
        normalizer = self.normalizer(positive.sum())

        # What does not count is put to constants and not left out: a device would be asked how much that leaves.
        ignored, elsewhere = ~valid[..., None], ~positive[..., None]
        logits = predictions.logits.masked_fill(ignored, 0)
        classification = focal_loss(logits, self.smoothed(target_classes)).masked_fill(ignored, 0).sum() / normalizer
        found, wanted = (
            decode(points, offsets.masked_fill(elsewhere, 1)) for offsets in (predictions.offsets, target_offsets)
        )
        regression = diou_loss(found, wanted).masked_fill(~positive, 0).sum()
        regression = self.config.regression_weight * regression / normalizer
        return {
            "loss": classification + regression,
            "classification_loss": classification,
            "regression_loss": regression,
        }

    @torch.no_grad()
    def proposals(self, predictions: HeadOutputs) -> list[Proposals]:
        """The segments and scores of the points inside the video, per clip; nothing is thresholded."""
        segments = decode(predictions.points, predictions.offsets)  # (B, P, 2)
        scores = predictions.logits.sigmoid()  # (B, P, K)
        return [
            Proposals(segments=clip_segments[valid], scores=clip_scores[valid])
            for clip_segments, clip_scores, valid in zip(segments, scores, predictions.mask, strict=True)
        ]
