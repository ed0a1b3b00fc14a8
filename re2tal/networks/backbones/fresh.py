"""Weights that a small network departs from in training from scratch."""

from typing import Literal

from torch import nn
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d

__all__ = ["FreshWeights", "draw_by_width"]

FreshWeights = Literal["published", "by_width"]


def draw_by_width(network: nn.Module) -> None:
    """Draw every weight with variance 1 / inputs, and position biases that tell positions apart from the start."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        elif isinstance(module, ShiftedWindowAttention3d):
            nn.init.normal_(module.relative_position_bias_table, std=0.5)
