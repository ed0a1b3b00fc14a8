"""From raw frames to one feature vector for every step: run the network, pool over space."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.common.extension import OneOf
from re2tal.networks.adapters import TrainedPart, adapt
from re2tal.networks.backbones.activation_checkpointing import checkpoint_blocks
from re2tal.networks.backbones.chunks import sampled_features
from re2tal.networks.backbones.config import NetworkConfig
from re2tal.networks.backbones.factory import FactoryConfig
from re2tal.networks.backbones.internvideo2 import InternVideoConfig
from re2tal.networks.backbones.precomputed import PrecomputedConfig
from re2tal.networks.backbones.slowfast import SlowFastConfig
from re2tal.networks.backbones.swin import SwinConfig
from re2tal.networks.backbones.videomae import MvitConfig, VideoMaeConfig, VjepaConfig
from re2tal.reversible import call_asking_once, compile_branches, keep_on_host, set_coefficients, set_tiles
from re2tal.reversible.devices import lay_out_weights

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
        trained: what of it is trained, if not all; see `adapt`.
        sees_whole_clips: sub-clips depend on each other, though the network cuts clips into them.
        chunk_frames: cut clips into chunks of so many frames, each of which is a clip to the network; None: its own
            sub-clips are the chunks, if it has any.
        sampled_gradients: share of a clip's chunks that get gradients in training mode, see `sampled_features`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        out_channels: int,
        freeze_norms: bool,
        frozen: bool = False,
        trained: TrainedPart | None = None,
        sees_whole_clips: bool = False,
        chunk_frames: int | None = None,
        sampled_gradients: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.trained, self.sees_whole_clips = trained, sees_whole_clips
        self.chunk_frames, self.sampled_gradients = chunk_frames, sampled_gradients
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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Backbone":
        """As for any module; on another device, convolutions may want their weights in another order."""
        super()._apply(fn, recurse)
        lay_out_weights(self.network)
        return self

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.network.modules() if isinstance(module, NORMS)]

    def train(self, mode: bool = True) -> "Backbone":
        """As for any module, but what is frozen stays in eval mode."""
        super().train(mode and not self.frozen)
        for module in self.trained.held if self.trained is not None else ():
            module.training = False
        if self.freeze_norms:
            for norm in self._norms():
                norm.eval()
        return self

    def forward(self, frames: Tensor, num_steps: int) -> Tensor:
        """(B, 3, T, H, W) uint8 RGB -> (B, C, S) float32 with S = `num_steps`.

        Every feature map is averaged over space and interpolated to the steps; maps are then concatenated.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            samples = self.training and self.sampled_gradients < 1 and torch.is_grad_enabled()
            if not samples and self.chunk_frames is None:
                return _on_steps(call_asking_once(self.network, frames), num_steps)
            chunks = frames.unflatten(2, (-1, self.sub_clip_frames or frames.shape[2])).transpose(1, 2)
            if samples:  # (B, P, 3, F, H, W) -> (B, P, C, t)
                features = sampled_features(self._of_clips, chunks, share=self.sampled_gradients)
            else:
                features = self._of_clips(chunks.flatten(0, 1)).unflatten(0, chunks.shape[:2])
            return _on_steps((_joined(features),), num_steps)

    def _of_clips(self, clips: Tensor) -> Tensor:
        """(N, 3, F, H, W) -> (N, C, t): maps averaged over space, and interpolated to the times of the finest."""
        feature_maps = tuple(call_asking_once(self.network, clips))
        return _on_steps(feature_maps, max(feature_map.shape[2] for feature_map in feature_maps))

    @property
    def sub_clip_frames(self) -> int | None:
        """Length of the sub-clips that clips are cut into and that go through the network independently of each other.

        None where there are none: without `chunk_frames`, Swin and SlowFast see the clip as a whole, and features near
        its ends feel them; so does a network with adapters along time.
        """
        network = self.network
        if self.chunk_frames is not None:
            return self.chunk_frames
        return network.sub_clip_frames if isinstance(network, SubClipNetwork) and not self.sees_whole_clips else None

    @property
    def adapter_names(self) -> frozenset[str]:
        """Of the network's weights that are those of adapters, in its state dict."""
        return self.trained.adapters if self.trained is not None else frozenset()

    def frozen_names(self) -> frozenset[str]:
        """Of the backbone's weights that training leaves as they are, in its state dict."""
        return (
            frozenset(f"network.{name}" for name in self.trained.frozen()) if self.trained is not None else frozenset()
        )

    def blocks_above(self) -> Mapping[str, int]:
        """How many blocks each parameter of the network lies below, by name; see `TrainedPart.blocks_above`."""
        if self.trained is None:
            raise ValueError("nobody knows the blocks of this backbone; set training.layer_decay=1")
        return {f"network.{name}": count for name, count in self.trained.blocks_above().items()}

    def of_sub_clips(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, `sub_clip_frames`, H, W) uint8 RGB -> (N, C, t): what `join` takes."""
        assert self.sub_clip_frames is not None, "there are no sub-clips"
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self.chunk_frames is None and isinstance(self.network, SubClipNetwork):
                return self.network.of_sub_clips(sub_clips)
            return self._of_clips(sub_clips)

    def join(self, features: Tensor, num_steps: int) -> Tensor:
        """(B, P, C, t) features of the P sub-clips of clips -> (B, C, S) float32, as `forward` of whole clips."""
        if self.chunk_frames is None and isinstance(self.network, SubClipNetwork):
            return _on_steps((self.network.joined(features),), num_steps)
        return _on_steps((_joined(features),), num_steps)


def _joined(features: Tensor) -> Tensor:
    """(B, P, C, t) features of the chunks of clips -> (B, C, P * t, 1, 1)."""
    return features.transpose(1, 2).flatten(2)[..., None, None]


def _on_steps(feature_maps: Iterable[Tensor], num_steps: int) -> Tensor:
    """Maps (B, C_i, T_i, H_i, W_i) -> (B, C, S), the mean over space interpolated to the steps."""
    features = []
    for feature_map in feature_maps:
        precise = feature_map.to(torch.promote_types(feature_map.dtype, torch.float32))
        pooled = precise.mean(dim=(3, 4))  # (B, C_i, T_i)
        features.append(F.interpolate(pooled, size=num_steps, mode="linear", align_corners=False))
    return torch.cat(features, dim=1)


def build_backbone(config: BackboneConfig) -> Backbone:
    """The network that `config` describes, adapted, rewired or checkpointed if it says so, with fresh weights."""
    network = config.build_network()
    adapter = config.adapter
    trained = adapt(network, adapter, layout=config.block_layout(), train_from=config.train_from)
    if config.reversible:
        network = config.rewired(network)
        if config.tile_mib != "auto":
            set_tiles(network, None if config.tile_mib == "off" else round(config.tile_mib * 2**20))
        set_coefficients(network, alpha=config.alpha, beta=config.beta)
        if config.compile:
            compile_branches(network)
        keep_on_host(network, config.streams_on_host)
    elif config.activation_checkpointing:
        network = checkpoint_blocks(network)
    return Backbone(
        network,
        out_channels=config.out_channels,
        freeze_norms=config.freeze_norms,
        frozen=config.frozen,
        trained=trained,
        sees_whole_clips=adapter is not None and adapter.sees_whole_clips,
        chunk_frames=config.chunk_frames,
        sampled_gradients=config.sampled_gradients,
    )
