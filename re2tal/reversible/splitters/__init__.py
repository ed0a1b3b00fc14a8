"""How known residual blocks split into branches.

A splitter is found by the qualified name of the block's class, so no library is imported for it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.splitters.bottleneck import split_bottleneck, split_torchvision_bottleneck, stem
from re2tal.reversible.splitters.split import Split
from re2tal.reversible.splitters.swin import patch_embedding, patch_merging, split_swin_block
from re2tal.reversible.splitters.timesformer import is_divided, split_timesformer_layer

__all__ = ["Split", "known_blocks", "local_branch", "needs_splitter", "split_block"]

_SPLITTERS: dict[str, Callable[[nn.Module], Split]] = {
    "re2tal.backbones.slowfast.Bottleneck": split_bottleneck,
    "torchvision.models.swin_transformer.SwinTransformerBlock": split_swin_block,
    "torchvision.models.video.resnet.BasicBlock": split_torchvision_bottleneck,
    "torchvision.models.video.resnet.Bottleneck": split_torchvision_bottleneck,
    "transformers.models.timesformer.modeling_timesformer.TimesformerLayer": split_timesformer_layer,
}
_NOT_BY_TRACING: dict[str, Callable[[nn.Module], bool]] = {
    "transformers.models.timesformer.modeling_timesformer.TimesformerLayer": is_divided,
}


_LOCAL: dict[str, Callable[[nn.Module], Branch]] = {
    "re2tal.backbones.slowfast.Stem": stem,
    "re2tal.backbones.swin.PatchEmbedding": patch_embedding,
    "torchvision.models.swin_transformer.PatchMerging": patch_merging,
    "torchvision.models.video.swin_transformer.PatchEmbed3d": patch_embedding,
}


def known_blocks() -> list[str]:
    """Qualified names of the block classes that can be split."""
    return list(_SPLITTERS)


def needs_splitter(block: nn.Module) -> bool:
    """Whether tracing does not find the branches of `block`, though its class is known."""
    test = _NOT_BY_TRACING.get(_kind(block))
    return test is not None and test(block)


def split_block(block: nn.Module) -> Split | None:
    """The branches of `block`; None if its class is not known."""
    splitter = _SPLITTERS.get(_kind(block))
    return splitter(block) if splitter is not None else None


def local_branch(module: nn.Module) -> Branch | None:
    """How a module that is not reversible is computed in cells; None if its class is not known."""
    describe = _LOCAL.get(_kind(module))
    return describe(module) if describe is not None else None


def _kind(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
