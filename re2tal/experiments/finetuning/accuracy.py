"""How often the right class is the best, or among the five best."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Accuracy", "accuracy"]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Shares of the videos, in [0, 1]."""

    top1: float
    """Whose best class is the right one."""
    top5: float
    """Whose right class is among the five best."""


def accuracy(scores: Tensor, labels: Tensor) -> Accuracy:
    """Of (N, K) scores and (N,) class indices.

    A class that is as good as the right one stands before it: who scores all alike knows nothing.
    """
    right = scores.gather(1, labels[:, None])  # (N, 1)
    not_below = torch.where(scores.isnan() | right.isnan(), True, scores >= right).sum(1)  # the right one counts too
    top1, top5 = ((not_below <= rank).double().mean().item() for rank in (1, 5))
    return Accuracy(top1=top1, top5=top5)
