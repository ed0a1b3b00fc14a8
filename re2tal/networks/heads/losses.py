"""Element-wise losses of the head; the head sums and normalises them."""

import torch.nn.functional as F
from torch import Tensor

from re2tal.common.segments import paired_diou

__all__ = ["diou_loss", "focal_loss"]


def focal_loss(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Cross-entropy weighted down where the prediction is already right (Lin et al., ICCV 2017).

        p_t = p t + (1 - p)(1 - t),   loss = -alpha_t (1 - p_t)^gamma log p_t

    Args:
        logits: (...) before the sigmoid.
        targets: (...) in [0, 1].

    Returns:
        (...) loss >= 0.
    """
    p = logits.sigmoid()
    p_t = p * targets + (1 - p) * (1 - targets)
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return alpha_t * (1 - p_t) ** gamma * cross_entropy


def diou_loss(segments: Tensor, targets: Tensor) -> Tensor:
    """1 - DIoU of each segment with its target: (N, 2), (N, 2) -> (N,)."""
    return 1 - paired_diou(segments, targets)
