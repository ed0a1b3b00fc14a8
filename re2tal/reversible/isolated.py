"""Run modules so that nothing of it lasts, and nobody is told."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from re2tal.reversible.rng import preserved

__all__ = [
    "BOOKKEEPING",
    "HOOKS",
    "Place",
    "holding",
    "isolated",
    "saving_unseen",
    "unhooked",
    "untouched",
    "with_parameters",
]

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Attributes in which a module holds the hooks that are called with it."""
BOOKKEEPING = frozenset(vars(nn.Module())) - {"training"}
"""Attributes of every module that hold what torch knows of it."""


@contextmanager
def isolated(root: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, what happens to the modules of `root` and to random numbers does not last, and no hook is called."""
    with preserved(device), untouched(root), unhooked(root), saving_unseen():
        yield


@contextmanager
def untouched(root: nn.Module, *, attributes_too: bool = True) -> Iterator[None]:
    """Inside, buffers are copies; afterwards they, attributes, and the containers among these are what they were."""
    modules = list(root.modules())
    watched = modules if attributes_too else []
    buffers = [(module, dict(module._buffers)) for module in modules if module._buffers]
    attributes = [(module, {k: v for k, v in vars(module).items() if k not in BOOKKEEPING}) for module in watched]
    containers = [(v, copy.copy(v)) for _, own in attributes for v in own.values() if isinstance(v, list | dict | set)]
    try:
        for module, present in buffers:
            module._buffers.update({name: b.clone() for name, b in present.items() if b is not None})
        yield
    finally:
        for module, own in attributes:
            for name in [name for name in vars(module) if name not in BOOKKEEPING and name not in own]:
                del module.__dict__[name]
            module.__dict__.update(own)
        for container, before in containers:
            if isinstance(container, list):
                container[:] = before
            else:
                container.clear()
                container.update(before)
        for module, present in buffers:
            module._buffers.clear()
            module._buffers.update(present)


@contextmanager
def unhooked(root: nn.Module) -> Iterator[None]:
    """Inside, no module of `root` calls hooks: what is tried there is nobody's business."""
    kept = [(module, {name: module.__dict__[name] for name in HOOKS}) for module in root.modules()]
    try:
        for module, _ in kept:
            module.__dict__.update((name, OrderedDict()) for name in HOOKS)
        yield
    finally:
        for module, hooks in kept:
            module.__dict__.update(hooks)


@contextmanager
def saving_unseen() -> Iterator[None]:
    """Inside, hooks on saved tensors see nothing of what a graph saves that nobody will use."""
    # Detached: a result that is saved by its own node would hold itself.
    with torch.autograd.graph.saved_tensors_hooks(Tensor.detach, lambda tensor: tensor):
        yield


Place = tuple[nn.Module, str, str]
"""Where a module holds a tensor: (module, "_parameters" or "_buffers", name)."""


@contextmanager
def holding(places: Sequence[Place], tensors: Iterable[Tensor]) -> Iterator[None]:
    """Inside, modules hold `tensors` in these places, whatever these are."""
    before = [module.__dict__[kind].get(name) for module, kind, name in places]
    try:
        for (module, kind, name), tensor in zip(places, tensors, strict=True):
            module.__dict__[kind][name] = tensor
        yield
    finally:
        for (module, kind, name), present in zip(places, before, strict=True):
            module.__dict__[kind][name] = present


@contextmanager
def with_parameters(root: nn.Module, make: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """Inside, `make(p)` stands in the place, or places, of every parameter `p`; yields all of these tensors."""
    held = [(m, name, p) for m in root.modules() for name, p in m._parameters.items() if p is not None]
    made = {id(p): make(p) for p in {id(p): p for *_, p in held}.values()}
    with holding([(m, "_parameters", name) for m, name, _ in held], [made[id(p)] for *_, p in held]):
        yield list(made.values())
