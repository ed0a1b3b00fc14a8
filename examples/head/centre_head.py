"""A head that finds the centres of actions on a heat map and regresses their lengths, after CenterNet for pictures.

Zhou et al., "Objects as Points", 2019.

B batch, C channels, S_l steps of level l, P points of all levels together, N actions, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from re2tal.common.types import Proposals
from re2tal.networks.heads import HeadSettings, RegressionRange


class CentreHeadConfig(HeadSettings):
    """Sizes and losses of the head."""

    num_convs: PositiveInt = 2
    """Convolutions before the heat map and the lengths, which share them."""
    strides_per_action: PositiveFloat = 8.0
    """An action belongs to the level on which it is nearest to this many strides long."""
    length_weight: PositiveFloat = 1.0
    """Weight of the loss of lengths beside that of the heat map."""

    def build(self, *, in_channels: int, num_classes: int, strides: Sequence[int]) -> "CentreHead":
        """The head, with fresh weights."""
        return CentreHead(self, in_channels=in_channels, num_classes=num_classes, strides=strides)

    def regression_ranges(self, strides: Sequence[int]) -> Sequence[RegressionRange]:
        """The farther boundary is half an action away from its centre."""
        half = self.strides_per_action / 2
        bounds = [half * math.sqrt(low * high) for low, high in zip(strides, strides[1:], strict=False)]
        return list(zip([0.0, *bounds], [*bounds, None], strict=True))


@dataclass(frozen=True, kw_only=True)
class CentreOutputs:
    """What the head says of a batch, at every point."""

    heat: Tensor
    """(B, P, K) logits: is a centre of the class here?"""
    sizes: Tensor
    """(B, P, 2): the way to the centre in strides, and the logarithm of the length over `strides_per_action`."""
    mask: Tensor
    """(B, P) bool, True for points inside the video."""
    positions: Tensor
    """(P,) steps."""
    strides: Tensor
    """(P,) steps."""


class CentreHead(nn.Module):
    """Convolutions that all levels share, then a heat map for each class, and lengths."""

    def __init__(self, config: CentreHeadConfig, *, in_channels: int, num_classes: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.config, self.num_classes, self.strides = config, num_classes, tuple(strides)
        self.convs = nn.ModuleList(nn.Conv1d(in_channels, in_channels, 3, padding=1) for _ in range(config.num_convs))
        self.heat = nn.Conv1d(in_channels, num_classes, 3, padding=1)
        self.sizes = nn.Conv1d(in_channels, 2, 3, padding=1)
        self.heat.bias = nn.Parameter(torch.full((num_classes,), -math.log(99)))  # centres are rare: one in a hundred

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> CentreOutputs:
        """Features (B, C, S_l) and masks (B, S_l) of all levels -> predictions."""
        heat, sizes, positions, strides = [], [], [], []
        for level, mask, stride in zip(levels, masks, self.strides, strict=True):
            x = level
            for conv in self.convs:
                x = conv(x).relu() * mask[:, None]
            heat.append(self.heat(x))
            sizes.append(self.sizes(x))
            positions.append(torch.arange(x.shape[-1], device=x.device) * float(stride))
            strides.append(torch.full_like(positions[-1], stride))
        return CentreOutputs(
            heat=torch.cat(heat, dim=-1).transpose(1, 2).float(),
            sizes=torch.cat(sizes, dim=-1).transpose(1, 2).float(),
            mask=torch.cat(list(masks), dim=-1),
            positions=torch.cat(positions),
            strides=torch.cat(strides),
        )

    def losses(
        self,
        predictions: CentreOutputs,
        *,
        segments: Sequence[Tensor],
        labels: Sequence[Tensor],
        labelled: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Scalars `loss`, `heat_loss` and `length_loss`; see `DetectionHead`."""
        targets = [self._targets(predictions, *clip) for clip in zip(segments, labels, strict=True)]
        heat, sizes, centres = (torch.stack(parts) for parts in zip(*targets, strict=True))
        mask = predictions.mask if labelled is None else predictions.mask & torch.cat(list(labelled), dim=-1)
        valid, centres = mask[..., None], centres & mask  # (B, P, 1), (B, P)
        count = centres.sum().clamp(min=1)
        found = predictions.heat.sigmoid()
        # Points near a centre are punished less for saying that they are one.
        missed = (heat == 1) * (1 - found) ** 2 * F.logsigmoid(predictions.heat)
        false = (heat < 1) * (1 - heat) ** 4 * found**2 * F.logsigmoid(-predictions.heat)
        heat_loss = -((missed + false) * valid).sum() / count
        distance = F.smooth_l1_loss(predictions.sizes, sizes, reduction="none").sum(-1)  # (B, P)
        length_loss = self.config.length_weight * (distance * centres).sum() / count
        return {"loss": heat_loss + length_loss, "heat_loss": heat_loss, "length_loss": length_loss}

    @torch.no_grad()
    def _targets(self, outputs: CentreOutputs, segments: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of one clip: the heat map (P, K), sizes (P, 2), and which points are centres (P,) bool."""
        positions, strides = outputs.positions[:, None], outputs.strides[:, None]  # (P, 1)
        if len(segments) == 0:
            heat, sizes = positions.new_zeros(len(positions), self.num_classes), positions.new_zeros(len(positions), 2)
            return heat, sizes, sizes[:, 0] > 0
        middles, lengths = segments.mean(dim=1), segments[:, 1] - segments[:, 0]  # (N,)
        ideal = outputs.strides.new_tensor(self.strides) * self.config.strides_per_action  # (L,)
        level = (lengths[:, None] / ideal).log().abs().argmin(dim=1)  # (N,)
        here = strides == outputs.strides.new_tensor(self.strides)[level]  # (P, N)
        strategy = (middles - positions) / strides  # (P, N), in strides
        centre = here & (strategy.abs() <= 0.5)
        width = (lengths / 12 / strides).clamp(min=0.5)
        warmth = torch.where(centre, 1.0, here * (-(strategy**2) / (2 * width**2)).exp().clamp(max=0.99))
        one_hot = F.one_hot(labels, self.num_classes)  # (N, K)
        heat = (warmth[:, :, None] * one_hot).amax(dim=1)  # (P, K)
        chosen = centre.float().argmax(dim=1)  # (P,)
        best_way = strategy.gather(1, chosen[:, None])[:, 0]
        length = (lengths[chosen] / strides[:, 0] / self.config.strides_per_action).clamp(min=1e-3).log()
        return heat, torch.stack((best_way, length), dim=-1), centre.any(dim=1)

    @torch.no_grad()
    def proposals(self, predictions: CentreOutputs) -> list[Proposals]:
        """Segments and scores of the points inside the video, per clip."""
        strategy, length = predictions.sizes.unbind(-1)  # (B, P)
        middle = predictions.positions + strategy * predictions.strides
        half = length.clamp(max=10).exp() * self.config.strides_per_action * predictions.strides / 2
        segments = torch.stack((middle - half, middle + half), dim=-1)  # (B, P, 2)
        return [
            Proposals(segments=clip[valid], scores=scores[valid])
            for clip, scores, valid in zip(segments, predictions.heat.sigmoid(), predictions.mask, strict=True)
        ]
