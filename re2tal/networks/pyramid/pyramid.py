"""ActionFormer's feature pyramid.

B batch, C channels, S steps, S_l steps of level l (S / 2**l).
"""

import math
from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from re2tal.networks.layers import ChannelNorm, MaskedConvNorm
from re2tal.networks.pyramid.blocks import TransformerBlock
from re2tal.networks.pyramid.interface import PyramidSettings

__all__ = ["Pyramid", "PyramidConfig"]

_Count = Annotated[int, Field(ge=0)]


class PyramidConfig(PyramidSettings):
    """Sizes of ActionFormer's feature pyramid."""

    kind: Literal["actionformer"] = "actionformer"
    channels: PositiveInt = 512
    """Channels of every level."""
    num_heads: PositiveInt = 4
    """Attention heads; they share the channels."""
    arch: tuple[_Count, _Count, _Count] = (2, 2, 5)
    """Convolutions that embed the features, transformer blocks at full length, blocks that each halve it.
    The pyramid has one level more than the last number."""
    attention_window: PositiveInt | tuple[PositiveInt | None, ...] | None = None
    """Steps (odd, centred) that a step may attend to, on every level or for each level; None: the whole sequence."""
    position_code: bool = False
    """Add a sinusoid code of the position; without it the convolutions alone know the order."""
    max_steps: PositiveInt = 512
    """Length of the training clips in steps. Shorter ones are padded to it; it is the length of the position code."""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """Probability of dropping a residual branch in training."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping an element behind the linear maps of attention and MLP in training."""
    input_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a channel of the features, at all steps of a clip, in training."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between neighbours, per level."""
        return tuple(2**level for level in range(self.arch[2] + 1))

    @property
    def attention_windows(self) -> tuple[int | None, ...]:
        """Of each level."""
        window = self.attention_window
        return window if isinstance(window, tuple) else (window,) * len(self.strides)

    def build(self, *, in_channels: int) -> "Pyramid":
        """ActionFormer's pyramid, with fresh weights."""
        return Pyramid(self, in_channels=in_channels)

    def require_steps(self, num_steps: int) -> None:
        """Clips must not be longer than the position code."""
        if self.position_code and num_steps > self.max_steps:
            raise ValueError(
                f"data.sampling.num_steps must not exceed the position code of pyramid.max_steps = {self.max_steps}, "
                f"got {num_steps}; set both alike, or switch pyramid.position_code off"
            )

    def fit_steps(self, pyramid: nn.Module, *, num_steps: int) -> None:
        """Stretch the position code."""
        code, needed = pyramid.position_code, max(num_steps, self.max_steps)
        if isinstance(code, Tensor) and code.shape[-1] != needed:
            pyramid.position_code = code.new_empty((*code.shape[:-1], needed))

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.channels % self.num_heads:
            raise ValueError(
                f"channels must be a multiple of num_heads, got {self.channels} and {self.num_heads}; "
                f"{self.channels // self.num_heads * self.num_heads or self.num_heads} channels fit"
            )
        if self.arch[0] == 0:
            raise ValueError(f"arch must begin with at least one convolution, got {self.arch}; write (1, ...) or more")
        for window in self.attention_windows:
            if window is not None and window % 2 == 0:
                raise ValueError(
                    f"attention_window must be odd, got {self.attention_window}; write {window + 1}, "
                    "or None for the whole sequence"
                )
        if len(self.attention_windows) != len(self.strides):
            raise ValueError(
                f"attention_window must be one number or one for each of the {len(self.strides)} levels, got "
                f"{self.attention_window}"
            )
        if self.max_steps % self.strides[-1]:
            raise ValueError(
                f"max_steps must be a multiple of the deepest stride {self.strides[-1]}, got {self.max_steps}; "
                f"write {_round_up(self.max_steps, self.strides[-1])}, or use fewer levels (arch)"
            )
        return self


class Pyramid(nn.Module):
    """Convolutions, transformer blocks, then one level for every block that halves the steps."""

    position_code: Tensor | None

    def __init__(self, config: PyramidConfig, *, in_channels: int) -> None:
        super().__init__()
        self.config = config
        self.out_channels = config.channels
        self.strides = config.strides
        num_convs, num_stem, _ = config.arch
        sizes = [in_channels] + [config.channels] * num_convs
        self.embed = nn.ModuleList(MaskedConvNorm(size, config.channels) for size in sizes[:-1])
        first, *others = config.attention_windows
        self.stem = nn.ModuleList(_block(config, stride=1, window=first) for _ in range(num_stem))
        self.branch = nn.ModuleList(_block(config, stride=2, window=window) for window in others)
        self.norms = nn.ModuleList(ChannelNorm(config.channels, eps=1e-6) for _ in config.strides)
        code = sinusoid_code(config.max_steps, channels=config.channels) if config.position_code else None
        self.register_buffer("position_code", code, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv1d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Build the levels; the sequence is padded at its end as far as they need.

        Args:
            x: (B, C_in, S) features.
            mask: (B, S) bool, True where a step is real.

        Returns:
            Features (B, C, S_l) and masks (B, S_l) of every level.
        """
        x, mask = self._pad(x, mask)
        x = F.dropout1d(x, self.config.input_dropout, training=self.training)
        for conv in self.embed:
            x = conv(x, mask)
        if self.position_code is not None:
            x = x + self._code_for(x.shape[-1]) * mask[:, None].to(x.dtype)
        for block in self.stem:
            x = block(x, mask)
        levels, masks = [x], [mask]
        for block in self.branch:
            levels.append(block(levels[-1], masks[-1]))
            masks.append(masks[-1][:, ::2])
        return [norm(level) for norm, level in zip(self.norms, levels, strict=True)], masks

    def _pad(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        num_steps = x.shape[-1]
        padding = max(self.config.max_steps, _round_up(num_steps, self.strides[-1])) - num_steps
        return F.pad(x, (0, padding)), F.pad(mask, (0, padding))

    def _code_for(self, num_steps: int) -> Tensor:
        """(1, C, num_steps); in testing the code is stretched over a sequence longer than itself."""
        code = self.position_code
        assert code is not None
        if num_steps == code.shape[-1]:
            return code
        if self.training:
            raise ValueError(
                f"a training clip of {num_steps} steps is longer than the position code of {code.shape[-1]}; "
                f"set pyramid.max_steps={num_steps}, use shorter clips, or switch position_code off"
            )
        return F.interpolate(code, num_steps, mode="linear", align_corners=False)


def sinusoid_code(num_steps: int, *, channels: int) -> Tensor:
    """(1, channels, num_steps) position code of Vaswani et al. (2017), over sqrt(channels).

    Sines in the even channels, cosines of the same frequencies in the odd ones.
    """
    channel = torch.arange(channels, dtype=torch.float64)
    frequency = 10_000 ** (-2 * (channel // 2) / channels)  # (C,)
    angle = frequency[:, None] * torch.arange(num_steps, dtype=torch.float64)  # (C, S)
    code = torch.where(channel[:, None] % 2 == 0, angle.sin(), angle.cos())
    return (code / math.sqrt(channels)).float()[None]


def _block(config: PyramidConfig, *, stride: int, window: int | None) -> TransformerBlock:
    return TransformerBlock(
        config.channels,
        num_heads=config.num_heads,
        stride=stride,
        window=window,
        drop_path=config.drop_path,
        dropout=config.dropout,
    )


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
