"""The chains of a rewired network, and what may be set of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from re2tal.reversible.chain import Chain
from re2tal.reversible.compiled import BranchCompiler
from re2tal.reversible.dr2net import Coefficients
from re2tal.reversible.reversible_chain import ReversibleChain
from re2tal.reversible.rewire.patching import PatchedBetween, PatchedBlock, PatchedSequential
from re2tal.reversible.storage import Storage
from re2tal.reversible.tiles import Mode, TileSize, check_tile_size

__all__ = [
    "NetworkPart",
    "ReconstructionWarning",
    "chains",
    "coefficients",
    "compile_branches",
    "headrooms",
    "keep_on_host",
    "parts_of",
    "reconstruction_error",
    "reconstruction_errors",
    "reconstruction_tensors",
    "set_cells",
    "set_coefficients",
    "set_headrooms",
    "set_mode",
    "set_storage",
    "set_tiles",
    "sharding_units",
    "storage",
]


class ReconstructionWarning(UserWarning):
    """Recovered streams differ from the original ones, so gradients are wrong."""


@dataclass(frozen=True)
class NetworkPart:
    """A chain of a network, or a stem or what stands between chains."""

    name: str
    """Of its first block, or of its module."""
    holder: Chain | PatchedBetween
    """Holds its settings."""
    blocks: dict[str, nn.Module]
    """By their names in the network."""


def parts_of(model: nn.Module) -> list[NetworkPart]:
    """In the order of their modules."""
    found: dict[int, NetworkPart] = {}
    for name, module in model.named_modules():
        patch = module.__dict__.get("forward")
        if isinstance(module, ReversibleChain):
            blocks = {f"{name}.{child}".lstrip("."): block for child, block in module.named_children()}
            found.setdefault(id(module.chain), NetworkPart(name, module.chain, blocks))
        elif isinstance(patch, PatchedBlock):
            found.setdefault(id(patch.chain), NetworkPart(name, patch.chain, {})).blocks[name] = module
        elif isinstance(patch, PatchedBetween):
            found[id(patch)] = NetworkPart(name, patch, {name: module})
    return list(found.values())


def chains(model: nn.Module) -> Iterator[Chain]:
    """Every reversible chain in `model`."""
    yield from (part.holder for part in parts_of(model) if isinstance(part.holder, Chain))


def _some_chains(model: nn.Module) -> list[Chain]:
    if found := list(chains(model)):
        return found
    raise ValueError(f"{type(model).__name__} holds no reversible chain; rewire it first")


def sharding_units(model: nn.Module) -> Iterator[nn.Module]:
    """What to give FSDP2's `fully_shard` one by one, before the model itself.

    It gathers the parameters of a module where that is called, forward and backward. So a chain that calls its blocks'
    insides is a unit, with what stands between it and the next; blocks that a model calls one by one are units each.
    """
    inside: set[nn.Module] = set()
    for module in model.modules():
        patch = module.__dict__.get("forward")
        is_unit = isinstance(patch, PatchedSequential | PatchedBlock) or isinstance(module, ReversibleChain)
        if is_unit and module not in inside:
            inside.update(module.modules())
            yield module


def set_mode(model: nn.Module, mode: Mode) -> None:
    """Set the mode of every reversible chain in `model`, and of what is computed again beside them.

    Raises:
        ValueError: the mode is unknown, or there is no chain.
    """
    _some_chains(model)
    for part in parts_of(model):
        part.holder.mode = mode


def set_tiles(model: nn.Module, size: TileSize) -> None:
    """Set what a tile may take in training, in all of `model` that is computed in tiles.

    Args:
        model: rewired.
        size: bytes, about; "auto" for what suits the device; None to compute whole branches.

    Raises:
        ValueError: the size is none of these.
    """
    check_tile_size(size)
    for part in parts_of(model):
        part.holder.tile_size = size


set_cells = set_tiles
"""Its older name."""


def set_coefficients(model: nn.Module, *, alpha: float, beta: float) -> None:
    """Set how much of its two streams every module of every chain in `model` passes on (see `ReversibleChain`).

    `alpha=1, beta=0` is the network that was rewired, if its blocks are pre-norm; `alpha=0, beta=1`, with which chains
    begin, is Re2TAL. A network that is fine-tuned while they go from near the one to the other (Dr2Net) begins with
    what the pretrained one computes. They are rounded to multiples of 1 / 4096. Streams come back bit for bit with any:
    for that, log2(1 / beta) bits of every element and module are kept, rounded up, and whole streams if beta is 0.

    Raises:
        ValueError: one of them is outside [0, 1], or there is no chain.
    """
    for chain in _some_chains(model):
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


def storage(model: nn.Module) -> dict[str, tuple[int, int]]:
    """How many branches of each part store activations, and how many behind those their input; see `Storage`."""
    found = ((part.name, part.holder.storage) for part in parts_of(model))
    return {name: (storage.activations, storage.inputs) for name, storage in found}


def set_storage(model: nn.Module, values: Mapping[str, tuple[int, int]]) -> None:
    """Have parts of a rewired network store what they could compute again, which takes memory and saves time.

    Results and gradients stay what they are, bit for bit.

    Args:
        model: rewired.
        values: as `storage` gives; parts that are not named store nothing.

    Raises:
        ValueError: a name is of no part, or a number is below 0.
    """
    parts = parts_of(model)
    names = [part.name for part in parts]
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ValueError(
            f"{unknown[0][:80]!r} is no chain or stem of this {type(model).__name__}, which has "
            f"{', '.join(names[:8]) or 'none, since it is not rewired'}"
        )
    for part in parts:
        activations, inputs = values.get(part.name, (0, 0))
        part.holder.storage = Storage(activations=activations, inputs=inputs)


def compile_branches(model: nn.Module, backend: str | None = "inductor") -> None:
    """Compile the branches of every reversible chain in `model` when they are next computed.

    Streams come back bit for bit, since the function that is compiled for training runs in the forward pass, too. A
    branch is compiled again for tensors of other shapes, and when something of its block has changed.

    Args:
        model: rewired.
        backend: of `torch.compile`; None: branches are computed as they are again.

    Raises:
        ValueError: there is no such backend.
    """
    compiler = None if backend is None else BranchCompiler(backend)
    for chain in chains(model):
        chain.compiler = compiler


def keep_on_host(model: nn.Module, wanted: bool = True) -> None:
    """Keep what waits for the backward pass in the host's memory while later stages of `model` run.

    That is the last pair of streams of every chain that runs as one step, but the last one, and the input of the stem
    and of what stands between chains. Gradients do not change. On a CPU there is nothing to move.

    Args:
        model: rewired.
        wanted: False: on the device again.
    """
    *_, last = (None, *chains(model))
    for part in parts_of(model):
        if part.holder is not last:  # what that keeps is needed next
            part.holder.on_host = wanted


def reconstruction_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The reconstruction error of each chain in its last backward pass, relative, by the chain's blocks: scalars.

    Zero, unless a branch computed something else the second time; chains that have not run backward are left out.
    """
    errors = {}
    for part in parts_of(model):
        if isinstance(part.holder, Chain) and part.holder.reconstruction_error is not None:
            first, *_, last = (*part.blocks, *part.blocks)
            errors[" to ".join(dict.fromkeys((first, last)))] = part.holder.reconstruction_error
    return errors


def reconstruction_errors(model: nn.Module) -> dict[str, float]:
    """The values of `reconstruction_tensors`; a device is waited for."""
    return {name: float(error) for name, error in reconstruction_tensors(model).items()}


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
