"""How known residual blocks split into branches.

A splitter is found by the qualified name of the block's class, so no library is imported for it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from re2tal.reversible.blocks.adapted import empty_branch, returns_streams, split_adapted
from re2tal.reversible.blocks.bottleneck import split_bottleneck, split_torchvision_bottleneck, stem
from re2tal.reversible.blocks.split import Split
from re2tal.reversible.blocks.swin import patch_embedding, patch_merging, split_swin_block
from re2tal.reversible.blocks.timesformer import split_timesformer_layer
from re2tal.reversible.blocks.vision import (
    split_intern_video_block,
    split_mvit_block,
    split_video_mae_layer,
    split_vjepa2_layer,
)

__all__ = [
    "Split",
    "empty_branch",
    "is_called_in_turn",
    "known_blocks",
    "returns_streams",
    "split_between",
    "split_block",
    "split_untraceable",
]

_IN_TURN: dict[str, Callable[[nn.Module], Split]] = {
    "re2tal.networks.backbones.internvideo2.InternVideoBlock": split_intern_video_block,
    "torchvision.models.video.mvit.MultiscaleBlock": split_mvit_block,
    "transformers.models.videomae.modeling_videomae.VideoMAELayer": split_video_mae_layer,
    "transformers.models.vjepa2.modeling_vjepa2.VJEPA2Layer": split_vjepa2_layer,
}
"""Of which their networks hold lists, and call one after the other."""
_SPLITTERS: dict[str, Callable[[nn.Module], Split]] = {
    **_IN_TURN,
    "re2tal.networks.backbones.slowfast.Bottleneck": split_bottleneck,
    "torchvision.models.swin_transformer.SwinTransformerBlock": split_swin_block,
    "torchvision.models.video.resnet.BasicBlock": split_torchvision_bottleneck,
    "torchvision.models.video.resnet.Bottleneck": split_torchvision_bottleneck,
    "transformers.models.timesformer.modeling_timesformer.TimesformerLayer": split_timesformer_layer,
}
_UNTRACEABLE = ("transformers.models.timesformer.modeling_timesformer.TimesformerLayer",)
"""Whose additions are not to the stream as it is."""
_BETWEEN: dict[str, Callable[[nn.Module], Split]] = {
    "re2tal.networks.backbones.slowfast.Stem": stem,
    "re2tal.networks.backbones.swin.PatchEmbedding": patch_embedding,
    "torchvision.models.swin_transformer.PatchMerging": patch_merging,
    "torchvision.models.video.swin_transformer.PatchEmbed3d": patch_embedding,
}
"""What stands before and between chains."""


def known_blocks() -> list[str]:
    """Qualified names of the block classes that can be split."""
    return list(_SPLITTERS)


def is_called_in_turn(block: nn.Module) -> bool:
    """Whether lists of blocks of this class are known to be called in their order, as an `nn.Sequential` does."""
    return _kind(block) in _IN_TURN


def split_block(block: nn.Module) -> Split | None:
    """The branches of `block`; None if its class is not known, or its children are not those of the class."""
    found = _found(_SPLITTERS, block)
    return split_adapted(block, found) if found is not None and hasattr(type(block), "adapted") else found


def split_untraceable(block: nn.Module) -> Split | None:
    """The branches of `block`, if tracing does not find them, though its class is known."""
    found = split_block(block) if _kind(block) in _UNTRACEABLE else None
    return found if found is not None and found.branches else None


def split_between(module: nn.Module) -> Split | None:
    """How a stem, or what stands between chains, is computed in tiles; None if its class is not known."""
    return _found(_BETWEEN, module)


def _found(splitters: dict[str, Callable[[nn.Module], Split]], module: nn.Module) -> Split | None:
    splitter = splitters.get(_kind(module))
    try:
        return splitter(module) if splitter is not None else None
    except (AttributeError, TypeError):  # a child was replaced by something else
        return None


def _kind(module: nn.Module) -> str:
    kind = type(module)
    if kind.__name__.startswith("FSDP") and len(kind.__mro__) > 2:  # fully_shard derives a class
        kind = kind.__mro__[2]
    kind = getattr(kind, "adapted", kind)
    return f"{kind.__module__}.{kind.__qualname__}"
