"""Which module made the first number that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, assert_never

import torch
from torch import Tensor, nn

from re2tal.reversible.debug.hooks import NamedTensors, is_finite, largest, named_tensors, watching
from re2tal.reversible.isolated import untouched

__all__ = ["Origin", "first_non_finite"]

_CLAIMED = "re2tal"


@dataclass(frozen=True)
class Origin:
    """Where the first number that is not finite came from; `str()` of it is a sentence."""

    kind: Literal["parameter", "input", "output", "gradient"]
    place: str
    """Name of the parameter or buffer; of the model's input; of the module, with children if it is a branch of it."""
    detail: str = ""
    """Of "output": what of its result is not finite, or what it calls with numbers that are not. Of "gradient": the
    operation."""
    largest: float = 0.0
    """Magnitude of the largest number that the module was given; of "gradient", of the gradient that it was given."""

    def __str__(self) -> str:
        match self.kind:
            case "parameter":
                return f"{self.place} was not finite before the step"
            case "input":
                return f"the model's {self.place} is not finite"
            case "output":
                what = f", in {self.detail}" if self.detail else ""
                return f"{self.place} is the first to make numbers that are not finite{what}; {self._given('numbers')}"
            case "gradient":
                what = f", in {self.detail}" if self.detail else ""
                return f"{self.place} is the first to make a gradient not finite{what}; {self._given('a gradient')}"
            case _:
                assert_never(self.kind)

    def _given(self, what: str) -> str:
        return f"it was given {what} up to {self.largest:.3g}"


def first_non_finite(model: nn.Module, loss: Callable[[], Tensor]) -> Origin | None:
    """Run a step of `model` and find where its first number that is not finite comes from; nothing of it is changed.

    Masks of -inf that one module hands to another are taken for faults; the model's own input may hold them.

    Args:
        model: with reversible chains or without.
        loss: runs the model, once, and returns a scalar, which is differentiated if it is finite.

    Returns:
        None if all numbers and gradients are finite.
    """
    at_rest = _at_rest(model)
    search = _Search()
    wanted = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    with torch.enable_grad(), untouched(model, attributes_too=False), watching(model, search):
        value = loss()
        if search.found is None and at_rest is None and is_finite([value]):
            grads = torch.autograd.grad(value, [p for _, p in wanted], allow_unused=True)
            found = {name: grad for (name, _), grad in zip(wanted, grads, strict=True) if grad is not None}
            bad = next((name for name, grad in found.items() if not is_finite([grad])), None)
            # What overflowed in no module's operation did so where parts of a gradient were added up.
            return search.found if bad is None or search.found else Origin("gradient", bad, "its sum", math.inf)
    if at_rest is None and search.found is None and not is_finite([value]):
        return Origin("output", type(model).__name__, "the loss", 0.0)
    return at_rest or search.found


def _at_rest(model: nn.Module) -> Origin | None:
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not is_finite([parameter]):
            return Origin("parameter", name)
    for name, buffer in model.named_buffers():
        # Masks are kept as -inf.
        if buffer.is_floating_point() and not is_finite([buffer.clamp(min=0)]):
            return Origin("parameter", name)
    return None


_Begun = tuple[str, float, list[Any]]
"""A place that has begun, the magnitude of what it was given, and the nodes of the graph that came from."""


class _Search:
    """Notes the first event; whatever comes later is a consequence."""

    def __init__(self) -> None:
        self.found: Origin | None = None
        self._minus_infinity = ""
        """What of the model's input holds it: a mask, or a fault if numbers that are not finite are made of it."""

    def enter(self, place: str, given: NamedTensors, around: _Begun | None) -> _Begun:
        tensors = [tensor for _, tensor in given]
        magnitude = 0.0
        if self.found is None and not math.isfinite(magnitude := largest(tensors)):
            self.found = self._handed_on(place, given, around)
        # Modules may change their input in place, and with it where it came from.
        return place, magnitude, [tensor.grad_fn for tensor in tensors]

    def _handed_on(self, place: str, given: NamedTensors, around: _Begun | None) -> Origin | None:
        if around is not None:
            caller, magnitude, _ = around
            return self._made(caller, f"what it hands to {place}", magnitude)
        bad = [name for name, tensor in given if not is_finite([tensor])]
        self._minus_infinity = bad[0]
        worse = (name for name, tensor in given if name in bad and not is_finite([tensor.clamp(min=0)]))
        return next((Origin("input", name) for name in worse), None)

    def _made(self, place: str, detail: str, magnitude: float) -> Origin:
        if math.isinf(magnitude):
            return Origin("input", self._minus_infinity)
        return Origin("output", place, detail, magnitude)

    def leave(self, place: str, result: NamedTensors, entered: _Begun | None) -> None:
        if self.found is None:
            _, magnitude, before = entered or (place, 0.0, [])
            bad = (name for name, tensor in result if not is_finite([tensor]))
            self.found = next((self._made(place, name, magnitude) for name in bad), None)
            self._claim(place, [tensor.grad_fn for _, tensor in result], before)

    def _claim(self, place: str, ends: list[Any], starts: list[Any]) -> None:
        """Watch the operations between, as far as no module inside has claimed them."""
        waiting = [node for node in ends if node is not None]
        while waiting:
            node = waiting.pop()
            # Marked and not remembered: that would keep every tile of a chain in memory.
            if node in starts or _CLAIMED in node.metadata or node.name().endswith("AccumulateGrad"):
                continue
            node.metadata[_CLAIMED] = True
            node.register_hook(partial(self._differentiated, place, node.name()))
            waiting += [before for before, _ in node.next_functions if before is not None]

    def _differentiated(self, place: str, operation: str, results: Any, given: Any) -> None:
        if self.found is None and not is_finite([tensor for _, tensor in named_tensors(results)]):
            magnitude = largest([tensor for _, tensor in named_tensors(given)])
            if math.isfinite(magnitude):
                self.found = Origin("gradient", place, operation, magnitude)
