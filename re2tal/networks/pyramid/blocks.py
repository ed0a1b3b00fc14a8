"""The transformer block of ActionFormer (Zhang et al., ECCV 2022) on masked sequences.

B batch, C channels, S steps, Q steps after the block (S / stride), H attention heads.
Parameter names are those of the published checkpoints.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import stochastic_depth

from re2tal.networks.layers import ChannelNorm, MaskedConv

__all__ = ["Attention", "ScaledDropPath", "TransformerBlock"]

_LEAST_BLOCK = 64
"""Queries that attend together to a stretch of keys, where each sees a window; a wider window takes half of itself."""


class ScaledDropPath(nn.Module):
    """A learned scale per channel, begun near 0, and in training the whole branch dropped at random per sample.

    The scale is LayerScale (Touvron et al., ICCV 2021).
    """

    def __init__(self, channels: int, *, drop_prob: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, channels, 1), 1e-4))
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S) -> (B, C, S)."""
        out: Tensor = stochastic_depth(self.scale * x, self.drop_prob, mode="row", training=self.training)
        return out


class Attention(nn.Module):
    """Multi-head attention whose queries, keys and values each pass a depthwise convolution first.

    The convolution knows the order of the steps, and with stride 2 it halves their number.
    """

    def __init__(self, channels: int, *, num_heads: int, stride: int, window: int | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.stride = stride
        self.window = window
        self.query_conv = MaskedConv(channels, stride=stride)
        self.key_conv = MaskedConv(channels, stride=stride)
        self.value_conv = MaskedConv(channels, stride=stride)
        self.query_norm = ChannelNorm(channels)
        self.key_norm = ChannelNorm(channels)
        self.value_norm = ChannelNorm(channels)
        self.query = nn.Conv1d(channels, channels, 1)
        self.key = nn.Conv1d(channels, channels, 1)
        self.value = nn.Conv1d(channels, channels, 1)
        self.proj = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, S), (B, S) -> (B, C, Q), 0 at masked-out steps."""
        query = self._split_heads(self.query(self.query_norm(self.query_conv(x, mask))))
        key = self._split_heads(self.key(self.key_norm(self.key_conv(x, mask))))
        value = self._split_heads(self.value(self.value_norm(self.value_conv(x, mask))))
        mask = mask[:, :: self.stride]  # (B, Q)
        attended = _attend(query, key, value, mask, window=self.window)
        out: Tensor = self.proj(attended.transpose(2, 3).flatten(1, 2))  # (B, H, Q, C / H) -> (B, C, Q)
        return out * mask[:, None].to(out.dtype)

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, C, Q) -> (B, H, Q, C / H)."""
        heads = x.unflatten(1, (self.num_heads, -1)).transpose(2, 3)
        # Kernels whose memory goes with the steps want it so, and PyTorch takes those of all pairs of steps otherwise.
        # On an accelerator their backward pass adds in any order, and training is to repeat.
        repeats = x.device.type == "cpu" or not torch.is_grad_enabled()
        return heads.contiguous() if repeats else heads


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, window: int | None) -> Tensor:
    """Attention of every step to the real ones, of a window only to the nearest; memory goes with the steps alone.

    Args:
        query, key, value: (B, H, Q, D).
        mask: (B, Q) bool.
        window: number of steps, centred on the query; None for all.

    Returns:
        (B, H, Q, D), without meaning at masked-out steps, but finite: an empty row's softmax would be NaN, which the
        mask of the output could not undo.
    """
    if window is None or window > 2 * mask.shape[1]:
        allowed = mask | ~mask.any(1, keepdim=True)  # (B, Q); a clip without any real step looks anywhere
        return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed[:, None, None])
    half = window // 2
    size = max(half, _LEAST_BLOCK)
    num_blocks = -(-mask.shape[1] // size)
    missing = num_blocks * size - mask.shape[1]

    def surrounded(x: Tensor) -> Tensor:
        """(B, H, Q, D) -> (B * blocks, H, size + 2 half, D): every block with what its steps see."""
        blocks = F.pad(x, (0, 0, half, half + missing)).unfold(2, size + 2 * half, size)
        return blocks.permute(0, 2, 1, 4, 3).flatten(0, 1).contiguous()

    queries = (
        F.pad(query, (0, 0, 0, missing)).unflatten(2, (num_blocks, size)).transpose(1, 2).flatten(0, 1).contiguous()
    )
    ahead = torch.arange(size + 2 * half, device=mask.device) - torch.arange(size, device=mask.device)[:, None]
    real = F.pad(mask, (half, half + missing)).unfold(1, size + 2 * half, size)  # (B, blocks, size + 2 half)
    # Every query may look at itself, so that no row is empty; masked-out ones are the only rows that this changes.
    allowed = (real[:, :, None] & (ahead >= 0) & (ahead <= 2 * half)) | (ahead == half)
    attended = F.scaled_dot_product_attention(
        queries, surrounded(key), surrounded(value), attn_mask=allowed.flatten(0, 1)[:, None]
    )
    return attended.unflatten(0, (-1, num_blocks)).transpose(1, 2).flatten(2, 3)[:, :, : mask.shape[1]]


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, each in a scaled residual branch; with stride 2 it halves the steps."""

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        stride: int,
        window: int | None,
        drop_path: float,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.ln1 = ChannelNorm(channels)
        self.ln2 = ChannelNorm(channels)
        self.attn = Attention(channels, num_heads=num_heads, stride=stride, window=window)
        self.dropout = nn.Dropout(dropout)  # behind the attention
        hidden = 4 * channels
        layers = nn.Conv1d(channels, hidden, 1), nn.GELU(), nn.Dropout(dropout), nn.Conv1d(hidden, channels, 1)
        self.mlp = nn.Sequential(*layers, nn.Dropout(dropout))  # their numbers are the checkpoints'
        self.drop_path_attn = ScaledDropPath(channels, drop_prob=drop_path)
        self.drop_path_mlp = ScaledDropPath(channels, drop_prob=drop_path)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, S), (B, S) -> (B, C, Q); the mask of the output is `mask[:, ::stride]`."""
        keep = mask[:, None, :: self.stride].to(x.dtype)  # (B, 1, Q)
        skip = x if self.stride == 1 else F.max_pool1d(x, 3, stride=self.stride, padding=1)
        x = skip * keep + self.drop_path_attn(self.dropout(self.attn(self.ln1(x), mask)))
        mlp: Tensor = self.drop_path_mlp(self.mlp(self.ln2(x)) * keep)
        return x + mlp
