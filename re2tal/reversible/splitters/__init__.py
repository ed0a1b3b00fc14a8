"""How known residual blocks split into branches.

A splitter is found by the qualified name of the block's class, so no library is imported for it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from re2tal.reversible.splitters.bottleneck import split_bottleneck, split_torchvision_bottleneck
from re2tal.reversible.splitters.split import Split
from re2tal.reversible.splitters.swin import split_swin_block

__all__ = ["Split", "known_blocks", "split_block"]

_SPLITTERS: dict[str, Callable[[nn.Module], Split]] = {
    "re2tal.backbones.slowfast.Bottleneck": split_bottleneck,
    "torchvision.models.swin_transformer.SwinTransformerBlock": split_swin_block,
    "torchvision.models.video.resnet.BasicBlock": split_torchvision_bottleneck,
    "torchvision.models.video.resnet.Bottleneck": split_torchvision_bottleneck,
}


def known_blocks() -> list[str]:
    """Qualified names of the block classes that can be split."""
    return list(_SPLITTERS)


def split_block(block: nn.Module) -> Split | None:
    """The branches of `block`; None if its class is not known."""
    kind = type(block)
    splitter = _SPLITTERS.get(f"{kind.__module__}.{kind.__qualname__}")
    return splitter(block) if splitter is not None else None
