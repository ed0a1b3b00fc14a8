"""How to spend memory on time: what of a network to store, so that a step is the fastest that fits.

    spend_memory(model, lambda: loss_of(model(clip)), budget=2 * 2**30)

One reversible step is measured, branch by branch: what it takes to compute it again, and what its activations would
take if they were kept. Which branches store what is then a knapsack, which is filled exactly; and whether that is
faster, which mapping so much memory may prevent, is seen by the clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.chain import Chain
from re2tal.reversible.fixed_point import FixedPoint
from re2tal.reversible.isolated import untouched
from re2tal.reversible.observers import noting_saved, observed_by
from re2tal.reversible.rewire.settings import chains, headrooms, parts_of, set_headrooms, set_storage, storage
from re2tal.reversible.rng import preserved

__all__ = [
    "BranchCost",
    "PartCost",
    "Spending",
    "fastest_storage",
    "leaving_no_trace",
    "measure_costs",
    "spend_memory",
    "stored_bytes",
]

_LEVELS = 1000
"""Steps that a budget is divided into; what is stored is rounded up to these."""
_LEAST_GAIN = 0.02
"""Share of a step's time that has to be saved for it to be worth memory."""


@dataclass
class BranchCost:
    """What a branch takes, over all of its tiles."""

    recomputation_s: float = 0.0
    """Seconds of computing it again, with its graph."""
    recovery_s: float = 0.0
    """Of taking its result from the stream."""
    activation_bytes: int = 0
    """That its gradients need, its input included."""
    input_bytes: int = 0
    """Of its input as a stream."""


@dataclass(frozen=True)
class PartCost:
    """What the branches of a chain take, in order, or a stem as one branch."""

    branches: Sequence[BranchCost]
    is_chain: bool = True

    def options(self) -> Iterator[tuple[tuple[int, int], float, int]]:
        """What may be stored, the seconds it saves and the bytes it takes."""
        count = len(self.branches)
        for activations in range(count + 1):
            for inputs in {0, count - activations} if self.is_chain else {0}:
                stored = activations + inputs
                saved = sum(branch.recomputation_s for branch in self.branches[:activations])
                if self.is_chain and stored:
                    saved += sum(branch.recovery_s for branch in self.branches[: stored + 1])
                yield (activations, inputs), saved, self.bytes_of(activations, inputs)

    def bytes_of(self, activations: int, inputs: int) -> int:
        """That it takes to store so much."""
        kept = sum(branch.activation_bytes for branch in self.branches[:activations])
        return kept + sum(branch.input_bytes for branch in self.branches[activations : activations + inputs])


@dataclass(frozen=True)
class Spending:
    """What a network stores from now on, and what was found on the way."""

    storage: dict[str, tuple[int, int]]
    """As `storage` gives it."""
    stored_bytes: int
    """That it takes."""
    most_bytes: int
    """That it would take to store everything."""
    seconds: tuple[float, float]
    """Of a step that stores nothing, and of one that stores this."""


def spend_memory(model: nn.Module, loss: Callable[[], Tensor], *, budget: int, scale: float = 1.0) -> Spending:
    """Have a network store what makes its steps the fastest that fit; gradients stay the same, bit for bit.

    A handful of steps are run, after which nothing but what is stored has changed.

    Args:
        model: rewired, in training mode.
        loss: of some clip, a scalar with a graph; numbers do not matter.
        budget: bytes beyond those of a step that stores nothing.
        scale: of the clips that will be trained on, by that one.
    """
    costs = measure_costs(model, loss)
    chosen: dict[str, tuple[int, int]] = {}
    with leaving_no_trace(model):
        nothing_s = seconds = _seconds(model, loss, chosen)
        for share in (1.0, 0.5):
            tried = fastest_storage(costs, budget=int(share * budget), scale=scale)
            if (tried_s := _seconds(model, loss, tried)) <= (1 - _LEAST_GAIN) * nothing_s:
                chosen, seconds = tried, tried_s
                break
    set_storage(model, chosen)
    everything = {name: (len(cost.branches), 0) for name, cost in costs.items()}
    return Spending(
        chosen,
        stored_bytes(costs, chosen, scale=scale),
        stored_bytes(costs, everything, scale=scale),
        (nothing_s, seconds),
    )


def _seconds(model: nn.Module, loss: Callable[[], Tensor], choice: Mapping[str, tuple[int, int]]) -> float:
    """Of a step, the shorter one of two."""
    set_storage(model, choice)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        _step(model, loss)
        times.append(time.perf_counter() - start)
    return min(times)


def _step(model: nn.Module, loss: Callable[[], Tensor]) -> None:
    """Forward and backward, on to the end, leaving no gradients."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(loss(), learning, allow_unused=True)
    if (device := _device_of(model)).type != "cpu":
        torch.get_device_module(device).synchronize(device)
    del found


def measure_costs(model: nn.Module, loss: Callable[[], Tensor]) -> dict[str, PartCost]:
    """Run a step twice and measure the second one; nothing of the model is changed.

    Args:
        model: rewired, in training mode.
        loss: of some clip, a scalar with a graph.

    Returns:
        By the names that `storage` uses.
    """
    with leaving_no_trace(model), closing(_Meter(model)) as meter:
        set_storage(model, {})
        _step(model, loss)  # to warm up
        with observed_by(meter):
            _step(model, loss)
    in_order = list(reversed(meter.costs.values()))  # as they run forward
    found = {}
    for part in parts_of(model):
        inside = {module for block in part.blocks.values() for module in block.modules()}
        costs = [cost for branch, cost in in_order if branch.owner in inside]
        found[part.name] = PartCost(costs, isinstance(part.holder, Chain))
    return found


@contextmanager
def leaving_no_trace(model: nn.Module) -> Iterator[None]:
    """Inside, steps may be tried: random state, buffers and the state of chains are put back."""
    found = list(chains(model))
    kept = headrooms(model), storage(model), [chain.reconstruction_error for chain in found]
    with preserved(_device_of(model)), untouched(model), torch.enable_grad():
        try:
            yield
        finally:
            set_headrooms(model, kept[0])
            set_storage(model, kept[1])
            for chain, error in zip(found, kept[2], strict=True):
                chain.reconstruction_error = error


def fastest_storage(costs: Mapping[str, PartCost], *, budget: int, scale: float = 1.0) -> dict[str, tuple[int, int]]:
    """What each part stores so that the most time is saved in a number of bytes.

    Args:
        costs: of the parts.
        budget: bytes beyond those of a step that stores nothing.
        scale: of the clips that will be trained on, by those that were measured.
    """
    everything = {name: (len(cost.branches), 0) for name, cost in costs.items()}
    if stored_bytes(costs, everything, scale=scale) <= budget:
        return everything

    def levels(size: int) -> int:
        return math.ceil(size * scale * _LEVELS / budget) if budget > 0 else int(size > 0) * (_LEVELS + 1)

    best = torch.zeros(_LEVELS + 1, dtype=torch.float64)  # seconds that the parts so far save within each level
    picks = []
    for cost in costs.values():
        options = [(choice, saved, levels(size)) for choice, saved, size in cost.options() if levels(size) <= _LEVELS]
        values = torch.full((len(options), _LEVELS + 1), -torch.inf, dtype=torch.float64)
        for row, (_, saved, used) in enumerate(options):
            values[row, used:] = best[: _LEVELS + 1 - used] + saved
        best, picked = values.max(dim=0)
        picks.append((options, picked))
    chosen: dict[str, tuple[int, int]] = {}
    left = _LEVELS
    for name, (options, picked) in reversed(list(zip(costs, picks, strict=True))):
        chosen[name], _, used = options[int(picked[left])]
        left -= used
    return {name: chosen[name] for name in costs}


def stored_bytes(costs: Mapping[str, PartCost], chosen: Mapping[str, tuple[int, int]], *, scale: float = 1.0) -> int:
    """What it takes to store this."""
    return round(scale * sum(costs[name].bytes_of(*choice) for name, choice in chosen.items()))


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


class _Meter:
    """Is told of every branch, and measures those of a backward pass, where they are computed again.

    Args:
        model: whose parameters are no activations.
    """

    def __init__(self, model: nn.Module) -> None:
        self.costs: dict[int, tuple[Branch, BranchCost]] = {}
        """In the order of the backward pass."""
        self._model, self._device = model, _device_of(model)
        self._saved: dict[int, int] = {}
        self._start = 0.0
        self._saving = ExitStack()

    def begins(self, branch: Branch, x: Tensor) -> None:
        """See `Observer`."""
        if torch._C._current_graph_task_id() == -1:
            return
        _, cost = self.costs.setdefault(id(branch), (branch, BranchCost()))
        cost.input_bytes += x.numel() * (8 if x.dtype == torch.float64 else 4)
        self._saved = self._saving.enter_context(noting_saved(known=self._model.parameters()))
        self._saved[x.untyped_storage()._cdata] = x.untyped_storage().nbytes()
        self._start = self._now()

    def ended(self, branch: Branch, f: Tensor) -> None:
        """See `Observer`."""
        if torch._C._current_graph_task_id() == -1:
            return
        cost = self.costs[id(branch)][1]
        middle = self._now()
        cost.recomputation_s += middle - self._start
        self._saving.close()
        cost.activation_bytes += sum(self._saved.values())
        if branch.keeps_shape:
            with torch.no_grad():
                format = FixedPoint.around(f, headroom=8)
                total = torch.zeros_like(format.integers(f))
                middle = self._now()
                total.add_(format.integers(format.steps(f)), alpha=-1)
                cost.recovery_s += self._now() - middle

    def close(self) -> None:
        """Also after an error on the way."""
        self._saving.close()

    def _now(self) -> float:
        if self._device.type != "cpu":
            torch.get_device_module(self._device).synchronize(self._device)
        return time.perf_counter()
