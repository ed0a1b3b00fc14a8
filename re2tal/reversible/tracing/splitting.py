"""From a recorded call of a module to the branches of its stream, and the check that they rebuild the module."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.reversible.blocks import empty_branch, returns_streams, split_untraceable
from re2tal.reversible.branch import Branch
from re2tal.reversible.isolated import isolated, with_parameters
from re2tal.reversible.patched import own_forward
from re2tal.reversible.tracing.arguments import CallArguments
from re2tal.reversible.tracing.effects import effects_of
from re2tal.reversible.tracing.recording import Call, Recording
from re2tal.reversible.tracing.residual import FEWEST, Refused, Segment, additions, segments, stretch, view_of
from re2tal.reversible.tracing.tape import Tape, between, cut
from re2tal.reversible.tracing.tokens import tiling_of
from re2tal.reversible.trees import Ref, leaves, replace_leaves

__all__ = ["BlockSplit", "examined", "refuse_objects", "split"]


@dataclass(frozen=True)
class BlockSplit:
    """How a block computes what it returns."""

    branches: tuple[Branch, ...]
    output: Any
    """What it returns, with `Ref(0)` for the stream and `Ref(1 + i)` for its i-th further tensor argument."""
    any_shape: bool
    """Whether it holds for tensors of every shape."""
    before: Tape | None = None
    """What the module does to its input before the stream starts."""
    after: Tape | None = None
    """What it does to the stream before it returns."""
    looked_into: tuple[str, ...] = ("",)
    """Names of the modules whose own code the branches stand for, "" is the block: they are not called any more."""
    stored: str | None = None
    """Why its branches must not be run again in the backward pass; None: they may."""
    ignored: frozenset[tuple[str, str]] = frozenset()
    """(path, attribute) of plain values that its modules change whenever they are called."""

    @property
    def whole(self) -> bool:
        """Whether what the module is given and what it returns is the stream."""
        return self.before is None and self.after is None

    def entered(self, block: nn.Module, x: Tensor, args: Sequence[Tensor]) -> Tensor:
        """The start of the stream."""
        return x if self.before is None else self.before(block, x, *args)

    def returned(self, block: nn.Module, y: Tensor, args: Sequence[Tensor]) -> Any:
        """What the block returns, for the end of its stream and its arguments."""
        values = (y if self.after is None else self.after(block, y, *args), *args)
        return replace_leaves(self.output, lambda leaf: values[leaf.value] if isinstance(leaf, Ref) else leaf)


def split(recording: Recording, call: Call) -> BlockSplit:
    """The branches of a module.

    Raises:
        Refused: it is no residual block, or not one that can be taken apart.
    """
    start, end = recording.stream_of(call), recording.result_of(call)
    if start is None:
        raise Refused("it is given no tensor of floating-point numbers")
    refuse_objects((call.args, call.kwargs))
    if end is not None and (known := split_untraceable(call.module)) is not None:
        return BlockSplit(known.branches, _output(recording, call, start, end), any_shape=True)
    last = end if end is not None else next((v for v in call.outputs if recording.floating[v]), None)
    found = additions(view_of(recording, call), start, last) if last is not None else []
    if last is None or (end is None and len(found) < FEWEST):
        shapes = [recording.shapes[value] for value in call.outputs]
        what = f"{recording.shapes[start]} to {shapes[0]}" if shapes else "a tensor to none"
        raise Refused(f"it changes the shape, {what}")
    holding = _holding(recording, call, found)
    view = view_of(recording, call, expanded=holding)
    everything = segments(view, start, last)
    parts = everything[stretch(everything)]
    for look in view.looks:
        if look.kind == "values":
            raise Refused(f"its own code decides by the values of a tensor ({look.name})")
    any_shape = not any(look.kind == "shape" for look in view.looks)
    branches = []
    for index, part in enumerate(parts):
        if part.kind == "residual":
            tape = cut(view, parts, index)
            tiling = tiling_of(view, tape) if any_shape else None
            acts = bool(tape.activations)
            branches.append(
                Branch(call.module, tape, tape.uses, tiling, reads_args=bool(tape.given), ends_in_activation=acts)
            )
            if returns_streams(call.module, tape.uses):
                branches.append(empty_branch(call.module))
    return BlockSplit(
        tuple(branches),
        _output(recording, call, start, last),
        any_shape,
        before=between(view, start, parts[0].lower),
        after=between(view, parts[-1].upper, last),
        looked_into=_looked_into(recording, call, branches),
    )


def _looked_into(recording: Recording, call: Call, branches: Sequence[Branch]) -> tuple[str, ...]:
    """The modules that the block calls and its branches do not: additions are theirs, or they did nothing."""
    names = {id(module): name for name, module in call.module.named_modules()}
    within = [inner for inner in recording.calls() if call.start < inner.start < call.end]
    called = dict.fromkeys(names.get(id(inner.module), "") for inner in within)
    used = [name for branch in branches for name in branch.uses or ()]
    return ("", *(name for name in called if name and not any(f"{name}.".startswith(f"{use}.") for use in used)))


def refuse_objects(arguments: object) -> None:
    """Raise a Refused if a block is given an opaque object: what it holds, and whether it changes, nobody can tell."""
    for leaf in leaves(arguments):
        if not isinstance(leaf, Ref | Tensor) and not CallArguments.is_constant(leaf):
            raise Refused(
                f"it is given a {type(leaf).__name__}, which may change while it computes; if that is a cache, switch "
                "it off (use_cache=False)"
            )


def _holding(recording: Recording, call: Call, parts: Sequence[Segment]) -> set[int]:
    """`start` of the modules inside `call` in which its additions happen."""
    places = {recording.born[op.outputs[0]] for part in parts for op in part.spine}
    return {
        inner.start
        for inner in recording.calls()
        if call.start < inner.start < call.end and any(inner.start < place < inner.end for place in places)
    }


def _output(recording: Recording, call: Call, start: int, end: int) -> Any:
    further = list(call.inputs)
    further.remove(start)

    def named(leaf: object) -> object:
        if not isinstance(leaf, Ref):
            if isinstance(leaf, Tensor) or not CallArguments.is_constant(leaf):
                raise Refused(f"it returns a {type(leaf).__name__}")
            return leaf
        if leaf.value == end:
            return Ref(0)
        if leaf.value in further:
            return Ref(1 + further.index(leaf.value))
        raise Refused(f"it returns a second tensor, {recording.shapes[leaf.value]}, beside its stream")

    return replace_leaves(call.output, named)


# Does it compute what the block computes?


def examined(
    block: nn.Module, given: CallArguments, find: Callable[[], BlockSplit], *, hooked: bool
) -> BlockSplit | str:
    """How a block falls into branches, checked, or why it does not.

    Args:
        block: in the state in which it will compute.
        given: its arguments.
        find: gives its branches; may raise a `Refused`.
        hooked: whether modules inside have hooks, which it is run without.
    """
    try:
        return _check(block, find(), given, forward=own_forward(block), gradients=torch.is_grad_enabled())
    except Refused as reason:
        return str(reason)
    except Exception as error:
        if not hooked:
            raise
        return f"it cannot be run without the hooks of its modules ({type(error).__name__}: {error})"


_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3}


def _check(
    block: nn.Module, cut_up: BlockSplit, given: CallArguments, *, forward: Callable[..., Any], gradients: bool
) -> BlockSplit:
    """Compare the branches, put together again, with the block itself, and once more on other numbers.

    Args:
        block: as it will compute, in its present training mode.
        cut_up: its branches.
        given: its arguments in the example.
        forward: its own.
        gradients: compare those of the stream, too.

    Returns:
        `cut_up`, with the branches that need it told to compute with a graph.

    Raises:
        Refused: they differ.
    """
    effects = effects_of(block, lambda x, args: given.call_all(forward, x, args), given.stream, given.further)
    own = {*cut_up.looked_into, *(f"{name}." for name in cut_up.looked_into)}
    if effects.by is not None and effects.by in own:
        raise Refused(f"{effects.stored}, and its branches would not")
    if (counter := next((attribute for name, attribute in effects.ignored if name in own), None)) is not None:
        raise Refused(f"its own forward pass changes {counter}, and its branches would not")
    x, args = given.stream.detach(), [arg.detach() for arg in given.further]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
    other = x + 0.5 * x.std().nan_to_num() * noise
    comparisons: list[tuple[str, Tensor]] = []
    for start, parameters in (
        (x, nullcontext()),
        (other, with_parameters(block, partial(_other, generator=generator))),
    ):
        with parameters:
            try:
                plain = _outcome(block, start, lambda s: given.call(forward, s, args), gradients=gradients)
            except RuntimeError as error:
                raise Refused(f"it cannot be differentiated by itself ({error})") from error
            try:
                ours = _outcome(block, start, lambda s: _together(block, cut_up, s, args), gradients=gradients)
            except RuntimeError as error:
                raise Refused(f"its branches cannot be put together again ({error})") from error
        added_to = start if cut_up.whole else torch.zeros_like(plain[0])
        comparisons.append(("results", _agreement(plain[0], ours[0], added_to)))
        if gradients:
            comparisons.append(("gradients", _agreement(plain[1], ours[1], torch.zeros_like(start))))
    same_kernels = [_computes_the_same_with_a_graph(block, branch, cut_up, given) for branch in cut_up.branches]
    # A device is waited for whenever it is asked for values, so all are asked for at once.
    found = torch.stack([*(values for _, values in comparisons), *(s.float().expand(3) for s in same_kernels)]).tolist()
    for (what, _), (finite, alike, off) in zip(comparisons, found, strict=False):
        if not finite:
            raise Refused("what it gives for the example is not finite")
        if not alike:
            raise Refused(f"its branches, put together again, give other {what} than the block (off by {off:.0e})")
    told = [
        dataclasses.replace(b, needs_graph=b.needs_graph or not same)
        for b, (same, *_) in zip(cut_up.branches, found[len(comparisons) :], strict=True)
    ]
    return dataclasses.replace(cut_up, branches=tuple(told), stored=effects.stored, ignored=effects.ignored)


def _agreement(plain: Tensor, ours: Tensor, start: Tensor) -> Tensor:
    """How what a block gives agrees with what its branches give, put together again.

    Args:
        plain: of the block.
        ours: of the branches.
        start: what the block has added to, beside which that may be little.

    Returns:
        (3,) on the device: whether both are finite in the same places, whether nothing but rounding differs, and by
        how much they differ, relative.
    """
    if plain.shape != ours.shape:
        raise Refused(f"its branches, put together again, give {tuple(ours.shape)} instead of {tuple(plain.shape)}")
    finite = plain.isfinite()
    is_finite = finite.any() & (finite == ours.isfinite()).all()
    plain, ours, start = (tensor.masked_fill(~finite, 0) for tensor in (plain, ours, start))
    allowed = _TOLERANCES.get(plain.dtype, 5e-2) * (plain - start).norm()
    allowed += 64 * torch.finfo(plain.dtype).eps * plain.norm()
    difference = (plain - ours).norm()
    off = difference / plain.norm().clamp(min=1e-30)
    return torch.stack([is_finite.float(), (difference <= allowed).float(), off.float()])


def _other(p: Tensor, generator: torch.Generator) -> Tensor:
    """Another parameter: at zero, as many are initialised, it would hide what it multiplies."""
    if not p.is_floating_point():
        return p
    noise = torch.randn(p.shape, generator=generator).to(p.device, p.dtype)
    return nn.Parameter(p.detach() * (1 + 0.1 * noise) + 0.02 * noise, requires_grad=False)


def _outcome(
    block: nn.Module, x: Tensor, function: Callable[[Tensor], Tensor], *, gradients: bool
) -> tuple[Tensor, ...]:
    """The result for `x` and, if wanted, the gradient of its sum with fixed weights."""
    leaf = x.clone().requires_grad_(gradients)
    with isolated(block, x.device), torch.set_grad_enabled(gradients):
        y = function(leaf.clone())  # which may be written to
        if not gradients:
            return (y.detach(),)
        precise = torch.promote_types(y.dtype, torch.float32)
        weights = torch.linspace(-1, 1, y.numel(), device=y.device, dtype=precise).to(y).reshape(y.shape)
        (gradient,) = torch.autograd.grad((y * weights).sum(), leaf)
        return y.detach(), gradient


def _together(block: nn.Module, cut_up: BlockSplit, x: Tensor, args: Sequence[Tensor]) -> Tensor:
    """What the block gives, from its branches."""
    x = cut_up.entered(block, x, args)
    for branch in cut_up.branches:
        if isinstance(branch.function, Tape):
            x = branch.function.activate(block, x + branch.function.before_activation(block, x, *args))
        else:
            x = x + branch(x, *args)
    return x if cut_up.after is None else cut_up.after(block, x, *args)


def _computes_the_same_with_a_graph(
    block: nn.Module, branch: Branch, cut_up: BlockSplit, given: CallArguments
) -> Tensor:
    """Whether the same kernels are chosen where gradients are needed: a scalar on the device."""
    with isolated(block, given.stream.device), torch.no_grad():
        start = cut_up.entered(block, given.stream.detach(), [arg.detach() for arg in given.further])
    results = []
    for graph in (False, True):
        x = start.clone().requires_grad_(graph)
        args = [arg.detach().requires_grad_(graph and arg.requires_grad) for arg in given.further]
        with isolated(block, x.device), torch.set_grad_enabled(graph):
            results.append(branch(x, *args).detach())
    without, with_graph = results
    return (without == with_graph).all()
