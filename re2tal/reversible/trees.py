"""Nested tuples, lists and dicts, as functions take and return them.

torch.utils._pytree takes two to three times as long (16 us in place of 8 for the leaves of a call's arguments, 55 in
place of 18 to replace them), and to it a subclass of dict that nobody has registered is a leaf.
"""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["PLAIN", "Ref", "device_of", "leaves", "replace_leaves", "structure", "tensors_in"]


PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, enum.Enum)
"""Types of values that say all there is to know by being equal to another, and hold no tensor."""


@dataclass(frozen=True)
class Ref:
    """Stands in a tree where a tensor was."""

    value: int


def leaves(tree: object) -> Iterator[object]:
    """What is no container, in order."""
    if isinstance(tree, tuple | list):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)
    else:
        yield tree


def tensors_in(tree: object) -> list[Tensor]:
    """The leaves that are tensors, in order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]


def device_of(tree: object) -> torch.device:
    """That of its first tensor, or the CPU."""
    return next((tensor.device for tensor in tensors_in(tree)), torch.device("cpu"))


def replace_leaves(tree: Any, function: Callable[[Any], object]) -> Any:
    """The same containers with `function(leaf)` for every leaf."""
    if isinstance(tree, tuple | list):
        items = [replace_leaves(item, function) for item in tree]
        if all(new is old for new, old in zip(items, tree, strict=True)):
            return tree
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if isinstance(tree, dict):
        result = copy.copy(tree)
        for name, item in tree.items():
            result[name] = replace_leaves(item, function)
        return result
    return function(tree)


def structure(tree: object, of_leaf: Callable[[object], Hashable]) -> Hashable:
    """Equal for trees of equal containers and equal `of_leaf(leaf)`."""
    if isinstance(tree, tuple | list):
        return (type(tree), *(structure(item, of_leaf) for item in tree))
    if isinstance(tree, dict):
        return (type(tree), *((name, structure(item, of_leaf)) for name, item in tree.items()))
    return of_leaf(tree)
