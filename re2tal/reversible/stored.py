"""Blocks that are trained by plain autograd, and that this is told."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["Fallbacks", "StoredWarning"]


class StoredWarning(UserWarning):
    """A block of a reversible network is trained by plain autograd, which stores its activations."""


class Fallbacks:
    """Why a block was trained by plain autograd.

    Args:
        name: of the block in its network.
        kind: its class.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.reasons: dict[str, int] = {}
        """And the bytes that it kept when the reason was first met."""

    @contextmanager
    def told(self, reason: str) -> Iterator[None]:
        """Around a forward pass that stores: the first time, a warning says so, and what it costs."""
        if reason in self.reasons or not torch.is_grad_enabled():
            yield
            return
        counted = [0]
        with _counting(counted):
            yield
        self.reasons[reason] = counted[0]
        cost = f", {counted[0] / 2**20:.1f} MiB in this call" if counted[0] else ""
        warnings.warn(
            f"{self.name} ({self.kind}) is trained by plain autograd, which stores its activations{cost}: {reason}",
            StoredWarning,
            stacklevel=2,
        )


@contextmanager
def _counting(total: list[int]) -> Iterator[None]:
    """Count what autograd saves inside, unless somebody looks at that already."""
    if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
        yield
        return
    seen: set[int] = set()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen and not (tensor.is_leaf and tensor.requires_grad):
            seen.add(storage._cdata)
            total[0] += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield
