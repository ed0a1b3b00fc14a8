"""Nested tuples, lists and dicts, as functions take and return them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Ref", "leaves", "replace_leaves", "structure"]


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
