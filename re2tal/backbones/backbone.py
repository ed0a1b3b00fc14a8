"""From raw frames to one feature vector for every step: normalise, run the network, pool over space."""

from typing import Annotated, assert_never

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.backbones.activation_checkpointing import checkpoint_blocks
from re2tal.backbones.slowfast import SlowFast, SlowFastConfig
from re2tal.backbones.swin import SwinConfig, SwinTrunk
from re2tal.reversible import reconstruction_error, rewire

__all__ = ["Backbone", "BackboneConfig", "build_backbone"]

BackboneConfig = Annotated[SwinConfig | SlowFastConfig, Field(discriminator="kind")]

# ImageNet statistics in units of 0-255 pixels, with which the pretrained weights were trained.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


class Backbone(nn.Module):
    """A video network as the detector sees it.

    Args:
        network: maps (B, 3, T, H, W) normalised frames to one or more feature maps (B, C_i, T_i, H_i, W_i).
        out_channels: the sum of the C_i.
        freeze_norms: keep every norm layer of the network in eval mode and untrained, from now on.
    """

    pixel_mean: Tensor
    pixel_scale: Tensor

    def __init__(self, network: nn.Module, *, out_channels: int, freeze_norms: bool) -> None:
        super().__init__()
        self.network = network
        self.out_channels = out_channels
        self.freeze_norms = freeze_norms
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1, 1), persistent=False)
        # Multiplied with, which is several times faster on a CPU than dividing.
        self.register_buffer("pixel_scale", 1 / torch.tensor(PIXEL_STD).view(3, 1, 1, 1), persistent=False)
        if freeze_norms:
            for norm in self._norms():
                norm.requires_grad_(False)
            self.train(self.training)

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.network.modules() if isinstance(module, NORMS)]

    def train(self, mode: bool = True) -> "Backbone":
        """As for any module, but frozen norms stay in eval mode."""
        super().train(mode)
        if self.freeze_norms:
            for norm in self._norms():
                norm.eval()
        return self

    def forward(self, frames: Tensor, num_steps: int) -> Tensor:
        """(B, 3, T, H, W) uint8 RGB -> (B, C, S) float32 with S = `num_steps`.

        Every feature map is averaged over space and interpolated to the steps; maps are then concatenated.
        """
        x = (frames - self.pixel_mean).mul_(self.pixel_scale)
        features = []
        for feature_map in self.network(x):  # (B, C_i, T_i, H_i, W_i)
            precise = feature_map.to(torch.promote_types(feature_map.dtype, torch.float32))
            pooled = precise.mean(dim=(3, 4))  # (B, C_i, T_i)
            features.append(F.interpolate(pooled, size=num_steps, mode="linear", align_corners=False))
        return torch.cat(features, dim=1)

    def reconstruction_error(self) -> float | None:
        """Worst relative error of a recovered stream in the last backward pass; None if nothing was recovered."""
        return reconstruction_error(self.network)


def build_backbone(config: BackboneConfig) -> Backbone:
    """The network that `config` describes, rewired or checkpointed if it says so, with fresh weights."""
    network: nn.Module
    match config:
        case SwinConfig():
            network = SwinTrunk(config)
        case SlowFastConfig():
            network = SlowFast(config)
        case _:
            assert_never(config)
    if config.reversible:
        network = rewire(network)
    elif config.activation_checkpointing:
        network = checkpoint_blocks(network)
    return Backbone(network, out_channels=config.out_channels, freeze_norms=config.freeze_norms)
