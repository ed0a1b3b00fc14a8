"""What a block is given: the stream, further tensors, and the rest."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from re2tal.reversible.automatic.trees import leaves, replace_leaves, structure

__all__ = ["Given"]

_CONSTANT = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, enum.Enum, type, slice)


@dataclass(frozen=True)
class Given:
    """The arguments of one call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    stream: Tensor
    """The first tensor of floating-point numbers."""
    further: tuple[Tensor, ...]
    """All other tensors, in order."""

    @staticmethod
    def of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Given | None:
        """None if there is no stream."""
        tensors = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        place = next((place for place, tensor in enumerate(tensors) if tensor.is_floating_point()), None)
        if place is None:
            return None
        return Given(args, kwargs, tensors[place], tuple(tensors[:place] + tensors[place + 1 :]))

    @staticmethod
    def is_constant(leaf: object) -> bool:
        """Whether it says all there is to know by being equal to another."""
        return isinstance(leaf, _CONSTANT) or callable(leaf) and not hasattr(leaf, "parameters")

    def key(self, *, shapes: bool) -> Hashable:
        """Equal for calls that differ in the numbers alone, or also in the shapes of the tensors."""

        def of_leaf(leaf: object) -> Hashable:
            if isinstance(leaf, Tensor):
                size = tuple(leaf.shape) if shapes else leaf.ndim
                return size, leaf.dtype, leaf.device, leaf is self.stream or leaf.requires_grad
            if isinstance(leaf, slice):
                return (slice, leaf.start, leaf.stop, leaf.step)
            return (type(leaf), leaf) if self.is_constant(leaf) else (type(leaf), id(leaf))

        return structure((self.args, self.kwargs), of_leaf)

    def call(self, function: Callable[..., Any], stream: Tensor, further: list[Tensor]) -> Tensor:
        """What `function` returns for other tensors in the same places: the first of the stream's shape, or of any."""
        rest = iter(further)

        def other(leaf: object) -> object:
            if leaf is self.stream:
                return stream
            return next(rest) if isinstance(leaf, Tensor) else leaf

        args, kwargs = replace_leaves((self.args, self.kwargs), other)
        result = function(*args, **kwargs)
        found = [leaf for leaf in leaves(result) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
        return next((tensor for tensor in found if tensor.shape == stream.shape), found[0])
