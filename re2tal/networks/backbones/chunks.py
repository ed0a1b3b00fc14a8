"""Gradients through a share of the chunks that a clip is cut into.

B clips, P chunks of each, K of which get gradients, F frames of a chunk, C channels, t times of a chunk.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["num_with_gradients", "sampled_features"]


def num_with_gradients(num_chunks: int, *, share: float) -> int:
    """K of P, at least one."""
    return max(round(share * num_chunks), 1)


def sampled_features(compute: Callable[[Tensor], Tensor], chunks: Tensor, *, share: float) -> Tensor:
    """The features of all chunks, with gradients through K of every clip's, which are drawn at random.

    The others go through first, without autograd, K of every clip at a time, so that whatever is of a batch (drop path,
    statistics of norms) is of equal batches. Gradients that enter the K are multiplied by P / K: their mean over the
    draws is then the gradient through all chunks, and a single draw of them is noisier, the more so the smaller K.

    Cheng and Bertasius, "TALLFormer", ECCV 2022, train a part of a long clip so, with features of the rest from a
    memory bank; Cheng et al., "Stochastic Backpropagation", CVPR 2022, with those of the rest computed anew, as here.

    Args:
        compute: (N, 3, F, H, W) chunks -> (N, C, t), each chunk's own features.
        chunks: (B, P, 3, F, H, W).
        share: K / P, about; see `num_with_gradients`.

    Returns:
        (B, P, C, t).
    """
    num_clips, num_chunks = chunks.shape[:2]
    count = num_with_gradients(num_chunks, share=share)
    # From the process's random state, which checkpoints keep; on the CPU, whatever the device.
    order = torch.rand(num_clips, num_chunks).argsort(1).to(chunks.device)  # (B, P)
    clips = torch.arange(num_clips, device=chunks.device)[:, None]  # (B, 1)

    def features_of(numbers: Tensor) -> Tensor:
        """(B, k) numbers of chunks -> (B, k, C, t)."""
        return compute(chunks[clips, numbers].flatten(0, 1)).unflatten(0, (num_clips, -1))

    with torch.no_grad():
        others = [features_of(numbers) for numbers in order[:, count:].split(count, dim=1)]
    trained = features_of(order[:, :count])
    if trained.requires_grad:
        trained.register_hook(lambda gradient: gradient * (num_chunks / count))
    return torch.cat([trained, *others], dim=1)[clips, order.argsort(1)]
