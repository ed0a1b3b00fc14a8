"""Make the residual chains of an existing network reversible, in place, without touching a parameter."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby

from torch import Tensor, nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.cells import CellSize, Mode, check_cell_size
from re2tal.reversible.chain import ReversibleChain
from re2tal.reversible.local import LocalModule, run_locally
from re2tal.reversible.splitters import Split, known_blocks, local_branch, split_block

__all__ = [
    "ReconstructionWarning",
    "RewiredSequential",
    "chains",
    "headrooms",
    "reconstruction_error",
    "rewire",
    "set_cells",
    "set_headrooms",
    "set_lanes",
    "set_mode",
]


class ReconstructionWarning(UserWarning):
    """Recovered streams differ from the original ones, so gradients are wrong."""


class RewiredSequential(nn.Sequential):
    """An `nn.Sequential` whose runs of residual blocks are reversible chains.

    Children, their names, indexing and the state dict are those of the original.
    """

    def __init__(self, original: nn.Sequential, splits: dict[str, Split | None]) -> None:
        super().__init__()
        for name, child in original.named_children():
            self.add_module(name, child)
        self.training = original.training
        steps: list[ReversibleChain | nn.Module | Branch] = []
        for in_chain, group in groupby(splits.items(), key=lambda item: bool(item[1] and item[1].branches)):
            members = list(group)
            if in_chain:
                branches = [branch for _, split in members if split for branch in split.branches]
                steps.append(ReversibleChain(branches, blocks={name: self.get_submodule(name) for name, _ in members}))
            else:
                steps += [split and split.transition or self.get_submodule(name) for name, split in members]
        # In a tuple, so that the chains are not registered: their blocks are children here already.
        self._steps = tuple(steps)
        self.cell_size: CellSize = "auto"
        self.mode: Mode = "reversible"
        """Of what stands between the chains, which have their own."""

    @property
    def chains(self) -> tuple[ReversibleChain, ...]:
        """The reversible chains, in order."""
        return tuple(step for step in self._steps if isinstance(step, ReversibleChain))

    def forward(self, x: Tensor) -> Tensor:
        for step in self._steps:
            x = self._run_between(step, x) if isinstance(step, Branch) else step(x)
        return x

    def _run_between(self, branch: Branch, x: Tensor) -> Tensor:
        return run_locally(branch, x, mode=self.mode, size=self.cell_size)


def rewire(model: nn.Module, *, mode: Mode = "reversible") -> nn.Module:
    """Make every chain of known residual blocks in `model` reversible.

    Each `nn.Sequential` that holds such blocks is replaced by a `RewiredSequential` over the same children, so
    parameters, their names and values, and checkpoints are untouched: load weights before or after. Pre-norm blocks
    (Swin) keep their branches; in post-activation blocks (ResNets) the activation moves into the branch. The rewired
    network computes another function than the original (every residual connection skips one more module), for which
    the original's weights are the starting point.

    Args:
        model: changed in place. torchvision's Swin, Video Swin and video ResNets, and our SlowFast, of any size.
        mode: see `ReversibleChain`; `set_mode` changes it later.

    Returns:
        `model`, or its replacement if the model itself is an `nn.Sequential` of blocks.

    Raises:
        ValueError: no block can be rewired; the model is left as it was.
    """
    holder = nn.Module()
    holder.model = model
    planned = [
        (parent, name, child, {key: split_block(block) for key, block in child.named_children()})
        for parent in holder.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Sequential
    ]
    if not any(split and split.branches for *_, splits in planned for split in splits.values()):
        kinds = sorted({f"{type(m).__module__}.{type(m).__qualname__}" for m in model.modules() if any(m.children())})
        raise ValueError(
            f"found no residual block to rewire in {type(model).__name__}, whose modules are: {', '.join(kinds)}; "
            f"blocks are looked for inside nn.Sequential, and these are known: {', '.join(known_blocks())}"
        )
    for parent, name, child, splits in planned:
        if any(splits.values()):
            setattr(parent, name, RewiredSequential(child, splits))
    for parent in list(holder.modules()):
        for name, module in list(parent.named_children()):
            if (branch := local_branch(module)) is not None:
                setattr(parent, name, LocalModule(module, branch))
    set_mode(holder.model, mode)
    return holder.model


def chains(model: nn.Module) -> Iterator[ReversibleChain]:
    """Every reversible chain in `model`."""
    for module in model.modules():
        if isinstance(module, ReversibleChain):
            yield module
        elif isinstance(module, RewiredSequential):
            yield from module.chains


def set_mode(model: nn.Module, mode: Mode) -> None:
    """Set the mode of every reversible chain in `model`, and of what is computed again beside them.

    Raises:
        ValueError: the mode is unknown, or there is no chain.
    """
    found = list(chains(model))
    if not found:
        raise ValueError(f"{type(model).__name__} holds no reversible chain; rewire it first")
    for module in (*found, *model.modules()):
        if isinstance(module, ReversibleChain | RewiredSequential | LocalModule):
            module.mode = mode


def set_cells(model: nn.Module, size: CellSize) -> None:
    """Set what a cell may take in training, in all of `model` that is computed in cells.

    Args:
        model: rewired.
        size: bytes, about; "auto" for what suits the device; None to compute whole branches.

    Raises:
        ValueError: the size is none of these.
    """
    check_cell_size(size)
    for module in (*model.modules(), *chains(model)):
        if isinstance(module, ReversibleChain | RewiredSequential | LocalModule):
            module.cell_size = size


def set_lanes(model: nn.Module, count: int) -> None:
    """Set how many cells an accelerator works on at a time in the backward pass of every chain in `model`.

    Raises:
        ValueError: the count is below 1.
    """
    if count < 1:
        raise ValueError(f"the number of lanes must be at least 1, got {count}")
    for chain in chains(model):
        chain.lanes = count


def headrooms(model: nn.Module) -> list[int]:
    """How far the streams of every chain in `model` may grow: a resumed run needs it to go on bit for bit."""
    return [chain.headroom for chain in chains(model)]


def set_headrooms(model: nn.Module, values: Sequence[int]) -> None:
    """Set what `headrooms` gave, of a model with the same chains.

    Raises:
        ValueError: there are more or fewer chains than values.
    """
    found = list(chains(model))
    if len(found) != len(values):
        raise ValueError(f"the model has {len(found)} reversible chains, but headrooms are given for {len(values)}")
    for chain, value in zip(found, values, strict=True):
        chain.headroom = value


def reconstruction_error(model: nn.Module, *, warn_above: float = 1e-4) -> float | None:
    """The worst reconstruction error of the chains in `model` in their last backward passes, relative.

    Zero, unless a branch computed something else the second time.

    Args:
        model: with any number of chains.
        warn_above: past it, a `ReconstructionWarning` says so.

    Returns:
        None if no chain has run backward.
    """
    errors = [float(chain.reconstruction_error) for chain in chains(model) if chain.reconstruction_error is not None]
    if not errors:
        return None
    worst = max(errors)
    if worst > warn_above:
        warnings.warn(
            f"recovered streams are off by {worst:.2e} of their largest value, so gradients are wrong: a branch gave "
            "another result when it was computed again; randomness must come from torch's generators, and no state may "
            "change in a forward pass",
            ReconstructionWarning,
            stacklevel=2,
        )
    return worst
