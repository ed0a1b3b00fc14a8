"""From raw frames to one feature vector for every step: run the network, pool over space."""

from collections.abc import Iterable
from typing import Annotated, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.common.extension import OneOf
from re2tal.networks.backbones.activation_checkpointing import checkpoint_blocks
from re2tal.networks.backbones.config import NetworkConfig
from re2tal.networks.backbones.factory import FactoryConfig
from re2tal.networks.backbones.internvideo2 import InternVideoConfig
from re2tal.networks.backbones.precomputed import PrecomputedConfig
from re2tal.networks.backbones.slowfast import SlowFastConfig
from re2tal.networks.backbones.swin import SwinConfig
from re2tal.networks.backbones.videomae import MvitConfig, VideoMaeConfig, VjepaConfig
from re2tal.reversible import call_asking_once, set_coefficients, set_tiles

__all__ = ["Backbone", "BackboneConfig", "build_backbone"]

BackboneConfig = Annotated[
    NetworkConfig,
    OneOf(
        *(SwinConfig, SlowFastConfig, FactoryConfig, VideoMaeConfig, VjepaConfig, InternVideoConfig, MvitConfig),
        PrecomputedConfig,
    ),
]

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@runtime_checkable
class SubClipNetwork(Protocol):
    """A network that cuts clips into sub-clips which do not see each other."""

    @property
    def sub_clip_frames(self) -> int:
        """F, frames of a sub-clip; clips have a multiple of it."""

    def of_sub_clips(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, F, H, W) uint8 RGB -> (N, C, t), each sub-clip's own features."""

    def joined(self, features: Tensor) -> Tensor:
        """(B, P, C, t) features of the P sub-clips of clips -> (B, C, P * t, 1, 1), as the network gives of clips."""


class Backbone(nn.Module):
    """A video network as the detector sees it.

    Args:
        network: maps (B, 3, T, H, W) uint8 RGB to one or more feature maps (B, C_i, T_i, H_i, W_i).
        out_channels: the sum of the C_i.
        freeze_norms: keep every norm layer of the network in eval mode and untrained, from now on.
        frozen: keep all of the network so.
    """

    def __init__(self, network: nn.Module, *, out_channels: int, freeze_norms: bool, frozen: bool = False) -> None:
        super().__init__()
        self.network = network
        self.out_channels = out_channels
        self.freeze_norms = freeze_norms
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
            self.eval()
        if freeze_norms:
            for norm in self._norms():
                norm.requires_grad_(False)
            self.train(self.training)

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.network.modules() if isinstance(module, NORMS)]

    def train(self, mode: bool = True) -> "Backbone":
        """As for any module, but what is frozen stays in eval mode."""
        super().train(mode and not self.frozen)
        if self.freeze_norms:
            for norm in self._norms():
                norm.eval()
        return self

    def forward(self, frames: Tensor, num_steps: int) -> Tensor:
        """(B, 3, T, H, W) uint8 RGB -> (B, C, S) float32 with S = `num_steps`.

        Every feature map is averaged over space and interpolated to the steps; maps are then concatenated.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            feature_maps = call_asking_once(self.network, frames)
        return _on_steps(feature_maps, num_steps)

    @property
    def sub_clip_frames(self) -> int | None:
        """Length of the sub-clips that clips are cut into and that go through the network independently of each other.

        None where there are none: Swin and SlowFast see the clip as a whole, and features near its ends feel them.
        """
        return self.network.sub_clip_frames if isinstance(self.network, SubClipNetwork) else None

    def of_sub_clips(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, `sub_clip_frames`, H, W) uint8 RGB -> (N, C, t): what `join` takes."""
        assert isinstance(self.network, SubClipNetwork), "there are no sub-clips, see sub_clip_frames"
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.network.of_sub_clips(sub_clips)

    def join(self, features: Tensor, num_steps: int) -> Tensor:
        """(B, P, C, t) features of the P sub-clips of clips -> (B, C, S) float32, as `forward` of whole clips."""
        assert isinstance(self.network, SubClipNetwork), "there are no sub-clips, see sub_clip_frames"
        return _on_steps((self.network.joined(features),), num_steps)


def _on_steps(feature_maps: Iterable[Tensor], num_steps: int) -> Tensor:
    """Maps (B, C_i, T_i, H_i, W_i) -> (B, C, S), the mean over space interpolated to the steps."""
    features = []
    for feature_map in feature_maps:
        precise = feature_map.to(torch.promote_types(feature_map.dtype, torch.float32))
        pooled = precise.mean(dim=(3, 4))  # (B, C_i, T_i)
        features.append(F.interpolate(pooled, size=num_steps, mode="linear", align_corners=False))
    return torch.cat(features, dim=1)


def build_backbone(config: BackboneConfig) -> Backbone:
    """The network that `config` describes, rewired or checkpointed if it says so, with fresh weights."""
    network = config.build_network()
    if config.reversible:
        network = config.rewired(network)
        if config.tile_mib != "auto":
            set_tiles(network, None if config.tile_mib == "off" else round(config.tile_mib * 2**20))
        set_coefficients(network, alpha=config.alpha, beta=config.beta)
    elif config.activation_checkpointing:
        network = checkpoint_blocks(network)
    return Backbone(network, out_channels=config.out_channels, freeze_norms=config.freeze_norms, frozen=config.frozen)
