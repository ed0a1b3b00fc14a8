"""Per-block activation checkpointing: what people save memory with when their network is not reversible.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016. The engine itself is PyTorch's.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["blocks_of", "checkpoint_block", "checkpoint_blocks"]

_LISTS = (nn.Sequential, nn.ModuleList)


class Checkpointed(nn.Module):
    """Stores only what it is given and runs again in the backward pass; a block's class is derived from it."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return super().forward(*args, **kwargs)
        # Reentrant checkpoints would leave a stage behind a frozen stem without gradients.
        return checkpoint(super().forward, *args, use_reentrant=False, **kwargs)


@cache
def _checkpointed(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (Checkpointed, kind), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})


def checkpoint_block(block: nn.Module) -> None:
    """Checkpoint one module, in place."""
    # mypy takes the hash of instances for that of their class.
    block.__class__ = _checkpointed(type(block))  # type: ignore[arg-type]


def checkpoint_blocks(network: nn.Module) -> nn.Module:
    """Checkpoint every block of `blocks_of`, in place; names and state dict stay as they are."""
    for block in blocks_of(network):
        checkpoint_block(block)
    return network


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """What is checkpointed as one: modules of a class that an `nn.Sequential` or `nn.ModuleList` holds several of.

    They have modules inside; of a block in a block the outer one counts.

    Raises:
        ValueError: there are none.
    """
    lists = [list(module.children()) for module in network.modules() if type(module) in _LISTS]
    counts = [Counter(type(child) for child in children if any(True for _ in child.children())) for children in lists]
    kinds = {kind for count in counts for kind, number in count.items() if number > 1 and kind not in _LISTS}
    blocks = list(_blocks_in(network, kinds))
    if not blocks:
        raise ValueError(
            f"{type(network).__name__} has no list of several blocks of one class to checkpoint; set "
            "backbone.activation_checkpointing=False"
        )
    return blocks


def _blocks_in(module: nn.Module, kinds: Collection[type[nn.Module]]) -> Iterator[nn.Module]:
    for child in module.children():
        if type(module) in _LISTS and type(child) in kinds:
            yield child
        else:
            yield from _blocks_in(child, kinds)
