"""The whole network: backbone -> pyramid -> head.

B batch, S steps of the feature grid.
"""

from typing import Any

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
            return self.head.proposals(self._predict(batch))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The head's scalars, of which `loss` is minimised; in testing mode, a validation loss."""
        return self.head.losses(self._predict(batch), segments=batch.segments, labels=batch.labels)

    def _predict(self, batch: Batch) -> Any:
        """What the head predicts; of what type is known to it alone."""
        features = batch.features_by(lambda pixels: self.backbone(pixels.frames, pixels.mask.shape[1])).features
        # A backbone under autocast may return half precision, too coarse for what follows.
        features = features.to(torch.promote_types(features.dtype, torch.float32))  # (B, C, S)
        return self.head(*self.pyramid(features, batch.mask))
