"""TemporalMaxer's feature pyramid (Tang et al., 2023), and the frame of every pyramid of blocks that halve the steps.

B batch, C channels, S steps, S_l steps of level l (S / 2**l).
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from re2tal.networks.layers import ChannelNorm, MaskedConvNorm
from re2tal.networks.pyramid.interface import PyramidSettings

__all__ = ["BlockPyramid", "MaskedMaxPool", "MaxPoolPyramidConfig"]


class MaxPoolPyramidConfig(PyramidSettings):
    """Sizes of TemporalMaxer's feature pyramid: beside the convolutions that embed the features it learns nothing."""

    kind: Literal["max_pool"] = "max_pool"
    channels: PositiveInt = 512
    """Channels of every level."""
    arch: tuple[PositiveInt, Annotated[int, Field(ge=0)]] = (2, 5)
    """Convolutions that embed the features, poolings that each halve the steps. The pyramid has one level more than the
    last number."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between neighbours, per level."""
        return tuple(2**level for level in range(self.arch[1] + 1))

    def build(self, *, in_channels: int) -> "BlockPyramid":
        """TemporalMaxer's pyramid, with fresh weights."""
        num_convs, num_branch = self.arch
        branch = [MaskedMaxPool() for _ in range(num_branch)]
        return BlockPyramid(in_channels, channels=self.channels, num_convs=num_convs, stem=[], branch=branch)


class MaskedMaxPool(nn.Module):
    """The largest of three neighbours at every second step; masked-out steps take no part and are 0 in the output."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, S), (B, S) -> (B, C, S / 2); the mask of the output is `mask[:, ::2]`."""
        outside = ~mask[:, None]  # (B, 1, S)
        pooled = F.max_pool1d(x.masked_fill(outside, float("-inf")), 3, stride=2, padding=1)
        return pooled.masked_fill(outside[:, :, ::2], 0)


class BlockPyramid(nn.Module):
    """Convolutions, blocks at full length, then one level for every block that halves the steps.

    What stands in masked-out steps changes nothing of the others, and neither does their number.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        num_convs: int,
        stem: Sequence[nn.Module],
        branch: Sequence[nn.Module],
        input_noise: float = 0.0,
    ) -> None:
        """Take the blocks.

        Args:
            in_channels: of the features.
            channels: of every level.
            num_convs: convolutions before the blocks.
            stem: modules (B, C, S), (B, S) -> (B, C, S), which leave 0 at masked-out steps.
            branch: modules (B, C, S), (B, S) -> (B, C, S / 2), which do so too.
            input_noise: standard deviation of the noise that is added to the features in training.
        """
        super().__init__()
        self.out_channels = channels
        self.strides = tuple(2**level for level in range(len(branch) + 1))
        self.input_noise = input_noise
        sizes = [in_channels] + [channels] * num_convs
        self.embed = nn.ModuleList(MaskedConvNorm(size, channels) for size in sizes[:-1])
        self.stem = nn.ModuleList(stem)
        self.branch = nn.ModuleList(branch)
        self.norms = nn.ModuleList(ChannelNorm(channels, eps=1e-6) for _ in self.strides)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Build the levels; the sequence is padded at its end to a multiple of the deepest stride.

        Args:
            x: (B, C_in, S) features.
            mask: (B, S) bool, True where a step is real.

        Returns:
            Features (B, C, S_l), 0 at masked-out steps, and masks (B, S_l) of every level.
        """
        padding = -x.shape[-1] % self.strides[-1]
        x, mask = F.pad(x, (0, padding)), F.pad(mask, (0, padding))
        if self.training and self.input_noise > 0:
            x = x + self.input_noise * torch.randn_like(x)
        x = x.masked_fill(~mask[:, None], 0)
        for conv in self.embed:
            x = conv(x, mask)
        for block in self.stem:
            x = block(x, mask)
        levels, masks = [x], [mask]
        for block in self.branch:
            levels.append(block(levels[-1], masks[-1]))
            masks.append(masks[-1][:, ::2])
        normed = [norm(level) for norm, level in zip(self.norms, levels, strict=True)]
        return [level.masked_fill(~mask[:, None], 0) for level, mask in zip(normed, masks, strict=True)], masks
