"""TriDet's head (Shi et al., CVPR 2023): boundaries as expectations over the points around, relative to one another.

B batch, C channels, S_l steps of level l, P points of all levels together, K classes, N bins, M proposals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from re2tal.common.segments import paired_iou
from re2tal.common.types import Proposals
from re2tal.networks.heads.head import HeadConfig, PointHead
from re2tal.networks.heads.interface import RegressionRange
from re2tal.networks.heads.losses import diou_loss, focal_loss
from re2tal.networks.heads.points import Points, decode
from re2tal.networks.layers import MaskedConvNorm

__all__ = ["TridentHead", "TridentHeadConfig", "TridentOutputs"]

_SMALLEST_IOU = 1e-6
"""Below this the weight of a class stays as it is: a power below 1 has no finite slope at 0."""


class TridentHeadConfig(HeadConfig):
    """Sizes, targets and losses of TriDet's head; targets are those of ActionFormer's."""

    kind: Literal["trident"] = "trident"  # type: ignore[assignment]  # of the settings that it has in common
    num_bins: PositiveInt = 16
    """How far from a point a boundary can be, in strides of the point's level; at least `first_reach`."""
    iou_weight_power: float = Field(default=0.2, ge=0)
    """The classification loss of a point's class is weighted by the tIoU of its segment to this power; 0: not at all.
    The weight is differentiated too, as in the published code."""
    max_proposals: PositiveInt = 10_000
    """The best pairs of a point and a class that are kept of a clip: every class has boundaries of its own."""

    def build(self, *, in_channels: int, num_classes: int, strides: Sequence[int]) -> "TridentHead":  # type: ignore[override]
        """TriDet's head, with fresh weights."""
        return TridentHead(self, in_channels=in_channels, num_classes=num_classes, strides=strides)

    def regression_ranges(self, strides: Sequence[int]) -> Sequence[RegressionRange]:
        """Those of ActionFormer's head; that of the last level ends where the bins do."""
        *bounded, (low, _) = super().regression_ranges(strides)
        return [*bounded, (low, float(self.num_bins * strides[-1]))]

    @model_validator(mode="after")
    def _bins_reach(self) -> Self:
        if self.num_bins < self.first_reach:
            raise ValueError(
                f"num_bins must be at least first_reach, got {self.num_bins} and {self.first_reach:g}: boundaries of "
                "actions of the first level would lie beyond the bins; raise num_bins or lower first_reach"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class TridentOutputs:
    """What the head says of a batch, at every point."""

    logits: Tensor
    """(B, P, K) before the sigmoid."""
    starts: Tensor
    """(B, K, P) how much a start of the class is here; only differences count. 0 outside the video."""
    ends: Tensor
    """(B, K, P) how much an end of the class is here; as for starts."""
    bins: Tensor
    """(B, 2, N + 1, P) >= 0, what is added to the starts and ends around a point, from the first to the last step."""
    mask: Tensor
    """(B, P) bool, True for points inside the video."""
    lengths: tuple[int, ...]
    """S_l of every level."""
    points: Points

    def offsets(self, starts: Tensor, ends: Tensor) -> Tensor:
        """Expected distances to (start, end), for every class.

            start: the sum over b = 0..N of b softmax(starts[t - b] + bins[start, b])
            end:   the sum over b = 0..N of b softmax(ends[t + b] + bins[end, b])

        Args:
            starts: (B, K, P).
            ends: (B, K, P).

        Returns:
            (B, K, P, 2) in strides, between 0 and N.
        """
        num_bins = self.bins.shape[2] - 1
        distances = torch.arange(num_bins + 1, dtype=self.bins.dtype, device=self.bins.device)
        expected = []
        for side, (responses, far, padding) in enumerate(
            ((starts, distances.flip(0), (num_bins, 0)), (ends, distances, (0, num_bins)))
        ):
            # Steps before the beginning and after the end of a level respond with 0, as those outside the video do.
            around = torch.cat(
                [F.pad(level, padding).unfold(-1, num_bins + 1, 1) for level in responses.split(self.lengths, dim=-1)],
                dim=2,
            )  # (B, K, P, N + 1)
            probabilities = (around + self.bins[:, side].transpose(1, 2)[:, None]).softmax(-1)
            expected.append((probabilities * far).sum(-1))
        return torch.stack(expected, dim=-1)


class TridentHead(PointHead):
    """Towers for the classes, for starts, for ends, and for the bins around a point.

    Starts and ends are found in features that they do not train. Parameter names are those of the published weights.
    """

    def __init__(
        self, config: TridentHeadConfig, *, in_channels: int, num_classes: int, strides: Sequence[int]
    ) -> None:
        super().__init__(
            config,
            in_channels=in_channels,
            num_classes=num_classes,
            strides=strides,
            num_regressed=2 * (config.num_bins + 1),
        )
        self.iou_weight_power, self.max_proposals = config.iou_weight_power, config.max_proposals
        self.cls_start_convs, self.cls_end_convs = (
            nn.ModuleList(MaskedConvNorm(in_channels, in_channels) for _ in range(config.num_convs)) for _ in range(2)
        )
        self.cls_start_head, self.cls_end_head = (nn.Conv1d(in_channels, num_classes, 3, padding=1) for _ in range(2))

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> TridentOutputs:
        """Classify and regress at every point.

        Args:
            levels: features (B, C, S_l).
            masks: (B, S_l) bool.
        """
        logits, starts, ends, bins = [], [], [], []
        for level, mask, scale in zip(levels, masks, self.scale, strict=True):
            outside, fixed = ~mask[:, None], level.detach()
            logits.append(self.cls_head(_through(self.cls_convs, level, mask)))
            bins.append(scale(self.reg_head(_through(self.reg_convs, level, mask))).relu())
            starts.append(self.cls_start_head(_through(self.cls_start_convs, fixed, mask)).masked_fill(outside, 0))
            ends.append(self.cls_end_head(_through(self.cls_end_convs, fixed, mask)).masked_fill(outside, 0))
        # At least float32 from here on: boundaries at step 500 need more digits than half precision has.
        precise = torch.promote_types(logits[0].dtype, torch.float32)
        return TridentOutputs(
            logits=torch.cat(logits, dim=-1).transpose(1, 2).to(precise),
            starts=torch.cat(starts, dim=-1).to(precise),
            ends=torch.cat(ends, dim=-1).to(precise),
            bins=torch.cat(bins, dim=-1).unflatten(1, (2, -1)).to(precise),
            mask=torch.cat(list(masks), dim=-1),
            lengths=tuple(level.shape[-1] for level in levels),
            points=self.points(levels),
        )

    def losses(
        self,
        predictions: TridentOutputs,
        *,
        segments: Sequence[Tensor],
        labels: Sequence[Tensor],
        labelled: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The parts are `classification_loss` and `regression_loss`; in training the loss normalizer moves.

        Arguments are those of `DetectionHead.losses`.
        """
        points, valid = predictions.points, predictions.mask
        starts, ends = predictions.starts, predictions.ends
        if labelled is not None:
            looked_at = torch.cat(list(labelled), dim=-1)
            valid = valid & looked_at
            # A point that counts may find its boundaries where nobody has looked; what is said there is not trained.
            starts, ends = (torch.where(looked_at[:, None], x, x.detach()) for x in (starts, ends))
        target_classes, target_offsets = self.targets(points, segments=segments, labels=labels)
        positive = ((target_classes > 0) & valid[..., None]).transpose(1, 2)  # (B, K, P)
        normalizer = self.normalizer(positive.any(1).sum())

        # What does not count is put to constants and not left out: a device would be asked how much that leaves.
        ignored, elsewhere = ~valid[..., None], ~positive[..., None]
        found, wanted = (
            decode(points, offsets.masked_fill(elsewhere, 1))
            for offsets in (predictions.offsets(starts, ends), target_offsets[:, None])
        )  # (B, K, P, 2)
        weight = paired_iou(found, wanted).clamp(min=_SMALLEST_IOU) ** self.iou_weight_power  # 1 where none is wanted
        logits = predictions.logits.masked_fill(ignored, 0)
        classification = focal_loss(logits, self.smoothed(target_classes)) * weight.transpose(1, 2)
        classification = classification.masked_fill(ignored, 0).sum() / normalizer
        regression = diou_loss(found, wanted).masked_fill(~positive, 0).sum()
        regression = self.config.regression_weight * regression / normalizer
        return {
            "loss": classification + regression,
            "classification_loss": classification,
            "regression_loss": regression,
        }

    @torch.no_grad()
    def proposals(self, predictions: TridentOutputs) -> list[Proposals]:
        """The best pairs of a point inside the video and a class, per clip: each has a score for that class alone."""
        offsets = predictions.offsets(predictions.starts, predictions.ends)
        segments = decode(predictions.points, offsets)  # (B, K, P, 2)
        scores = predictions.logits.sigmoid().transpose(1, 2)  # (B, K, P)
        return [
            self._best(clip_segments[:, valid], clip_scores[:, valid])
            for clip_segments, clip_scores, valid in zip(segments, scores, predictions.mask, strict=True)
        ]

    def _best(self, segments: Tensor, scores: Tensor) -> Proposals:
        """M proposals of the segments (K, P, 2) and scores (K, P) of one clip."""
        flat = scores.flatten()
        best = flat.topk(min(self.max_proposals, len(flat))).indices  # (M,)
        of_class = flat.new_zeros(len(best), self.num_classes)
        labels = best // max(scores.shape[1], 1)
        return Proposals(
            segments=segments.flatten(0, 1)[best], scores=of_class.scatter_(1, labels[:, None], flat[best][:, None])
        )


def _through(convs: nn.ModuleList, x: Tensor, mask: Tensor) -> Tensor:
    """(B, C, S_l), (B, S_l) -> (B, C, S_l)."""
    for conv in convs:
        x = conv(x, mask)
    return x
