"""What a block is given: the stream, further tensors, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from re2tal.reversible.isolated import saving_unseen
from re2tal.reversible.trees import PLAIN, replace_leaves, structure, tensors_in

__all__ = ["CallArguments"]


@dataclass(frozen=True)
class CallArguments:
    """The arguments of one call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    stream: Tensor
    """The first tensor of floating-point numbers."""
    further: tuple[Tensor, ...]
    """All other tensors, in order."""

    @staticmethod
    def of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallArguments | None:
        """None if there is no stream."""
        tensors = tensors_in((args, kwargs))
        place = next((place for place, tensor in enumerate(tensors) if tensor.is_floating_point()), None)
        if place is None:
            return None
        return CallArguments(args, kwargs, tensors[place], tuple(tensors[:place] + tensors[place + 1 :]))

    @staticmethod
    def is_constant(leaf: object) -> bool:
        """Whether it says all there is to know by being equal to another."""
        return isinstance(leaf, (*PLAIN, type, slice)) or callable(leaf) and not hasattr(leaf, "parameters")

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

    def with_tensors(self, stream: Tensor, further: Sequence[Tensor]) -> CallArguments:
        """Other tensors in the same places."""
        before = next(
            place for place, tensor in enumerate(tensors_in((self.args, self.kwargs))) if tensor is self.stream
        )
        rest = iter([*further[:before], stream, *further[before:]])

        def other(leaf: object) -> object:
            return next(rest) if isinstance(leaf, Tensor) else leaf

        args, kwargs = replace_leaves((self.args, self.kwargs), other)
        return CallArguments(args, kwargs, stream, tuple(further))

    def finite(self) -> CallArguments:
        """Noise in the place of a stream that is not finite: how it is computed can be seen with that."""
        x = self.stream
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x)
        with saving_unseen():  # chosen on the device, which is not waited for
            chosen = torch.where(x.detach().isfinite().all(), x, noise)
        return self.with_tensors(chosen, self.further)

    def call_all(self, function: Callable[..., Any], stream: Tensor, further: Sequence[Tensor]) -> Any:
        """What `function` returns for other tensors in the same places."""
        other = self.with_tensors(stream, further)
        return function(*other.args, **other.kwargs)

    def call(self, function: Callable[..., Any], stream: Tensor, further: Sequence[Tensor]) -> Tensor:
        """What `function` returns for other tensors in the same places: the first of the stream's shape, or of any."""
        result = self.call_all(function, stream, further)
        found = [tensor for tensor in tensors_in(result) if tensor.is_floating_point()]
        return next((tensor for tensor in found if tensor.shape == stream.shape), found[0])
