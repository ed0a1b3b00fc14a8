"""Make the residual chains of an existing network reversible, in place, without touching a parameter."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import groupby

from torch import Tensor, nn

from re2tal.reversible.chain import Mode, ReversibleChain
from re2tal.reversible.splitters import Split, known_blocks, split_block

__all__ = ["ReconstructionWarning", "RewiredSequential", "chains", "reconstruction_error", "rewire", "set_mode"]


class ReconstructionWarning(UserWarning):
    """Recovered streams differ so much from the original ones that gradients suffer."""


class RewiredSequential(nn.Sequential):
    """An `nn.Sequential` whose runs of residual blocks are reversible chains.

    Children, their names, indexing and the state dict are those of the original.
    """

    def __init__(self, original: nn.Sequential, splits: dict[str, Split | None]) -> None:
        super().__init__()
        for name, child in original.named_children():
            self.add_module(name, child)
        self.training = original.training
        steps: list[tuple[Callable[..., Tensor], nn.Module | None]] = []
        for in_chain, group in groupby(splits.items(), key=lambda item: bool(item[1] and item[1].branches)):
            members = list(group)
            if in_chain:
                branches = [branch for _, split in members if split for branch in split.branches]
                blocks = {name: self.get_submodule(name) for name, _ in members}
                steps.append((ReversibleChain(branches, blocks=blocks), None))
                continue
            for name, split in members:
                child = self.get_submodule(name)
                steps.append((split.transition, child) if split and split.transition else (child, None))
        # In a tuple, so that the chains are not registered: their blocks are children here already.
        self._steps = tuple(steps)

    @property
    def chains(self) -> tuple[ReversibleChain, ...]:
        """The reversible chains, in order."""
        return tuple(step for step, _ in self._steps if isinstance(step, ReversibleChain))

    def forward(self, x: Tensor) -> Tensor:
        for step, block in self._steps:
            x = step(x) if block is None else step(block, x)
        return x


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
    """Set the mode of every reversible chain in `model`.

    Raises:
        ValueError: the mode is unknown, or there is no chain.
    """
    found = list(chains(model))
    if not found:
        raise ValueError(f"{type(model).__name__} holds no reversible chain; rewire it first")
    for chain in found:
        chain.mode = mode


def reconstruction_error(model: nn.Module, *, warn_above: float = 1e-2) -> float | None:
    """The worst reconstruction error of the chains in `model` in their last backward passes, relative.

    Args:
        model: with any number of chains.
        warn_above: past it (or if it is not a number), a `ReconstructionWarning` says so.

    Returns:
        None if no chain has run backward.
    """
    errors = [float(chain.reconstruction_error) for chain in chains(model) if chain.reconstruction_error is not None]
    if not errors:
        return None
    worst = max(errors, key=lambda error: (error != error, error))  # NaN is the worst
    if not worst <= warn_above:
        warnings.warn(
            f"recovered streams are off by {worst:.2e} of their largest value, more than {warn_above:.0e}: activations "
            "may have outgrown their precision; run the chains in float32, or lower the learning rate if they grow",
            ReconstructionWarning,
            stacklevel=2,
        )
    return worst
