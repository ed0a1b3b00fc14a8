"""Per-block activation checkpointing: what people save memory with when their network is not reversible.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016. The engine itself is PyTorch's.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.swin_transformer import SwinTransformerBlock

from re2tal.networks.backbones.slowfast import Bottleneck

__all__ = ["checkpoint_blocks"]


class CheckpointedSequential(nn.Sequential):
    """An `nn.Sequential` that stores only the input of each child and runs the child again in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super().forward(x)
        for block in self:
            # Reentrant checkpoints would leave a stage behind a frozen stem without gradients.
            x = checkpoint(block, x, use_reentrant=False)
        return x


def checkpoint_blocks(network: nn.Module) -> nn.Module:
    """Checkpoint every residual block of a Video Swin or SlowFast, in place; names and state dict stay as they are."""
    planned = [
        (parent, name, stage)
        for parent in network.modules()
        for name, stage in parent.named_children()
        if type(stage) is nn.Sequential
        and any(isinstance(block, SwinTransformerBlock | Bottleneck) for block in stage.children())
    ]
    if not planned:
        raise ValueError(
            f"{type(network).__name__} has no residual block of Video Swin or SlowFast to checkpoint; set "
            "backbone.activation_checkpointing=False"
        )
    for parent, name, stage in planned:
        setattr(parent, name, CheckpointedSequential(*stage.children()))
    return network
