"""Look at what modules and branches are given and give, while a model runs forward and backward.

Branches are looked at beside modules, since many call functions on their block's parameters and no module at all, and
all of them run inside an autograd function, where the backward pass computes them again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.guards import Onlooker
from re2tal.reversible.observers import Observer, observed_by

__all__ = ["Watcher", "is_finite", "largest", "named_tensors", "watching"]

NamedTensors = list[tuple[str, Tensor]]


class Watcher(Protocol):
    """What `watching` tells; a place is the name of a module, with the names of its children if it is a branch."""

    def enter(self, place: str, given: NamedTensors, around: Any) -> Any:
        """A module or branch begins; `around` is what this returned for the one that calls it, None if none does."""

    def leave(self, place: str, result: NamedTensors, entered: Any) -> None:
        """It has ended; `entered` is what `enter` returned for it."""


@contextmanager
def watching(model: nn.Module, watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` of every module of `model` and every branch that runs inside."""
    names = {id(module): name or type(module).__name__ for name, module in model.named_modules()}
    hooks = _Hooks(names, watcher)
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(hooks.before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(hooks.after, with_kwargs=True).remove)
        stack.enter_context(observed_by(hooks))
        yield


class _Hooks(Observer, Onlooker):
    def __init__(self, names: dict[int, str], watcher: Watcher) -> None:
        self.names, self.watcher = names, watcher
        self._running: list[tuple[str, Any]] = []

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._enter(self.names[id(module)], _given(args, kwargs))

    def after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: object) -> None:
        self._leave(self.names[id(module)], list(named_tensors(result)))

    def begins(self, branch: Branch, x: Tensor) -> None:
        self._enter(self._place(branch), [("input", x)])

    def ended(self, branch: Branch, f: Tensor) -> None:
        self._leave(self._place(branch), [("", f)])

    def _enter(self, place: str, given: NamedTensors) -> None:
        around = self._running[-1][1] if self._running else None
        self._running.append((place, self.watcher.enter(place, given, around)))

    def _leave(self, place: str, result: NamedTensors) -> None:
        entered = None
        while self._running:  # a checkpoint may have stopped modules on their way
            begun, entered = self._running.pop()
            if begun == place:
                break
        self.watcher.leave(place, result, entered)

    def _place(self, branch: Branch) -> str:
        name = self.names.get(id(branch.owner), type(branch.owner).__name__)
        return f"{name} ({', '.join(branch.uses)})" if branch.uses else name


def _given(args: Sequence[Any], kwargs: dict[str, Any]) -> NamedTensors:
    first = list(named_tensors(args[0], "input")) if len(args) == 1 else list(named_tensors(tuple(args), "input"))
    return first + list(named_tensors(kwargs))


def named_tensors(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of floating-point numbers in nested containers and dataclasses, with the way to it."""

    def below(key: object) -> str:
        return f"{name}.{key}" if name else str(key)

    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from named_tensors(item, below(key))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from named_tensors(item, below(place))
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from named_tensors(getattr(value, field.name), below(field.name))


@torch.no_grad()
def largest(tensors: Sequence[Tensor]) -> float:
    """Magnitude of the largest number in all of them, which is nan if one is; 0 if there is none."""
    values = [float(torch.stack(torch.aminmax(t.detach())).abs().amax()) for t in tensors if t.numel()]
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)


def is_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether every number in all of them is."""
    return math.isfinite(largest(tensors))
