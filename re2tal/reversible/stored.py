"""Blocks that are trained by plain autograd, and that this is told."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from re2tal.reversible.observers import noting_saved

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
        self.reasons: list[str] = []

    @contextmanager
    def told(self, reason: str) -> Iterator[None]:
        """Around a forward pass that stores: the first time, a warning says so, and what it costs."""
        if reason in self.reasons or not torch.is_grad_enabled():
            yield
            return
        # Unless somebody looks at what is saved already.
        unseen = torch._C._autograd._top_saved_tensors_default_hooks(True) is None
        noted: AbstractContextManager[dict[int, int]] = noting_saved() if unseen else nullcontext({})
        with noted as saved:
            yield
        self.reasons.append(reason)
        kept = sum(saved.values())
        cost = f", {kept / 2**20:.1f} MiB in this call" if kept else ""
        warnings.warn(
            f"{self.name} ({self.kind}) is trained by plain autograd, which stores its activations{cost}: {reason}",
            StoredWarning,
            stacklevel=2,
        )
