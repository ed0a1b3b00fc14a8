"""Vision transformers of sub-clips: what their configs and networks have in common.

N sub-clips, C channels, T frames, t/h/w tokens along time, height, width.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor
from torch.nn import functional as F

from re2tal.networks.backbones.config import TrainingStrategy
from re2tal.networks.backbones.sub_clips import SubClipConfig, SubClipTrunk

__all__ = [
    "PlainTransformerConfig",
    "TransformerSizes",
    "VideoTransformerConfig",
    "VideoTransformerTrunk",
    "resized_positions",
]

PRETRAINING_SIZE = 224
"""Height and width in pixels of the frames that positions are published for."""


class VideoTransformerConfig(SubClipConfig):
    """What all video transformers here have in common."""

    strategies: ClassVar[tuple[TrainingStrategy, ...]] = ("plain", "checkpointed", "reversible")
    size: tuple[PositiveInt, PositiveInt] = (160, 160)
    """(height, width) of the frames that it takes; positions published for 224 x 224 are interpolated."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Share of residual branches dropped in the last block in training; rises linearly from 0 in the first."""
    freeze_norms: bool = False
    """Keep norm layers as pretrained and do not train them."""

    @property
    @abstractmethod
    def grid(self) -> tuple[int, int, int]:
        """(t, h, w), the tokens of a sub-clip."""


@dataclass(frozen=True, kw_only=True)
class TransformerSizes:
    """Of a transformer whose blocks are all alike."""

    width: int
    """Channels."""
    depth: int
    """Blocks."""
    heads: int
    """Of attention."""
    hidden: int
    """Channels inside an MLP."""
    patch: int = 16
    """Pixels along each side of what makes a token."""


class PlainTransformerConfig(VideoTransformerConfig):
    """A transformer whose blocks are all alike, in a published size or another."""

    published: ClassVar[Mapping[str, TransformerSizes]]
    """By `architecture`, a field of every class."""
    token_frames: ClassVar[int] = 2
    """Frames that make a token."""
    name_of_family: ClassVar[str]

    width: PositiveInt | None = None
    """Channels; like the four below, None: as published."""
    depth: PositiveInt | None = None
    """Blocks."""
    heads: PositiveInt | None = None
    """Of attention; they divide the channels."""
    hidden: PositiveInt | None = None
    """Channels inside an MLP."""
    patch: PositiveInt | None = None
    """Pixels along each side of what makes a token."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> "PlainTransformerConfig":
        sizes = self.sizes
        if sizes.width % sizes.heads:
            raise ValueError(f"heads must divide width, got {sizes.heads} and {sizes.width}")
        if self.clip_frames % self.token_frames:
            raise ValueError(f"clip_frames must be a multiple of {self.token_frames}, got {self.clip_frames}")
        if min(self.size) < sizes.patch:
            raise ValueError(f"size must hold a patch of {sizes.patch} x {sizes.patch} pixels, got {self.size}")
        return self

    @property
    def sizes(self) -> TransformerSizes:
        """With those that were given instead of the published ones."""
        published = self.published[str(getattr(self, "architecture"))]  # noqa: B009
        return TransformerSizes(
            width=self.width or published.width,
            depth=self.depth or published.depth,
            heads=self.heads or published.heads,
            hidden=self.hidden or published.hidden,
            patch=self.patch or published.patch,
        )

    @property
    def title(self) -> str:
        """Family and size."""
        return f"{self.name_of_family} {getattr(self, 'architecture')}"  # noqa: B009

    @property
    def out_channels(self) -> int:
        """Those of a token."""
        return self.sizes.width

    @property
    def grid(self) -> tuple[int, int, int]:
        """What is left of a patch at the edges is not seen."""
        patch = self.sizes.patch
        return self.clip_frames // self.token_frames, self.size[0] // patch, self.size[1] // patch

    @property
    def drop_paths(self) -> list[float]:
        """Of every block."""
        depth = self.sizes.depth
        return [self.drop_path * block / max(depth - 1, 1) for block in range(depth)]


class VideoTransformerTrunk(SubClipTrunk):
    """Frames in, the mean over space of the tokens of every time out."""

    config: VideoTransformerConfig

    @abstractmethod
    def tokens(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, T, H, W), normalised -> (N, t * h * w, C)."""

    def features(self, sub_clips: Tensor) -> Tensor:
        """(N, 3, T, H, W), normalised -> (N, C, t)."""
        return self.tokens(sub_clips).unflatten(1, (self.config.grid[0], -1)).mean(2).transpose(1, 2)

    def fit(self, weights: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str | None]:
        """Weights of a file made to suit the size of the sub-clips, and what was done to them, for the log."""
        return weights, None


def resized_positions(positions: Tensor, old: tuple[int, int, int], new: tuple[int, int, int]) -> Tensor:
    """(1, t * h * w, C) positions of a grid of tokens, interpolated: linearly in time, bicubically in space."""
    if old == new:
        return positions
    channels = positions.shape[-1]
    maps = positions.float().view(old[0], old[1], old[2], channels).permute(0, 3, 1, 2)  # (t, C, h, w)
    if old[1:] != new[1:]:
        maps = F.interpolate(maps, size=new[1:], mode="bicubic", align_corners=False)
    if old[0] != new[0]:
        lines = maps.permute(2, 3, 1, 0).flatten(0, 1)  # (h * w, C, t)
        lines = F.interpolate(lines, size=new[0], mode="linear", align_corners=False)
        maps = lines.unflatten(0, new[1:]).permute(3, 2, 0, 1)
    return maps.permute(0, 2, 3, 1).reshape(1, -1, channels).to(positions.dtype)


def told(old: tuple[int, int, int], new: tuple[int, int, int]) -> str | None:
    """What the log says of resized positions."""
    if old == new:
        return None
    theirs, ours = (" x ".join(map(str, grid)) for grid in (old, new))
    return f"positions of {theirs} tokens (time, height, width) are interpolated to {ours}"


def sinusoids(count: int, width: int) -> Tensor:
    """(1, count, width): sines and cosines of each place, in turn, of wavelengths from 2 pi to 20000 pi."""
    channel = torch.arange(width, dtype=torch.float64)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * 10000.0 ** (-(channel - channel % 2) / width)
    return torch.where(channel % 2 == 0, angles.sin(), angles.cos()).float()[None]
