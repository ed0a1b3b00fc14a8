"""torchvision's Swin blocks, 2-D and video: attention, then MLP, each after its norm."""

from __future__ import annotations

from torch import Tensor, nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.splitters.split import Split

__all__ = ["split_swin_block"]


def _attention(block: nn.Module, x: Tensor) -> Tensor:
    return block.stochastic_depth(block.attn(block.norm1(x)))  # type: ignore[no-any-return, operator]


def _mlp(block: nn.Module, x: Tensor) -> Tensor:
    return block.stochastic_depth(block.mlp(block.norm2(x)))  # type: ignore[no-any-return, operator]


def split_swin_block(block: nn.Module) -> Split:
    """Two branches; drop path is drawn once for each."""
    return Split(branches=(Branch(block, _attention, ("norm1", "attn")), Branch(block, _mlp, ("norm2", "mlp"))))
