"""TriDet's feature pyramid (Shi et al., CVPR 2023): layers of scalable-granularity perception (SGP) for attention.

B batch, C channels, S steps, Q steps after the block (S, or S / 2), G groups of channels.
"""

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from re2tal.networks.layers import ChannelNorm
from re2tal.networks.pyramid.blocks import ScaledDropPath
from re2tal.networks.pyramid.interface import PyramidSettings
from re2tal.networks.pyramid.maxpool import BlockPyramid, MaskedMaxPool

__all__ = ["MaskedGroupNorm", "SgpBlock", "SgpPyramidConfig"]

_Count = Annotated[int, Field(ge=0)]

_GROUPS = 16
"""Of channels that are normalised together before the MLP, as published."""


class SgpPyramidConfig(PyramidSettings):
    """Sizes of TriDet's feature pyramid."""

    kind: Literal["sgp"] = "sgp"
    channels: PositiveInt = 512
    """Channels of every level, a multiple of 16."""
    arch: tuple[PositiveInt, _Count, _Count] = (2, 2, 5)
    """Convolutions that embed the features, SGP blocks at full length, blocks that each halve it.
    The pyramid has one level more than the last number."""
    window: PositiveInt = 1
    """Steps (odd, centred) that the window-level branch sees, in blocks that halve; those at full length see one."""
    window_scale: PositiveFloat = 5.0
    """How much wider the second window of that branch is: about (window + 1) times this, made odd."""
    mlp_channels: PositiveInt = 768
    """Channels inside the MLPs."""
    branch_std: float = Field(default=0.1, ge=0)
    """Standard deviation of the fresh weights of the instant-level and the window-level branch. With 0, the published
    value for THUMOS-14, both stay out of the sum for ever, since each is a product of two factors that are 0: a block
    is then max pooling, norms and MLP."""
    input_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the noise that is added to the features in training."""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """Probability of dropping a residual branch of a block that halves, in training."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between neighbours, per level."""
        return tuple(2**level for level in range(self.arch[2] + 1))

    def build(self, *, in_channels: int) -> BlockPyramid:
        """TriDet's pyramid, with fresh weights."""
        num_convs, num_stem, num_branch = self.arch
        return BlockPyramid(
            in_channels,
            channels=self.channels,
            num_convs=num_convs,
            stem=[SgpBlock(self, halves=False) for _ in range(num_stem)],
            branch=[SgpBlock(self, halves=True) for _ in range(num_branch)],
            input_noise=self.input_noise,
        )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.channels % _GROUPS:
            raise ValueError(
                f"channels must be a multiple of {_GROUPS}, got {self.channels}; "
                f"write {-(-self.channels // _GROUPS) * _GROUPS}"
            )
        if self.window % 2 == 0:
            raise ValueError(f"window must be odd, got {self.window}; write {self.window + 1}")
        return self


class MaskedGroupNorm(nn.Module):
    """Group norm over the real steps alone, so that the others change nothing."""

    def __init__(self, num_groups: int, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_groups, self.eps = num_groups, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, S), (B, S) -> (B, C, S), without meaning at masked-out steps."""
        grouped = x.unflatten(1, (self.num_groups, -1))  # (B, G, C / G, S)
        keep = mask[:, None, None].to(x.dtype)  # (B, 1, 1, S)
        count = keep.sum(-1, keepdim=True).clamp(min=1) * grouped.shape[2]  # (B, 1, 1, 1)
        centred = (grouped - (grouped * keep).sum((2, 3), keepdim=True) / count) * keep
        variance = centred.square().sum((2, 3), keepdim=True) / count
        normed = (centred * (variance + self.eps).rsqrt()).flatten(1, 2)
        return normed * self.weight[:, None] + self.bias[:, None]


class SgpBlock(nn.Module):
    """An SGP layer in the place of attention, and an MLP, each in a residual branch; or with max pooling before.

    With y = LayerNorm(x) and depthwise convolutions FC (of one step), psi, Conv_w and Conv_kw,

        f(x) = relu(FC(mean of y)) FC(y) + psi(y) (Conv_w(y) + Conv_kw(y)) + y

    of which the first term is the instant-level branch and the second the window-level one. The mean is over the real
    steps. Parameter names are those of the published code.
    """

    def __init__(self, config: SgpPyramidConfig, *, halves: bool) -> None:
        super().__init__()
        channels, window = config.channels, config.window if halves else 1
        wide = round((window + 1) * config.window_scale)
        self.downsample = MaskedMaxPool() if halves else None
        self.ln = ChannelNorm(channels)
        self.gn = MaskedGroupNorm(_GROUPS, channels)
        self.psi, self.fc, self.convw, self.convkw, self.global_fc = (
            nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
            for kernel in (window, 1, window, wide + 1 - wide % 2, 1)
        )
        self.mlp = nn.Sequential(
            nn.Conv1d(channels, config.mlp_channels, 1), nn.GELU(), nn.Conv1d(config.mlp_channels, channels, 1)
        )
        self.drop_path_out, self.drop_path_mlp = (
            ScaledDropPath(channels, drop_prob=config.drop_path) if halves else nn.Identity() for _ in range(2)
        )
        for conv in (self.psi, self.fc, self.convw, self.convkw, self.global_fc):
            nn.init.normal_(conv.weight, std=config.branch_std)
        for module in self.modules():
            if isinstance(module, nn.Conv1d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, S), (B, S) -> (B, C, Q), 0 at masked-out steps; a halved mask is `mask[:, ::2]`."""
        if self.downsample is not None:
            x, mask = self.downsample(x, mask), mask[:, ::2]
        keep = mask[:, None].to(x.dtype)  # (B, 1, Q)
        x = (x + self.drop_path_out(self._sgp(self.ln(x) * keep, keep))) * keep
        mlp: Tensor = self.drop_path_mlp(self.mlp(self.gn(x, mask))) * keep
        return x + mlp

    def _sgp(self, y: Tensor, keep: Tensor) -> Tensor:
        """f of normalised y (B, C, Q), and which steps are real as numbers (B, 1, Q)."""
        mean = y.sum(-1, keepdim=True) / keep.sum(-1, keepdim=True).clamp(min=1)  # (B, C, 1)
        instant = self.global_fc(mean).relu() * self.fc(y)
        window = self.psi(y) * (self.convw(y) + self.convkw(y))
        out: Tensor = instant + window + y
        return out
