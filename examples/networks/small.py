"""A backbone of three convolutions and a pyramid of max pooling: a network that trains on a processor in seconds.

B batch, C channels, T frames, S steps, S_l steps of level l.
"""

import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from re2tal.networks.backbones import NetworkConfig
from re2tal.networks.pyramid import PyramidSettings


class ConvConfig(NetworkConfig):
    """Every convolution halves the picture; time stays as it is."""

    out_channels: PositiveInt = 16

    def build_network(self) -> "ConvNet":
        """With fresh weights."""
        return ConvNet(self.out_channels)


class ConvNet(nn.Module):
    """(B, 3, T, H, W) uint8 -> one map (B, C, T, H/8, W/8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        sizes = [3, channels, channels, channels]
        self.convs = nn.ModuleList(
            nn.Conv3d(before, after, 3, stride=(1, 2, 2), padding=1)
            for before, after in zip(sizes, sizes[1:], strict=False)
        )

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        """See `NetworkConfig`."""
        x = frames.float() / 255 - 0.5
        for conv in self.convs:
            x = conv(x).relu()
        return (x,)


class PooledConfig(PyramidSettings):
    """One convolution, then a level for every halving."""

    channels: PositiveInt = 32
    num_levels: PositiveInt = 3

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between neighbours."""
        return tuple(2**level for level in range(self.num_levels))

    def build(self, *, in_channels: int) -> "PooledPyramid":
        """With fresh weights."""
        return PooledPyramid(self, in_channels=in_channels)


class PooledPyramid(nn.Module):
    """Levels (B, C, S_l) and masks (B, S_l) of features (B, C_in, S)."""

    def __init__(self, config: PooledConfig, *, in_channels: int) -> None:
        super().__init__()
        self.out_channels, self.strides = config.channels, config.strides
        self.embed = nn.Conv1d(in_channels, config.channels, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See `FeaturePyramid`."""
        padding = -x.shape[-1] % self.strides[-1]
        x, mask = F.pad(x, (0, padding)), F.pad(mask, (0, padding))
        x = self.embed(x).relu()
        levels = [F.max_pool1d(x, stride, stride) for stride in self.strides]
        return levels, [mask[:, ::stride] for stride in self.strides]
