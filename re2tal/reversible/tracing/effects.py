"""What a module does beside computing its result: whether running it again without a trace would be the same.

Found by running it once, in the conditions of a recomputation: on other tensors in the places of its parameters.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from re2tal.reversible.guards import Guard
from re2tal.reversible.isolated import isolated, with_parameters
from re2tal.reversible.trees import PLAIN, leaves, tensors_in

__all__ = ["Effects", "effects_of"]


@dataclass(frozen=True)
class Effects:
    """Of one call."""

    stored: str | None = None
    """Why it must not be run again; None: it may."""
    by: str | None = None
    """Name of the module that does what speaks against it, if that is known; "" is the root itself."""
    ignored: frozenset[tuple[str, str]] = frozenset()
    """(path, attribute) of plain values that it changes in every call: counters and the like."""


def effects_of(
    root: nn.Module, function: Callable[[Tensor, list[Tensor]], Any], x: Tensor, args: Sequence[Tensor]
) -> Effects:
    """Run `function`, which calls modules of `root`, and see what else happens. Nothing lasts.

    Args:
        root: the module.
        function: maps the stream and further tensors to what the module returns.
        x: the stream.
        args: further tensors.
    """
    seen = _Results()
    with isolated(root, x.device), torch.enable_grad(), with_parameters(root, _leaf) as own:
        guard = Guard(root)
        start = x.detach().clone().requires_grad_()
        further = [arg.detach().clone().requires_grad_(arg.requires_grad) for arg in args]
        with seen:
            result = function(start * 1, further)
        outputs = tensors_in(result)
        known = {id(tensor) for tensor in (*own, start, *further)}
        reason = _foreign(outputs, known)
        if reason is not None:
            return Effects(reason)
        ignored: set[tuple[str, str]] = set()
        for name, attribute, _, now in guard.changed_attributes():
            # Without a graph, it is enough to set it again after a recomputation.
            if not now.requires_grad if isinstance(now, Tensor) else isinstance(now, PLAIN):
                ignored.add((name, attribute))
                continue
            where = f"{name or 'it'}.{attribute}"
            return Effects(f"its forward pass writes a tensor, or to a list or object, in {where}", by=name)
        for name, module in root.named_modules():
            if any(b is not None and b.grad_fn is not None for b in module._buffers.values()):
                return Effects(f"its forward pass puts a graph into a buffer of {name or 'it'}", by=name)
    del result, outputs, start, further
    if seen.left():
        return Effects("its forward pass hands a tensor to code outside of it", by="")
    return Effects(ignored=frozenset(ignored))


def _leaf(parameter: Tensor) -> Tensor:
    return parameter.detach().requires_grad_(parameter.requires_grad)


def _foreign(outputs: Collection[Tensor], known: Collection[int]) -> str | None:
    """Why the graph of `outputs` leads to what is not known; None if it does not."""
    waiting = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node.name().startswith("CheckpointFunction"):
            return "it is checkpointed re-entrantly inside"
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in known:
            return f"it computes with a tensor {tuple(variable.shape)} that needs a gradient and is no parameter of it"
        for before, _ in node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                waiting.append(before)
    return None


class _Results(TorchFunctionMode):
    """Remembers what was computed, without keeping it."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[weakref.ref[Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in leaves(result):
            if isinstance(leaf, Tensor) and leaf.grad_fn is not None:
                self._made.append(weakref.ref(leaf))
        return result

    def left(self) -> bool:
        """Whether somebody still holds one."""
        if any(reference() is not None for reference in self._made):
            gc.collect()
        return any(reference() is not None for reference in self._made)
