"""Make the residual chains of an existing network reversible, in place, without touching a parameter."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import nn

from re2tal.reversible.blocks import known_blocks
from re2tal.reversible.chain import Chain
from re2tal.reversible.isolated import isolated
from re2tal.reversible.patched import patched
from re2tal.reversible.rewire.patching import PatchedBetween, PatchedBlock, PatchedSequential, blocks_in
from re2tal.reversible.rewire.plan import Example, Rewiring, RewiringPlan, arguments, plan_known, plan_traced
from re2tal.reversible.rewire.settings import chains, set_mode
from re2tal.reversible.tiles import Mode
from re2tal.reversible.trees import device_of

__all__ = ["examine", "report_of", "rewire", "unrewire"]

log = logging.getLogger(__name__)


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
    planned = _plan(model, example)
    if not planned.chains:
        raise ValueError(_nothing_found(model, planned, with_example=example is not None))
    report = planned.report(model)
    _patch(model, planned)
    set_mode(model, mode)
    if example is not None:
        log.info("%s: %s", type(model).__name__, report)
        _met_in_eval_mode(model, example)
    model.__dict__["_re2tal_report"] = report
    return model


def _plan(model: nn.Module, example: Example | None) -> RewiringPlan:
    if any(True for _ in chains(model)):
        raise ValueError(f"{type(model).__name__} is rewired already; unrewire it first")
    known = plan_known(model, with_example=example is not None)
    return known if example is None else known.joined(plan_traced(model, example))


def _patch(model: nn.Module, planned: RewiringPlan) -> None:
    names = {module: name for name, module in model.named_modules()}
    for members in planned.chains:
        chain = Chain(length=len(members))
        for block in members:
            patch = PatchedBlock(block, chain, name=names[block])
            if block in planned.splits:
                with torch.enable_grad():  # as they were examined
                    patch.remember(*planned.splits[block])
            patch.put()
    for module in names:
        holds_blocks = any(child in planned.branches for child in module.children())
        if module in planned.branches:
            continue
        if type(module) is nn.Sequential and "forward" not in module.__dict__ and holds_blocks:
            PatchedSequential(module).put()
        elif module in planned.between:
            PatchedBetween(module, name=names[module]).put()


def _met_in_eval_mode(model: nn.Module, example: Example) -> None:
    """Have the blocks examined as they predict, too: while a network is exported, none can be."""
    if not any(module.training for module in model.modules()):
        return
    args, kwargs = arguments(example)
    with isolated(model, device_of((args, kwargs))), torch.no_grad():  # flags are put back with the rest
        try:
            model.eval()(*args, **kwargs)
        except Exception as error:  # of a model that needs targets in one mode alone, say
            log.info("%s cannot predict from the example (%s: %s)", type(model).__name__, type(error).__name__, error)


def examine(model: nn.Module, example: Example) -> Rewiring:
    """What `rewire` would do with the same arguments: every block it finds, and why it would stay as it is.

    Nothing is changed.

    Raises:
        ValueError: the model cannot be called with the example, or is rewired already.
    """
    return _plan(model, example).report(model)


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


def _nothing_found(model: nn.Module, planned: RewiringPlan, *, with_example: bool) -> str:
    if not with_example:
        kinds = sorted({f"{type(m).__module__}.{type(m).__qualname__}" for m in model.modules() if any(m.children())})
        return (
            f"found no residual block to rewire in {type(model).__name__}, whose modules are: {', '.join(kinds)}; "
            f"blocks are looked for inside nn.Sequential, and these are known: {', '.join(known_blocks())}; "
            "give an example of the model's input to have all others found"
        )
    if not planned.refused:
        return f"found no residual block to rewire in {type(model).__name__}: no module adds to what it is given"
    return f"no block of {type(model).__name__} can be rewired; {planned.report(model)}"
