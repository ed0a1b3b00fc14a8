"""Make the residual chains of an existing network reversible, in place, without touching a parameter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor, nn

from re2tal.reversible.blocks import Split, is_called_in_turn, known_blocks, split_between, split_block
from re2tal.reversible.chain import Chain
from re2tal.reversible.dr2net import Coefficients
from re2tal.reversible.guards import unhooked
from re2tal.reversible.patched import patched
from re2tal.reversible.reversible_chain import ReversibleChain
from re2tal.reversible.rewire.patching import PatchedBetween, PatchedBlock, PatchedSequential, blocks_in
from re2tal.reversible.rewire.plan import Example, Rewiring, RewiringPlan, arguments, plan
from re2tal.reversible.rng import preserved
from re2tal.reversible.tiles import Mode, TileSize, check_tile_size
from re2tal.reversible.tracing.recording import untouched
from re2tal.reversible.tracing.trees import tensors_in

__all__ = [
    "ReconstructionWarning",
    "chains",
    "coefficients",
    "examine",
    "headrooms",
    "reconstruction_error",
    "reconstruction_errors",
    "reconstruction_tensors",
    "report_of",
    "rewire",
    "set_coefficients",
    "set_headrooms",
    "set_mode",
    "set_tiles",
    "sharding_units",
    "unrewire",
]


log = logging.getLogger(__name__)


class ReconstructionWarning(UserWarning):
    """Recovered streams differ from the original ones, so gradients are wrong."""


def rewire(model: nn.Module, *, example: Example | None = None, mode: Mode = "reversible") -> nn.Module:
    """Make every chain of residual blocks in `model` reversible.

    Parameters, their names and values, and checkpoints are untouched: load weights before or after. Pre-norm blocks
    (transformers) keep their branches; in post-activation blocks (ResNets) the activation moves into the branch. The
    rewired network computes another function than the original (every residual connection skips one more module), for
    which the original's weights are the starting point. `unrewire` gives the original back.

    With an example, blocks of any class are found by running the model on it, wherever the model keeps and however it
    calls them: each is traced, its additions are found and its branches cut out, and what they give when they are put
    together again is compared with what the block gives, and its gradient. `examine` tells what becomes of which block.
    Without, blocks of known classes are looked for in every `nn.Sequential`; with one, too.

    Args:
        model: changed in place. Without an example: torchvision's Swin, Video Swin and video ResNets, and our
            SlowFast, of any size.
        example: the model's input, a tuple of its positional arguments, or a dict of its keyword arguments. Numbers do
            not matter; what it does not use (a mask, say) is traced when it is first met.
        mode: see `ReversibleChain`; `set_mode` changes it later.

    Returns:
        `model`.

    Raises:
        ValueError: no block can be rewired, with the reason for each; the model is left as it was.
    """
    _refuse_rewired(model)
    known = _known_sequentials(model, with_example=example is not None)
    planned = None if example is None else plan(model, example).without(_inside(known))
    if not known and (planned is None or not planned.chains):
        raise ValueError(_nothing_found(model, planned))
    report = _report(model, planned or RewiringPlan([], {}, {}), known)
    if planned is not None:
        log.info("%s: %s", type(model).__name__, report)
    _patch(model, known, planned)
    set_mode(model, mode)
    if example is not None:
        _met_in_eval_mode(model, example)
    model.__dict__["_re2tal_report"] = report
    return model


def _patch(model: nn.Module, known: _Sequentials, planned: RewiringPlan | None) -> None:
    names = {module: name for name, module in model.named_modules()}
    for members in (*_known_chains(known), *(planned.chains if planned is not None else ())):
        chain = Chain(length=len(members))
        for block in members:
            patch = PatchedBlock(block, chain, name=names[block])
            if planned is not None and block in planned.splits:
                with torch.enable_grad():  # as they were examined
                    patch.remember(*planned.splits[block])
            patch.put()
    for module in list(model.modules()):
        if "forward" in module.__dict__ and isinstance(module.__dict__["forward"], PatchedBlock):
            continue
        if (
            type(module) is nn.Sequential
            and "forward" not in module.__dict__
            and any(isinstance(child.__dict__.get("forward"), PatchedBlock) for child in module.children())
        ):
            PatchedSequential(module).put()
        elif known and _is_between(module, known):
            PatchedBetween(module, name=names[module]).put()


def _met_in_eval_mode(model: nn.Module, example: Example) -> None:
    """Have the blocks examined as they predict, too: while a network is exported, none can be."""
    if not any(module.training for module in model.modules()):
        return
    args, kwargs = arguments(example)
    device = next((tensor.device for tensor in tensors_in((args, kwargs))), torch.device("cpu"))
    with preserved(device), untouched(model), unhooked(model), torch.no_grad():  # flags are put back with the rest
        try:
            model.eval()(*args, **kwargs)
        except Exception as error:  # of a model that needs targets in one mode alone, say
            log.info("%s cannot predict from the example (%s: %s)", type(model).__name__, type(error).__name__, error)


def _refuse_rewired(model: nn.Module) -> None:
    if any(True for _ in chains(model)):
        raise ValueError(f"{type(model).__name__} is rewired already; unrewire it first")


def examine(model: nn.Module, example: Example) -> Rewiring:
    """What `rewire` would do with the same arguments: every block it finds, and why it would stay as it is.

    Nothing is changed.

    Raises:
        ValueError: the model cannot be called with the example, or is rewired already.
    """
    _refuse_rewired(model)
    known = _known_sequentials(model, with_example=True)
    return _report(model, plan(model, example).without(_inside(known)), known)


def report_of(model: nn.Module) -> Rewiring | None:
    """What `rewire` did to the blocks of a model, with reasons, and which were stored since; None if it did nothing."""
    report = model.__dict__.get("_re2tal_report")
    if not isinstance(report, Rewiring):
        return None
    stored = {block.fallbacks.name: tuple(block.fallbacks.reasons) for block in blocks_in(model)}
    return replace(report, blocks=tuple(replace(b, stored=stored.get(b.name, ())) for b in report.blocks))


def unrewire(model: nn.Module) -> nn.Module:
    """Undo `rewire`: the original network, with the parameters as they are now.

    Args:
        model: changed in place.

    Returns:
        `model`.

    Raises:
        ValueError: it is not rewired.
    """
    found = list(patched(model))
    if not found:
        raise ValueError(f"{type(model).__name__} holds no reversible chain; there is nothing to undo")
    for patch in found:
        patch.remove()
    model.__dict__.pop("_re2tal_report", None)
    return model


_Sequentials = list[dict[nn.Module, Split | None]]
"""For each, its children."""


def _known_sequentials(model: nn.Module, *, with_example: bool) -> _Sequentials:
    """Those that hold blocks of known classes, which there is a chain of; lists, too, whose order is known.

    With an example, lists of which a block was changed are left to it.
    """
    sequentials = [module for module in model.modules() if type(module) is nn.Sequential]
    found = [{block: split_block(block) for block in module.children()} for module in sequentials]
    for module in model.modules():
        if type(module) is nn.ModuleList and all(is_called_in_turn(block) for block in module):
            splits = {block: split_block(block) for block in module}
            if not with_example or all(s is not None and (s.exact or not s.branches) for s in splits.values()):
                found.append(splits)
    known = [splits for splits in found if any(splits.values())]
    return known if any(split and split.branches for splits in known for split in splits.values()) else []


def _known_chains(known: _Sequentials) -> Iterator[list[nn.Module]]:
    """Blocks of known classes that follow each other."""
    for splits in known:
        for in_chain, group in groupby(splits.items(), key=lambda item: bool(item[1] and item[1].branches)):
            if in_chain:
                yield [block for block, _ in group]


def _is_between(module: nn.Module, known: _Sequentials) -> bool:
    """Whether it is a stem, or stands between chains of known classes, and its class is known, too."""
    if "forward" in module.__dict__:
        return False
    split = next((splits[module] for splits in known if module in splits), None) or split_between(module)
    return split is not None and split.transition is not None


def _inside(known: _Sequentials) -> set[nn.Module]:
    return {module for splits in known for block in splits for module in block.modules()}


def _report(model: nn.Module, planned: RewiringPlan, known: _Sequentials) -> Rewiring:
    elsewhere = [(block, len(split.branches)) for s in known for block, split in s.items() if split and split.branches]
    for splits in known:
        for block, split in splits.items():
            if split is not None and not split.branches:
                again = "; it is computed again, though" if split.transition is not None else ""
                planned.refused[block] = f"it changes the shape{again}"
    lengths = [len(members) for members in _known_chains(known)]
    return planned.report(model, elsewhere=elsewhere, lengths=lengths)


def _nothing_found(model: nn.Module, planned: RewiringPlan | None) -> str:
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


def chains(model: nn.Module) -> Iterator[Chain]:
    """Every reversible chain in `model`."""
    blocks = {id(patch.module): patch.chain for patch in blocks_in(model)}
    found = (m.chain if isinstance(m, ReversibleChain) else blocks.get(id(m)) for m in model.modules())
    yield from dict.fromkeys(chain for chain in found if chain is not None)


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
    if not list(chains(model)):
        raise ValueError(f"{type(model).__name__} holds no reversible chain; rewire it first")
    for holder in _holders(model):
        holder.mode = mode


def _holders(model: nn.Module) -> Iterator[Chain | PatchedBetween]:
    """What has a mode, and tiles of a size."""
    yield from chains(model)
    yield from (patch for patch in patched(model) if isinstance(patch, PatchedBetween))


def set_tiles(model: nn.Module, size: TileSize) -> None:
    """Set what a tile may take in training, in all of `model` that is computed in tiles.

    Args:
        model: rewired.
        size: bytes, about; "auto" for what suits the device; None to compute whole branches.

    Raises:
        ValueError: the size is none of these.
    """
    check_tile_size(size)
    for holder in _holders(model):
        holder.tile_size = size


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


def reconstruction_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The reconstruction error of each chain in its last backward pass, relative, by the chain's blocks: scalars.

    Zero, unless a branch computed something else the second time; chains that have not run backward are left out.
    """
    members: dict[Chain, list[str]] = {}
    for name, module in model.named_modules():
        patch = module.__dict__.get("forward")
        if isinstance(module, ReversibleChain):
            members[module.chain] = [f"{name}.{child}".lstrip(".") for child, _ in module.named_children()]
        elif isinstance(patch, PatchedBlock):
            members.setdefault(patch.chain, []).append(name)
    return {
        " to ".join(dict.fromkeys((names[0], names[-1]))): chain.reconstruction_error
        for chain, names in members.items()
        if chain.reconstruction_error is not None
    }


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
