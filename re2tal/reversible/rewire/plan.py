"""Rewire a network whose residual blocks are found by running it on an example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.reversible.guards import is_hooked, saving_unseen, unhooked
from re2tal.reversible.patched import own_forward
from re2tal.reversible.rng import preserved
from re2tal.reversible.tracing import BlockSplit, CallArguments, Refused, chains_of, check, find_blocks, record
from re2tal.reversible.tracing.recording import PURE, untouched
from re2tal.reversible.tracing.search import Candidate
from re2tal.reversible.tracing.trees import tensors_in

__all__ = ["BlockReport", "Example", "RewiringPlan", "Rewiring", "arguments", "plan"]

Example = Tensor | tuple[Any, ...] | dict[str, Any]
"""A network's input, its positional arguments, or its keyword arguments."""


@dataclass(frozen=True)
class BlockReport:
    """What becomes of one block."""

    name: str
    """In the network."""
    kind: str
    """Its class."""
    branches: int
    """Into which it falls; 0 if it stays as it is."""
    reason: str | None
    """Why it stays as it is."""
    stored: tuple[str, ...] = ()
    """Why it was trained by plain autograd, if it was since it was rewired."""


@dataclass(frozen=True)
class Rewiring:
    """What becomes of the blocks of a network; `str()` of it is a list, with a reason for every block that stays."""

    blocks: tuple[BlockReport, ...]
    chains: tuple[int, ...]
    """Blocks in each chain."""

    @property
    def rewired(self) -> int:
        """Blocks in chains."""
        return sum(block.reason is None for block in self.blocks)

    def __str__(self) -> str:
        lengths = ", ".join(map(str, self.chains)) or "none"
        lines = [f"{self.rewired} of {len(self.blocks)} blocks rewired; blocks in each chain: {lengths}"]
        for (kind, branches, reason), group in groupby(self.blocks, key=lambda b: (b.kind, b.branches, b.reason)):
            names = [block.name for block in group]
            where = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)})"
            what = f"{branches} branches" if branches > 1 else "1 branch"
            lines.append(f"  {kind} {where}: {what if reason is None else f'stays: {reason}'}")
        lines += [f"  {b.kind} {b.name}: stored: {reason}" for b in self.blocks for reason in b.stored]
        return "\n".join(lines)


@dataclass(frozen=True)
class RewiringPlan:
    """What rewiring a network would do."""

    chains: list[list[nn.Module]]
    splits: dict[nn.Module, tuple[CallArguments, BlockSplit]]
    refused: dict[nn.Module, str]

    def report(
        self, model: nn.Module, *, elsewhere: Sequence[tuple[nn.Module, int]], lengths: Sequence[int]
    ) -> Rewiring:
        """For people.

        Args:
            model: as it was.
            elsewhere: blocks that are rewired by other means, and their branches.
            lengths: of the chains made by other means.
        """
        branches = dict(elsewhere) | {block: len(self.splits[block][1].branches) for block in self._members()}
        blocks = tuple(
            BlockReport(name, type(module).__name__, branches.get(module, 0), self.refused.get(module))
            for name, module in model.named_modules()
            if module in branches or module in self.refused
        )
        return Rewiring(blocks, (*lengths, *map(len, self.chains)))

    def _members(self) -> Iterator[nn.Module]:
        for chain in self.chains:
            yield from chain

    def without(self, modules: set[nn.Module]) -> RewiringPlan:
        """For blocks that are rewired by other means."""
        chains = [[block for block in chain if block not in modules] for chain in self.chains]
        refused = {module: reason for module, reason in self.refused.items() if module not in modules}
        return RewiringPlan([chain for chain in chains if chain], self.splits, refused)


def arguments(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments."""
    if isinstance(example, dict):
        return (), example
    return (example if isinstance(example, tuple) else (example,)), {}


def plan(model: nn.Module, example: Example) -> RewiringPlan:
    """Find the blocks of `model`, take them apart, and check that the parts rebuild them. Nothing is changed.

    Raises:
        ValueError: the model cannot be called with the example.
    """
    args, kwargs = arguments(example)
    before = _sums(model)
    device = next((tensor.device for tensor in tensors_in((args, kwargs))), torch.device("cpu"))
    try:
        kept = [m for m in model.modules() if is_hooked(m) or not type(m).__module__.startswith(PURE)]
        with torch.enable_grad(), unhooked(model):
            recording = record(model, lambda: model(*args, **kwargs), device=device, kept=kept)
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{type(model).__name__} cannot be called with this example ({type(error).__name__}: {error}); example "
            "must be its input, a tuple of its positional arguments, or a dict of its keyword arguments"
        ) from error
    moved = next((name for name, value in _sums(model).items() if value != before.get(name)), None)
    if moved is not None:
        raise ValueError(
            f"{moved} of {type(model).__name__} changes whenever the model is run, and running the example has "
            "changed it; rewire the model before what does that is put on it"
        )
    found = find_blocks(recording)
    splits, failed = _checked(model, found.blocks, args, kwargs, device=device)
    blocks = [block for block in found.blocks if block.call.module in splits]
    return RewiringPlan(chains_of(blocks, recording), splits, {**found.refused, **failed})


def _sums(model: nn.Module) -> dict[str, str]:
    """Of all parameters, to see whether they change: not all ways of writing to one count up its version."""
    sums = {name: p.detach().sum(dtype=torch.float64) for name, p in model.named_parameters() if not p.is_meta}
    return {name: repr(float(total)) for name, total in sums.items()}


def _checked(
    model: nn.Module, blocks: Sequence[Candidate], args: Any, kwargs: Any, *, device: torch.device
) -> tuple[dict[nn.Module, tuple[CallArguments, BlockSplit]], dict[nn.Module, str]]:
    """The blocks whose branches rebuild them, and why the others do not; each is checked where the model calls it."""
    first: dict[nn.Module, BlockSplit] = {}
    for block in blocks:
        first.setdefault(block.call.module, block.split)
    passed: dict[nn.Module, tuple[CallArguments, BlockSplit]] = {}
    failed: dict[nn.Module, str] = {}

    def examine(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if module in passed or module in failed:
            return
        given = CallArguments.of(args, kwargs)
        assert given is not None
        try:
            checked = check(module, first[module], given, forward=own_forward(module), gradients=True)
            passed[module] = given, checked
        except Refused as reason:
            failed[module] = str(reason)
        except Exception as error:
            if not any(is_hooked(inner) for inner in module.modules() if inner is not module):
                raise
            failed[module] = f"it cannot be run without the hooks of its modules ({type(error).__name__}: {error})"

    with ExitStack() as stack:
        stack.enter_context(preserved(device))
        stack.enter_context(untouched(model))
        stack.enter_context(unhooked(model))
        stack.enter_context(saving_unseen())
        for module in first:
            hook = module.register_forward_pre_hook(examine, with_kwargs=True)
            stack.callback(hook.remove)
        with torch.enable_grad():  # as in training: arguments that come from parameters need gradients
            model(*args, **kwargs)
    return passed, failed
