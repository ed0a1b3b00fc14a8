"""Show on one example that a rewired model trains as plain autograd would train it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.reversible.observers import noting_saved
from re2tal.reversible.reversible_chain import ReversibleChain
from re2tal.reversible.rewire.patching import blocks_in
from re2tal.reversible.rewire.plan import Example, arguments
from re2tal.reversible.rewire.rewiring import unrewire
from re2tal.reversible.rewire.settings import reconstruction_error, set_coefficients, set_mode
from re2tal.reversible.rng import preserved
from re2tal.reversible.streams import count_held_bytes
from re2tal.reversible.tiles import Mode
from re2tal.reversible.trees import device_of, replace_leaves, tensors_in

__all__ = ["Verification", "count_saved_bytes", "verify"]


@dataclass(frozen=True)
class Verification:
    """What `verify` measured; `str()` of it is a table."""

    output_error: float
    """Of `reversible` against `store`, relative L2, worst output."""
    original_error: float | None
    """With alpha=1, beta=0, of outputs and gradients against the network that was never rewired, the worst; None where
    that is another function: blocks apply activations after their additions, or chains were built and not rewired."""
    gradient_errors: dict[str, float]
    """Of the gradient of every parameter and input, relative L2, by name. Relative to its own norm, or to 1e-4 of the
    norm of all gradients together if that is more: a gradient that vanishes (of a bias before a batch norm, say) is
    rounding noise."""
    reconstruction_error: float
    """Largest relative error of a recovered stream."""
    saved_bytes: int
    """Kept for the backward pass in mode `reversible`, parameters left out."""
    saved_bytes_store: int
    """Kept for the backward pass in mode `store`, parameters left out."""
    tolerance: float
    """Largest gradient error that passes."""

    @property
    def worst(self) -> tuple[str, float]:
        """Name and error of the worst gradient."""
        return max(self.gradient_errors.items(), key=lambda item: (item[1] != item[1], item[1]))

    @property
    def passed(self) -> bool:
        """Whether outputs and gradients agree within the tolerance."""
        return max(self.output_error, self.worst[1], self.original_error or 0.0) <= self.tolerance

    def __str__(self) -> str:
        name, error = self.worst
        rows = [
            ("output error", f"{self.output_error:.1e}"),
            ("against the original", "-" if self.original_error is None else f"{self.original_error:.1e}"),
            ("worst gradient error", f"{error:.1e}  ({name})"),
            ("gradients compared", f"{len(self.gradient_errors)}"),
            ("reconstruction error", f"{self.reconstruction_error:.1e}"),
            ("saved for backward", f"{self.saved_bytes / 2**20:.2f} MiB"),
            ("  with plain autograd", f"{self.saved_bytes_store / 2**20:.2f} MiB"),
            ("verdict", f"{'passed' if self.passed else 'FAILED'} (tolerance {self.tolerance:.0e})"),
        ]
        return "\n".join(f"{label:<22} {value}" for label, value in rows)


def verify(model: nn.Module, example: Example, *, tolerance: float | None = None) -> Verification:
    """Compare one training step of a rewired model in mode `reversible` with the same in mode `store`.

    And, with the coefficients with which it computes the original network, with that network, never rewired. All run on
    deep copies, with the same random numbers, in the model's own training or eval mode. The loss is the
    sum of all outputs, each multiplied by fixed random weights. Model, gradients and random state are untouched.

    Args:
        model: rewired.
        example: the model's input, a tuple of its positional arguments, or a dict of its keyword arguments.
        tolerance: largest relative error of a gradient; by default 1e-10 where everything is float64, else 1e-4.

    Raises:
        ValueError: the model has no reversible chain, or no output that needs a gradient.
    """
    inputs = arguments(example)

    def step(model: nn.Module, mode: Mode | None) -> _Step:
        with preserved(device_of(inputs)):
            return _training_step(model, inputs, mode)

    plain, ours = step(copy.deepcopy(model), "store"), step(copy.deepcopy(model), "reversible")
    if tolerance is None:
        double = all(tensor.dtype == torch.float64 for tensor in plain.gradients.values())
        tolerance = 1e-10 if double else 1e-4
    original_error = None
    if (pair := _as_the_original(model, ours.model)) is not None:
        as_original, original = step(pair[0], "reversible"), step(pair[1], None)
        original_error = max(_output_error(as_original, original), *_gradient_errors(as_original, original).values())
    return Verification(
        output_error=_output_error(ours, plain),
        original_error=original_error,
        gradient_errors=_gradient_errors(ours, plain),
        reconstruction_error=ours.reconstruction_error,
        saved_bytes=ours.saved_bytes,
        saved_bytes_store=plain.saved_bytes,
        tolerance=tolerance,
    )


def _as_the_original(model: nn.Module, used: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """A copy that computes what it did before it was rewired, and one that was not; None if there is none.

    Args:
        model: as it is.
        used: a copy that has been called.
    """
    blocks = blocks_in(used)
    built = any(isinstance(module, ReversibleChain) for module in model.modules())
    if built or not all(block.may_equal_original for block in blocks):
        return None
    rewired = copy.deepcopy(model)
    set_coefficients(rewired, alpha=1, beta=0)
    return rewired, unrewire(copy.deepcopy(model))


def _output_error(ours: _Step, plain: _Step) -> float:
    return max(_relative(a, b) for a, b in zip(ours.outputs, plain.outputs, strict=True))


def _gradient_errors(ours: _Step, plain: _Step) -> dict[str, float]:
    floor = 1e-4 * math.hypot(*(float(grad.norm()) for grad in plain.gradients.values()))
    both = {**ours.gradients, **plain.gradients}  # one that is missing is zero
    found, expected = (
        [step.gradients.get(name, torch.zeros_like(gradient)) for name, gradient in both.items()]
        for step in (ours, plain)
    )
    return {name: _relative(a, b, floor=floor) for name, a, b in zip(both, found, expected, strict=True)}


@dataclass(frozen=True)
class _Step:
    model: nn.Module
    outputs: list[Tensor]
    gradients: dict[str, Tensor]
    reconstruction_error: float
    saved_bytes: int


def _training_step(model: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]], mode: Mode | None) -> _Step:
    if mode is not None:
        set_mode(model, mode)
    entries: dict[str, Tensor] = {}

    def entry(leaf: object) -> object:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            return leaf
        return entries.setdefault(f"input {len(entries)}", leaf.detach().clone().requires_grad_())

    args, kwargs = replace_leaves(inputs, entry)
    with torch.enable_grad(), count_saved_bytes(model) as saved:
        outputs = [tensor for tensor in tensors_in(model(*args, **kwargs)) if tensor.requires_grad]
        if not outputs:
            raise ValueError("no output of the model needs a gradient; unfreeze some of its parameters to verify it")
        generator = torch.Generator().manual_seed(0)
        loss = sum((tensor * torch.randn(tensor.shape, generator=generator).to(tensor)).sum() for tensor in outputs)
    wanted = {**entries, **{name: p for name, p in model.named_parameters() if p.requires_grad}}
    grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)  # type: ignore[arg-type]
    return _Step(
        model,
        outputs=[tensor.detach() for tensor in outputs],
        gradients={name: grad for name, grad in zip(wanted, grads, strict=True) if grad is not None},
        reconstruction_error=reconstruction_error(model, warn_above=math.inf) or 0.0,
        saved_bytes=saved[0],
    )


@contextmanager
def count_saved_bytes(model: nn.Module) -> Iterator[list[int]]:
    """Count in the yielded list's only entry, on leaving, the bytes that are kept inside for a backward pass.

    Of what autograd saves, storages once, parameters not; and of the streams of chains.
    """
    total = [0]
    with count_held_bytes() as held, noting_saved(known=model.parameters(), leaves_too=True) as saved:
        yield total
    total[0] = sum(saved.values()) + held[0]


def _relative(ours: Tensor, reference: Tensor, *, floor: float = 0.0) -> float:
    """L2 norm of the difference, relative to that of the reference or to `floor`; absolute if both vanish."""
    norm = max(float(reference.double().norm()), floor)
    difference = float((ours.double() - reference.double()).norm())
    return difference / norm if norm > 0 else difference
