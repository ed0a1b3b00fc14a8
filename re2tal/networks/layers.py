"""Layers on masked sequences, shared by the pyramid and the heads.

B batch, C channels, S steps. A mask (B, S) is True where a step lies inside the video; a masked-out
step is set to 0 after every layer that could have filled it.
"""

from torch import Tensor, nn

__all__ = ["ChannelNorm", "MaskedConv", "MaskedConvNorm"]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, S)."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, S) -> (B, C, S)."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class MaskedConv(nn.Module):
    """Depthwise convolution of kernel 3 without bias; masked-out steps of its output are 0."""

    def __init__(self, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, S), (B, S) -> (B, C, S / stride); the mask of the output is `mask[:, ::stride]`."""
        out: Tensor = self.conv(x)
        return out * mask[:, None, :: self.stride].to(out.dtype)


class MaskedConvNorm(nn.Module):
    """Convolution of kernel 3, layer norm, ReLU; masked-out steps of its output are 0."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = ChannelNorm(out_channels, eps=1e-6)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, S), (B, S) -> (B, C', S)."""
        keep = mask[:, None].to(x.dtype)
        out: Tensor = self.norm(self.conv(x) * keep)
        return out.relu() * keep
