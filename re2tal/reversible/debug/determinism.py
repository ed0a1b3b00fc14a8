"""Which module gives another result when a backward pass computes it again."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import torch
from torch import Tensor, nn

from re2tal.reversible.debug.hooks import NamedTensors, watching
from re2tal.reversible.isolated import untouched

__all__ = ["first_to_differ"]


def first_to_differ(model: nn.Module, loss: Callable[[], Tensor]) -> str | None:
    """Run a step of `model` and find the first place that, given the same, gives something else the second time.

    Nothing of the model is changed, unless a module of it does so.

    Args:
        model: with reversible chains.
        loss: runs the model, once, and returns a scalar.

    Returns:
        Name of the module, with the names of its children if it is a branch of it; None if nothing differed.
    """
    comparison = _Comparison()
    with torch.enable_grad(), untouched(model, attributes_too=False), watching(model, comparison):
        value = loss()
        comparison.again = True
        torch.autograd.grad(value, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
    return comparison.found


class _Comparison:
    def __init__(self) -> None:
        self.again = False
        self.found: str | None = None
        self._known: dict[tuple[str, bytes], set[bytes]] = {}

    def enter(self, place: str, given: NamedTensors, around: object) -> bytes:
        return _digest(given)

    def leave(self, place: str, result: NamedTensors, entered: bytes) -> None:
        key, digest = (place, entered), _digest(result)
        if not self.again:
            self._known.setdefault(key, set()).add(digest)
        elif self.found is None and key in self._known and digest not in self._known[key]:
            self.found = place


def _digest(tensors: NamedTensors) -> bytes:
    """Equal for equal bits."""
    total = blake2b(digest_size=16)
    for _, tensor in tensors:
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.digest()
