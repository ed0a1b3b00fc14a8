"""The whole network: backbone -> pyramid -> head.

B batch, S steps of the feature grid.
"""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from re2tal.common.types import Batch, Proposals
from re2tal.networks.heads import DetectionHead
from re2tal.networks.pyramid import FeaturePyramid

__all__ = ["Detector"]


class Detector(nn.Module):
    """Frames in, losses (in training) or proposals (in testing) out.

    The backbone is any module with `forward(frames, num_steps)`: (B, 3, T, H, W) uint8 -> (B, C, S). A batch that holds
    features passes it by.
    """

    def __init__(self, backbone: nn.Module, *, pyramid: FeaturePyramid, head: DetectionHead) -> None:
        super().__init__()
        if tuple(head.strides) != tuple(pyramid.strides):
            raise ValueError(
                f"head and pyramid must have the same strides, got {head.strides} and {pyramid.strides}; "
                "build the head with strides=pyramid.strides"
            )
        self.backbone = backbone
        self.pyramid = pyramid
        self.head = head

    def forward(self, batch: Batch) -> dict[str, Tensor] | list[Proposals]:
        """In training the losses of the head, in testing the proposals of every clip."""
        if self.training:
            return self.loss(batch)
        with torch.no_grad():
            return self.head.proposals(self.head(*self._levels(batch)))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The head's scalars, of which `loss` is minimised; in testing mode, a validation loss."""
        levels, masks = self._levels(batch)
        predictions = self.head(levels, masks)
        if batch.labelled is None:
            return self.head.losses(predictions, segments=batch.segments, labels=batch.labels)
        if "labelled" not in inspect.signature(self.head.losses).parameters:
            raise ValueError(
                f"the data has stretches that nobody has looked at, and `losses` of {type(self.head).__name__} takes "
                "no `labelled`; add it (see DetectionHead), or train on data that is labelled as a whole"
            )
        labelled = _at_points(batch.labelled, masks=masks, strides=self.head.strides)
        return self.head.losses(predictions, segments=batch.segments, labels=batch.labels, labelled=labelled)

    def _levels(self, batch: Batch) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Features (B, C, S_l) and masks (B, S_l) of all levels."""
        features = batch.features_by(lambda pixels: self.backbone(pixels.frames, pixels.mask.shape[1])).features
        # A backbone under autocast may return half precision, too coarse for what follows.
        features = features.to(torch.promote_types(features.dtype, torch.float32))  # (B, C, S)
        return self.pyramid(features, batch.mask)


def _at_points(labelled: Tensor, *, masks: Sequence[Tensor], strides: Sequence[int]) -> list[Tensor]:
    """(B, S) of the steps -> (B, S_l) of the points of every level, each as the step that it lies at."""
    found = []
    for mask, stride in zip(masks, strides, strict=True):
        at = torch.arange(mask.shape[1], device=labelled.device) * stride  # (S_l,)
        found.append(labelled[:, at.clamp(max=labelled.shape[1] - 1)])
    return found
