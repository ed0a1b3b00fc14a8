"""Backbone -> mean over time -> one score for each class.

B batch, C channels, T frames of a clip, K classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.common.types import Batch
from re2tal.networks.backbones import Backbone

__all__ = ["Classifier"]


class Classifier(nn.Module):
    """Losses in training, scores in testing.

    Args:
        backbone: (B, 3, T, H, W) frames -> (B, C, S) features.
        num_classes: to tell apart.
        dropout: of the features before the last layer.
    """

    def __init__(self, backbone: Backbone, *, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.out_channels, num_classes)
        # From fresh weights all classes are equally likely, so the first steps tell the backbone nothing wrong.
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> dict[str, Tensor] | Tensor:
        """In training the cross entropy as `loss`, in testing (B, K) logits."""
        # As many steps as frames: every feature map of a network counts as long as the clip is.
        of_steps = batch.features_by(lambda pixels: self.backbone(pixels.frames, pixels.mask.shape[1])).features
        features = of_steps.mean(dim=2)  # (B, C)
        logits = self.head(self.dropout(features))  # (B, K)
        if not self.training:
            scores: Tensor = logits
            return scores
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return {"loss": F.cross_entropy(precise, torch.cat(batch.labels))}
