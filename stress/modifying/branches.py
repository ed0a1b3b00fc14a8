"""Branches of small residual blocks, and what they are made of.

Shapes: B batch, T tokens, C channels, H/W space. The families are tokens (B, T, C), series (B, C, T), pictures
(B, C, H, W), windows (B, H, W, C) and clips (B, T, H, W, C), the last two for torchvision's Swin blocks.
"""

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

CHANNELS = 8
CHANNELS_LAST = ("tokens", "windows", "clips")

NORMS = {
    "tokens": ("layer", "rms", "batch", "none"),
    "series": ("batch", "group", "instance", "tracked instance", "none"),
    "pictures": ("batch", "group", "instance", "tracked instance", "none"),
}
BRANCHES = {
    "tokens": ("mlp", "attention", "multi-head", "gated", "sequential"),
    "series": ("convolutions", "depthwise", "squeeze"),
    "pictures": ("convolutions", "depthwise", "squeeze"),
}


class BatchNormOfTokens(nn.BatchNorm1d):
    """Batch norm of (B, T, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class DropPath(nn.Module):
    """Drops the whole branch of some samples."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand((len(x), *[1] * (x.dim() - 1)), dtype=x.dtype) >= self.rate
        return x * kept / (1 - self.rate)


class Mlp(nn.Module):
    """Two linear layers; a number and a flag are read in every call."""

    def __init__(self, channels: int, *, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(channels, 2 * channels)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(2 * channels, channels)
        self.scale = 1.0
        self.flag = False

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.dropout(self.activation(self.first(x)))) * self.scale
        return y.tanh() if self.flag else y


class Attention(nn.Module):
    """Self-attention of (B, T, C), written out."""

    def __init__(self, channels: int, *, dropout: float) -> None:
        super().__init__()
        self.heads = 2
        self.qkv = nn.Linear(channels, 3 * channels)
        self.dropout = nn.Dropout(dropout)
        self.proj = nn.Linear(channels, channels)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, T, C/heads)
        weights = (q @ k.transpose(-2, -1) * self.temperature * (channels / self.heads) ** -0.5).softmax(-1)
        return self.proj((self.dropout(weights) @ v).transpose(1, 2).reshape(batch, tokens, channels))


class MultiHead(nn.Module):
    """Torch's own attention module, from a tensor to a tensor."""

    def __init__(self, channels: int, *, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, 2, dropout=dropout, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class Gated(nn.Module):
    """A gated MLP."""

    def __init__(self, channels: int, *, dropout: float) -> None:
        super().__init__()
        self.gate, self.value = nn.Linear(channels, channels), nn.Linear(channels, channels, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.dropout(F.silu(self.gate(x)) * self.value(x)))


class Squeeze(nn.Module):
    """A convolution whose channels are weighed by their means."""

    def __init__(self, family: str, channels: int) -> None:
        super().__init__()
        self.convolution = convolution(family, channels, channels)
        self.weigh = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(x)
        weights = self.weigh(y.flatten(2).mean(-1)).sigmoid()  # (B, C)
        return y * weights.reshape(*weights.shape, *[1] * (y.dim() - 2))


def convolution(family: str, inputs: int, outputs: int, *, size: int = 3, groups: int = 1) -> nn.Module:
    """One that keeps the length of a series, or the size of a picture."""
    kind = nn.Conv1d if family == "series" else nn.Conv2d
    return kind(inputs, outputs, size, padding=size // 2, groups=groups)


def pointwise(family: str, inputs: int, outputs: int) -> nn.Module:
    """A linear map of the channels."""
    return nn.Linear(inputs, outputs) if family in CHANNELS_LAST else convolution(family, inputs, outputs, size=1)


def norm(family: str, kind: str) -> nn.Module:
    """One of NORMS."""
    is_series = family == "series"
    match kind:
        case "layer":
            return nn.LayerNorm(CHANNELS)
        case "rms":
            return nn.RMSNorm(CHANNELS)
        case "batch" if family == "tokens":
            return BatchNormOfTokens(CHANNELS)
        case "batch":
            return (nn.BatchNorm1d if is_series else nn.BatchNorm2d)(CHANNELS)
        case "group":
            return nn.GroupNorm(2, CHANNELS)
        case "instance" | "tracked instance":
            instance = nn.InstanceNorm1d if is_series else nn.InstanceNorm2d
            return instance(CHANNELS, affine=True, track_running_stats=kind != "instance")
        case "none":
            return nn.Identity()
        case _:
            raise ValueError(f"a norm is one of {NORMS[family]}, got {kind!r}")


def branch(family: str, kind: str, *, dropout: float) -> nn.Module:
    """One of BRANCHES."""
    match kind:
        case "mlp":
            return Mlp(CHANNELS, dropout=dropout)
        case "attention":
            return Attention(CHANNELS, dropout=dropout)
        case "multi-head":
            return MultiHead(CHANNELS, dropout=dropout)
        case "gated":
            return Gated(CHANNELS, dropout=dropout)
        case "sequential":
            return nn.Sequential(nn.Linear(CHANNELS, 6), nn.ReLU(), nn.Dropout(dropout), nn.Linear(6, CHANNELS))
        case "convolutions":
            layers = convolution(family, CHANNELS, 6), nn.SiLU(), nn.Dropout(dropout), convolution(family, 6, CHANNELS)
            return nn.Sequential(*layers)
        case "depthwise":
            mixing = convolution(family, CHANNELS, CHANNELS, groups=CHANNELS)
            return nn.Sequential(mixing, nn.GELU(), pointwise(family, CHANNELS, CHANNELS))
        case "squeeze":
            return Squeeze(family, CHANNELS)
        case _:
            raise ValueError(f"a branch is one of {BRANCHES[family]}, got {kind!r}")


def drop_path(draw: random.Random, rate: float) -> nn.Module:
    """Our own, torchvision's, or none."""
    return draw.choice((nn.Identity(), DropPath(rate), StochasticDepth(rate, "row")))
