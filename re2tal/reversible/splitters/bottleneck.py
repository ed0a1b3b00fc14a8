"""Residual blocks of post-activation ResNets.

The original is `relu(x + f(x))`. Rewired, the activation moves into the branch, `x + relu(f(x))`, in every block; in
the first of a stage too, `relu(f(x)) + downsample(x)`, where the streams that follow start.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.reversible.branch import Branch
from re2tal.reversible.splitters.split import Split

__all__ = ["split_bottleneck", "split_torchvision_bottleneck"]


def _branch(block: nn.Module, x: Tensor) -> Tensor:
    return F.relu(block.residual(x), inplace=True)  # type: ignore[operator]


def _transition(block: nn.Module, x: Tensor) -> Tensor:
    return _branch(block, x) + block.shortcut(x)  # type: ignore[no-any-return, operator]


def split_bottleneck(block: nn.Module) -> Split:
    """Our own SlowFast's bottleneck."""
    if block.downsample is not None:
        return Split(transition=_transition)
    return Split(branches=(Branch(block, _branch),))


def _torchvision_branch(block: nn.Module, x: Tensor) -> Tensor:
    for name in ("conv1", "conv2", "conv3"):
        if name in block._modules:  # a basic block has two
            x = block._modules[name](x)  # type: ignore[misc]
    return F.relu(x, inplace=True)


def _torchvision_transition(block: nn.Module, x: Tensor) -> Tensor:
    return _torchvision_branch(block, x) + block.downsample(x)  # type: ignore[no-any-return, operator]


def split_torchvision_bottleneck(block: nn.Module) -> Split:
    """Blocks of torchvision's R3D, MC3 and R(2+1)D."""
    if block.downsample is not None:
        return Split(transition=_torchvision_transition)
    return Split(branches=(Branch(block, _torchvision_branch),))
