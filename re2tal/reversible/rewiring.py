"""Make the residual chains of an existing network reversible, in place, without touching a parameter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby

from torch import Tensor, nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.by_example import Example, Plan, Rewiring, link_blocks, plan
from re2tal.reversible.cells import CellSize, Mode, check_cell_size
from re2tal.reversible.chain import ReversibleChain
from re2tal.reversible.coefficients import Coefficients
from re2tal.reversible.linked import linked, unlink
from re2tal.reversible.local import LocalModule, run_locally
from re2tal.reversible.splitters import Split, known_blocks, local_branch, split_block
from re2tal.reversible.stepwise import StepwiseChain

__all__ = [
    "ReconstructionWarning",
    "RewiredSequential",
    "chains",
    "coefficients",
    "examine",
    "headrooms",
    "reconstruction_error",
    "reconstruction_errors",
    "report_of",
    "rewire",
    "set_cells",
    "set_coefficients",
    "set_headrooms",
    "set_lanes",
    "set_mode",
    "sharding_units",
    "unrewire",
]


log = logging.getLogger(__name__)


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
        self._original = (original,)
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


def rewire(model: nn.Module, *, example: Example | None = None, mode: Mode = "reversible") -> nn.Module:
    """Make every chain of residual blocks in `model` reversible.

    Parameters, their names and values, and checkpoints are untouched: load weights before or after. Pre-norm blocks
    (transformers) keep their branches; in post-activation blocks (ResNets) the activation moves into the branch. The
    rewired network computes another function than the original (every residual connection skips one more module), for
    which the original's weights are the starting point. `unrewire` gives the original back.

    With an example, blocks of any class are found by running the model on it, wherever the model keeps and however it
    calls them: each is traced, its additions are found and its branches cut out, and what they give when they are put
    together again is compared with what the block gives, and its gradient. `examine` tells what becomes of which block.
    Without, each `nn.Sequential` that holds blocks of known classes is replaced by a `RewiredSequential` over the same
    children; with one, too, where there is any.

    Args:
        model: changed in place. Without an example: torchvision's Swin, Video Swin and video ResNets, and our
            SlowFast, of any size.
        example: the model's input, a tuple of its positional arguments, or a dict of its keyword arguments. Numbers do
            not matter; what it does not use (a mask, say) is traced when it is first met.
        mode: see `ReversibleChain`; `set_mode` changes it later.

    Returns:
        `model`, or its replacement if the model itself is an `nn.Sequential` of blocks.

    Raises:
        ValueError: no block can be rewired, with the reason for each; the model is left as it was.
    """
    if any(True for _ in chains(model)):
        raise ValueError(f"{type(model).__name__} is rewired already; unrewire it first")
    holder = nn.Module()
    holder.model = model
    sequentials = _known_sequentials(holder)
    planned = None if example is None else plan(model, example).without(_inside(sequentials))
    if not sequentials and (planned is None or not planned.chains):
        raise ValueError(_nothing_found(model, planned))
    if planned is not None:
        report = _report(model, planned, sequentials)
        log.info("%s: %s", type(model).__name__, report)
        link_blocks(planned)
    for parent, name, child, splits in sequentials:
        setattr(parent, name, RewiredSequential(child, splits))
    for parent in list(holder.modules()) if sequentials else ():
        for name, module in list(parent.named_children()):
            if (branch := local_branch(module)) is not None:
                setattr(parent, name, LocalModule(module, branch))
    set_mode(holder.model, mode)
    if planned is not None:
        holder.model.__dict__["_re2tal_report"] = report
    return holder.model


def examine(model: nn.Module, example: Example) -> Rewiring:
    """What `rewire` would do with the same arguments: every block it finds, and why it would stay as it is.

    Nothing is changed.

    Raises:
        ValueError: the model cannot be called with the example, or is rewired already.
    """
    if any(True for _ in chains(model)):
        raise ValueError(f"{type(model).__name__} is rewired already; unrewire it first")
    holder = nn.Module()
    holder.model = model
    sequentials = _known_sequentials(holder)
    return _report(model, plan(model, example).without(_inside(sequentials)), sequentials)


def report_of(model: nn.Module) -> Rewiring | None:
    """What `rewire` did to the blocks of a model that it was given an example of, with reasons; None if it was not."""
    report = model.__dict__.get("_re2tal_report")
    return report if isinstance(report, Rewiring) else None


def unrewire(model: nn.Module) -> nn.Module:
    """Undo `rewire`: the original network, with the parameters as they are now.

    Args:
        model: changed in place.

    Returns:
        `model`, or what it replaced if the model itself was an `nn.Sequential` of blocks.

    Raises:
        ValueError: it is not rewired.
    """
    if not any(True for _ in chains(model)):
        raise ValueError(f"{type(model).__name__} holds no reversible chain; there is nothing to undo")
    for block in list(linked(model)):
        unlink(block.block)
    model.__dict__.pop("_re2tal_report", None)
    holder = nn.Module()
    holder.model = model
    _restore(holder)
    return holder.model


def _restore(parent: nn.Module) -> None:
    for name, child in list(parent.named_children()):
        original = child
        if isinstance(child, RewiredSequential):
            (original,) = child._original
        elif isinstance(child, LocalModule):
            original = child._branch.owner
        if original is not child:
            original.training = child.training
            setattr(parent, name, original)
        _restore(original)


_Sequentials = list[tuple[nn.Module, str, nn.Sequential, dict[str, Split | None]]]


def _known_sequentials(holder: nn.Module) -> _Sequentials:
    """Those that hold blocks of known classes, which there is a chain of, with their parents and names."""
    found = [
        (parent, name, child, {key: split_block(block) for key, block in child.named_children()})
        for parent in holder.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Sequential
    ]
    known = [entry for entry in found if any(entry[3].values())]
    return known if any(split and split.branches for *_, splits in known for split in splits.values()) else []


def _inside(sequentials: _Sequentials) -> set[nn.Module]:
    return {
        module for *_, child, splits in sequentials for name in splits for module in child.get_submodule(name).modules()
    }


def _report(model: nn.Module, planned: Plan, sequentials: _Sequentials) -> Rewiring:
    elsewhere, lengths = [], []
    for *_, child, splits in sequentials:
        for in_chain, group in groupby(splits.items(), key=lambda item: bool(item[1] and item[1].branches)):
            members = list(group)
            if in_chain:
                lengths.append(len(members))
            for name, split in members:
                if split is not None and split.branches:
                    elsewhere.append((child.get_submodule(name), len(split.branches)))
                elif split is not None:
                    planned.refused[child.get_submodule(name)] = "it changes the shape; it is computed again, though"
    return planned.report(model, elsewhere=elsewhere, lengths=lengths)


def _nothing_found(model: nn.Module, planned: Plan | None) -> str:
    if planned is None:
        kinds = sorted({f"{type(m).__module__}.{type(m).__qualname__}" for m in model.modules() if any(m.children())})
        return (
            f"found no residual block to rewire in {type(model).__name__}, whose modules are: {', '.join(kinds)}; "
            f"blocks are looked for inside nn.Sequential, and these are known: {', '.join(known_blocks())}; "
            "give an example of the model's input to have all others found"
        )
    if not planned.refused:
        return f"found no residual block to rewire in {type(model).__name__}: no module adds to what it is given"
    report = planned.report(model, elsewhere=(), lengths=())
    return f"no block of {type(model).__name__} can be rewired; {report}"


def chains(model: nn.Module) -> Iterator[ReversibleChain | StepwiseChain]:
    """Every reversible chain in `model`."""
    yield from {block.chain: None for block in linked(model)}
    for module in model.modules():
        if isinstance(module, ReversibleChain):
            yield module
        elif isinstance(module, RewiredSequential):
            yield from module.chains


def sharding_units(model: nn.Module) -> Iterator[nn.Module]:
    """What to give FSDP2's `fully_shard` one by one, before the model itself.

    It gathers the parameters of a module where that is called, forward and backward. So a chain that calls its blocks'
    insides is a unit, with what stands between it and the next; blocks that a model calls one by one are units each.
    """
    for module in model.modules():
        if isinstance(module, ReversibleChain | RewiredSequential):
            yield module
    yield from (block.block for block in linked(model))


def set_mode(model: nn.Module, mode: Mode) -> None:
    """Set the mode of every reversible chain in `model`, and of what is computed again beside them.

    Raises:
        ValueError: the mode is unknown, or there is no chain.
    """
    found = list(chains(model))
    if not found:
        raise ValueError(f"{type(model).__name__} holds no reversible chain; rewire it first")
    for module in (*found, *model.modules()):
        if isinstance(module, ReversibleChain | StepwiseChain | RewiredSequential | LocalModule):
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
        if isinstance(module, ReversibleChain | StepwiseChain | RewiredSequential | LocalModule):
            module.cell_size = size


def set_lanes(model: nn.Module, count: int) -> None:
    """Set how many cells an accelerator works on at a time in the backward pass of every chain in `model`.

    Raises:
        ValueError: the count is below 1.
    """
    if count < 1:
        raise ValueError(f"the number of lanes must be at least 1, got {count}")
    for chain in chains(model):
        if isinstance(chain, ReversibleChain):  # blocks that are called one by one have one lane
            chain.lanes = count


def set_coefficients(model: nn.Module, *, alpha: float, beta: float) -> None:
    """Set how much of its two streams every module of every chain in `model` passes on (see `ReversibleChain`).

    `alpha=1, beta=0` is the network that was rewired, if its blocks are pre-norm; `alpha=0, beta=1`, with which chains
    begin, is Re2TAL. A network that is fine-tuned while they go from near the one to the other (Dr2Net) begins with
    what the pretrained one computes. They are rounded to multiples of 1 / 4096. Streams come back bit for bit with any:
    for that, log2(1 / beta) bits of every element and module are kept, rounded up, and whole streams if beta is 0.

    Raises:
        ValueError: one of them is outside [0, 1], or there is no chain.
    """
    found = list(chains(model))
    if not found:
        raise ValueError(f"{type(model).__name__} holds no reversible chain; rewire it first")
    for chain in found:
        chain.coefficients = Coefficients.nearest(alpha, beta)


def coefficients(model: nn.Module) -> list[Coefficients]:
    """Of every chain in `model`."""
    return [chain.coefficients for chain in chains(model)]


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


def reconstruction_errors(model: nn.Module) -> dict[str, float]:
    """The reconstruction error of each chain in its last backward pass, relative, by the chain's blocks.

    Zero, unless a branch computed something else the second time; chains that have not run backward are left out.
    """
    names = {module: name for name, module in model.named_modules()}
    errors = {}
    for chain in chains(model):
        if chain.reconstruction_error is not None:
            blocks = list(chain.children()) if isinstance(chain, ReversibleChain) else chain.blocks
            errors[" to ".join(dict.fromkeys((names[blocks[0]], names[blocks[-1]])))] = chain.reconstruction_error
    return {name: float(error) for name, error in errors.items()}


def reconstruction_error(model: nn.Module, *, warn_above: float = 1e-4) -> float | None:
    """The worst of `reconstruction_errors`.

    Args:
        model: with any number of chains.
        warn_above: past it, a `ReconstructionWarning` says so.

    Returns:
        None if no chain has run backward.
    """
    errors = reconstruction_errors(model)
    if not errors:
        return None
    name, worst = max(errors.items(), key=lambda item: (item[1] != item[1], item[1]))
    if not worst <= warn_above:
        warnings.warn(
            f"recovered streams of {name} are off by {worst:.2e} of their largest value, so gradients are wrong: a "
            "branch gave another result when it was computed again; randomness must come from torch's generators, and "
            "no state may change in a forward pass; first_to_differ finds the module",
            ReconstructionWarning,
            stacklevel=2,
        )
    return worst
