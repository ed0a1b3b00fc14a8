"""What rewiring a network would do: to blocks of known classes, and to those found by running it on an example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.reversible.blocks import Split, is_called_in_turn, split_between, split_block
from re2tal.reversible.guards import is_hooked
from re2tal.reversible.isolated import isolated
from re2tal.reversible.tracing import BlockSplit, CallArguments, chains_of, examined, find_blocks, record
from re2tal.reversible.tracing.search import Candidate
from re2tal.reversible.trees import device_of

__all__ = ["BlockReport", "Example", "Rewiring", "RewiringPlan", "arguments", "plan_known", "plan_traced"]

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

    chains: list[list[nn.Module]] = field(default_factory=list)
    branches: dict[nn.Module, int] = field(default_factory=dict)
    """Of every block in the chains."""
    refused: dict[nn.Module, str] = field(default_factory=dict)
    """Blocks that stay as they are, and why."""
    between: set[nn.Module] = field(default_factory=set)
    """Stems, and what stands between chains: they are computed again from their input."""
    known: set[nn.Module] = field(default_factory=set)
    """Modules inside of which nothing needs to be traced."""
    splits: dict[nn.Module, tuple[CallArguments, BlockSplit]] = field(default_factory=dict)
    """Of blocks that were traced, with the arguments they were given."""

    def report(self, model: nn.Module) -> Rewiring:
        """For people; `model` as it was."""
        blocks = tuple(
            BlockReport(name, type(module).__name__, self.branches.get(module, 0), self.refused.get(module))
            for name, module in model.named_modules()
            if module in self.branches or module in self.refused
        )
        return Rewiring(blocks, tuple(map(len, self.chains)))

    def joined(self, traced: RewiringPlan) -> RewiringPlan:
        """With what was found by tracing elsewhere."""
        chains = [[block for block in chain if block not in self.known] for chain in traced.chains]
        branches = {block: count for block, count in traced.branches.items() if block not in self.known}
        refused = {block: reason for block, reason in traced.refused.items() if block not in self.known}
        return RewiringPlan(
            chains=[*self.chains, *filter(None, chains)],
            branches={**self.branches, **branches},
            refused={**self.refused, **refused},
            between=self.between,
            known=self.known,
            splits=traced.splits,
        )


def plan_known(model: nn.Module, *, with_example: bool) -> RewiringPlan:
    """For blocks of known classes in an `nn.Sequential`, or in a list whose order is known.

    With an example, lists of which a block was changed are left to it.
    """
    found = RewiringPlan()
    for splits in _sequences(model, with_example=with_example):
        found.known.update(module for block in splits for module in block.modules())
        in_chains = {block: len(split.branches) for block, split in splits.items() if split and split.branches}
        for in_chain, group in groupby(splits, key=in_chains.__contains__):
            if in_chain:
                found.chains.append(list(group))
        found.branches.update(in_chains)
        for block, split in splits.items():
            if split is not None and block not in in_chains:
                again = "; it is computed again, though" if split.transition is not None else ""
                found.refused[block] = f"it changes the shape{again}"
    if not found.chains:
        return RewiringPlan()
    for module in model.modules():
        split = split_block(module) if module in found.refused else split_between(module)
        if split is not None and split.transition is not None and "forward" not in module.__dict__:
            found.between.add(module)
    return found


def _sequences(model: nn.Module, *, with_example: bool) -> Iterator[dict[nn.Module, Split | None]]:
    """Modules that are called one after the other, some of them of known classes."""
    for module in model.modules():
        in_turn = type(module) is nn.ModuleList and all(map(is_called_in_turn, module))
        if not in_turn and type(module) is not nn.Sequential:
            continue
        splits = {block: split_block(block) for block in module.children()}
        unchanged = all(split is not None and (split.exact or not split.branches) for split in splits.values())
        if any(splits.values()) and (unchanged or not (in_turn and with_example)):
            yield splits


def arguments(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments."""
    if isinstance(example, dict):
        return (), example
    return (example if isinstance(example, tuple) else (example,)), {}


def plan_traced(model: nn.Module, example: Example) -> RewiringPlan:
    """Find the blocks of `model`, take them apart, and check that the parts rebuild them. Nothing is changed.

    Raises:
        ValueError: the model cannot be called with the example.
    """
    args, kwargs = arguments(example)
    before = _sums(model)
    try:
        with torch.enable_grad():
            recording = record(model, lambda: model(*args, **kwargs), device=device_of((args, kwargs)))
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
    results = _examined_in_place(model, found.blocks, args, kwargs)
    splits = {block: (given, split) for block, (given, split) in results.items() if not isinstance(split, str)}
    failed = {block: reason for block, (_, reason) in results.items() if isinstance(reason, str)}
    return RewiringPlan(
        chains=chains_of([block for block in found.blocks if block.call.module in splits], recording),
        branches={block: len(split.branches) for block, (_, split) in splits.items()},
        refused={**found.refused, **failed},
        splits=splits,
    )


def _sums(model: nn.Module) -> dict[str, str]:
    """Of all parameters, to see whether they change: not all ways of writing to one count up its version."""
    sums = {name: p.detach().sum(dtype=torch.float64) for name, p in model.named_parameters() if not p.is_meta}
    return {name: repr(float(total)) for name, total in sums.items()}


def _examined_in_place(
    model: nn.Module, blocks: Sequence[Candidate], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[nn.Module, tuple[CallArguments, BlockSplit | str]]:
    """Each block where the model calls it first: what it is given, and how it falls into branches, or why not."""
    first = {block.call.module: block.split for block in reversed(blocks)}
    hooked = {module for module in model.modules() if is_hooked(module)}
    found: dict[nn.Module, tuple[CallArguments, BlockSplit | str]] = {}

    def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if module not in found:
            given = CallArguments.of(args, kwargs)
            assert given is not None
            inside = any(inner in hooked for inner in module.modules() if inner is not module)
            found[module] = given, examined(module, given, lambda: first[module], hooked=inside)

    with ExitStack() as stack:
        stack.enter_context(isolated(model, device_of((args, kwargs))))
        for module in first:
            stack.callback(module.register_forward_pre_hook(look, with_kwargs=True).remove)
        with torch.enable_grad():  # as in training: arguments that come from parameters need gradients
            model(*args, **kwargs)
    return found
