"""Video Swin Transformer: torchvision's network without its classifier.

Liu et al., "Video Swin Transformer", CVPR 2022. torchvision computes exactly what the reference's does (a test holds
both against the same numbers), so it is used as it is.
"""

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from re2tal.networks.adapters import BlockLayout
from re2tal.networks.backbones.config import NetworkConfig, TrainingStrategy
from re2tal.networks.backbones.fresh import FreshWeights, draw_by_width
from re2tal.networks.backbones.pixels import PixelNorm

__all__ = ["PatchEmbedding", "SwinConfig", "SwinTrunk"]


class SwinConfig(NetworkConfig):
    """A Video Swin of any size; the defaults are Swin-T (patch 2x4x4, window 8x7x7)."""

    weight_names = "swin"
    strategies: ClassVar[tuple[TrainingStrategy, ...]] = ("plain", "checkpointed", "reversible")
    kind: Literal["swin"] = "swin"
    embed_dim: PositiveInt = 96
    """Channels after the patch embedding; doubled between stages."""
    depths: tuple[PositiveInt, ...] = (2, 2, 6, 2)
    """Blocks in each stage."""
    num_heads: tuple[PositiveInt, ...] = (3, 6, 12, 24)
    """Attention heads in each stage."""
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt] = (2, 4, 4)
    """Frames and pixels that make one token (time, height, width)."""
    window_size: tuple[PositiveInt, PositiveInt, PositiveInt] = (8, 7, 7)
    """Tokens that attend to each other (time, height, width)."""
    mlp_ratio: float = Field(4.0, gt=0)
    """Hidden width of the MLPs over the width of their stage."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Share of residual branches dropped in the last block in training; rises linearly from 0 in the first."""

    fresh_weights: FreshWeights = "published"
    """How weights are drawn: as published, with a deviation of 0.02, from which a small network trained from scratch
    takes thousands of steps to depart; or so that every layer keeps the size of its input."""

    @model_validator(mode="after")
    def _stages_agree(self) -> "SwinConfig":
        if len(self.depths) != len(self.num_heads):
            raise ValueError(f"depths and num_heads need one entry for each stage, got {self.depths}, {self.num_heads}")
        if sum(self.depths) < 2:
            raise ValueError(f"depths must give at least two blocks, between which drop path rises, got {self.depths}")
        for stage, heads in enumerate(self.num_heads):
            if self.embed_dim * 2**stage % heads:
                raise ValueError(
                    f"stage {stage} has {self.embed_dim * 2**stage} channels, which {heads} heads do not divide"
                )
        return self

    @property
    def out_channels(self) -> int:
        """Channels of the last stage."""
        return self.embed_dim * 2 ** (len(self.depths) - 1)

    def build_network(self) -> "SwinTrunk":
        """Video Swin without its classifier."""
        return SwinTrunk(self)

    def block_layout(self) -> BlockLayout:
        """Tokens in their places."""
        return BlockLayout(order="BTHWC")


class PatchEmbedding(PatchEmbed3d):
    """torchvision's, on raw pixels."""

    def __init__(self, patch_size: tuple[int, int, int], channels: int) -> None:
        super().__init__(patch_size=list(patch_size), embed_dim=channels, norm_layer=nn.LayerNorm)
        self.normalise = PixelNorm()

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, T / 2, H / 4, W / 4, C) with the default patch."""
        tokens: Tensor = super().forward(self.normalise(frames))
        return tokens


class SwinTrunk(SwinTransformer3d):
    """torchvision's Video Swin up to its last norm; parameter names are torchvision's."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__(
            patch_size=list(config.patch_size),
            embed_dim=config.embed_dim,
            depths=list(config.depths),
            num_heads=list(config.num_heads),
            window_size=list(config.window_size),
            mlp_ratio=config.mlp_ratio,
            stochastic_depth_prob=config.drop_path,
            num_classes=1,
            patch_embed=lambda **_: PatchEmbedding(config.patch_size, config.embed_dim),
        )
        del self.head, self.avgpool  # the classifier; its weights are not part of the detector
        if config.fresh_weights == "by_width":
            draw_by_width(self)

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        """(B, 3, T, H, W) uint8 RGB, or normalised -> one (B, C, T / 2, H / 32, W / 32) with the default patch."""
        tokens = self.norm(self.features(self.pos_drop(self.patch_embed(frames))))  # (B, T', H', W', C)
        return (tokens.permute(0, 4, 1, 2, 3),)
