"""A branch that was cut out of a module, played again on other tensors.

What is kept of the module's own code is the list of torch's functions and of its children that it called, with their
arguments. Children and parameters are looked up in the module at every call, so hooks, training modes, and parameters
that were exchanged since have their effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from torch import Tensor, nn

from re2tal.reversible.tracing.recording import Call, Op
from re2tal.reversible.tracing.residual import Node, Refused, Segment, View
from re2tal.reversible.tracing.trees import Ref, leaves, replace_leaves

__all__ = ["TapeStep", "Tape", "between", "cut"]


@dataclass(frozen=True)
class TapeStep:
    """One call of a function, or of a child by its name."""

    target: Callable[..., Any] | str
    args: Any
    kwargs: Any
    results: tuple[tuple[int, int], ...]
    """(place among the leaves of the result, value)"""
    changed: tuple[tuple[int, int], ...] = ()
    """(place among the leaves of the arguments, value)"""
    last: tuple[int, ...] = ()
    """Values that nothing needs afterwards."""

    def run(self, owner: nn.Module, values: dict[int, Any]) -> None:
        """Take the arguments from `values` and put the results there."""
        args, kwargs = replace_leaves(
            (self.args, self.kwargs), lambda leaf: values[leaf.value] if isinstance(leaf, Ref) else leaf
        )
        function = owner.get_submodule(self.target) if isinstance(self.target, str) else self.target
        result = function(*args, **kwargs)
        if self.results:
            found = list(leaves(result))
            for place, value in self.results:
                values[value] = found[place]
        if self.changed:
            given = list(leaves((args, kwargs)))
            for place, value in self.changed:
                values[value] = given[place]
        for value in self.last:
            del values[value]


@dataclass(frozen=True)
class Tape:
    """`tape(owner, x, *args)` is a residual branch of the module `owner`."""

    steps: tuple[TapeStep, ...]
    stream: int
    """The value that `x` takes."""
    given: tuple[tuple[int, int], ...]
    """(value, place among `args`)"""
    held: tuple[tuple[int, str], ...]
    """(value, name of the parameter or buffer)"""
    constants: Mapping[int, Tensor]
    terms: tuple[int, ...]
    """Their sum is the branch's result."""
    after: tuple[TapeStep, ...]
    """What brings the result into the order of `x`; each takes the value `terms[0]` and makes it anew."""
    activations: tuple[TapeStep, ...]
    """What the module applies after its addition; each takes the value `terms[0]` and makes it anew."""
    copies: bool
    """Whether `x` is written to."""
    sources: tuple[Node, ...] = field(compare=False, repr=False, default=())

    def __call__(self, owner: nn.Module, x: Tensor, *args: object) -> Tensor:
        return self.activate(owner, self.before_activation(owner, x, *args))

    def before_activation(self, owner: nn.Module, x: Tensor, *args: object) -> Tensor:
        """What the module adds to its input."""
        values: dict[int, Any] = {self.stream: x.clone() if self.copies else x}
        values.update((value, args[place]) for value, place in self.given)
        values.update((value, _attribute(owner, name)) for value, name in self.held)
        values.update(self.constants)
        for step in self.steps:
            step.run(owner, values)
        total = reduce(lambda a, b: a + b, (values[term] for term in self.terms))
        return self._along(self.after, owner, total)

    def activate(self, owner: nn.Module, x: Tensor) -> Tensor:
        """What the module does to the sum."""
        return self._along(self.activations, owner, x)

    def _along(self, steps: Sequence[TapeStep], owner: nn.Module, x: Tensor) -> Tensor:
        values: dict[int, Any] = {self.terms[0]: x}
        for step in steps:
            step.run(owner, values)
        result: Tensor = values[self.terms[0]]
        return result

    def __deepcopy__(self, memo: object) -> Tape:
        return self  # it never changes, and finds modules by their names

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of the children and parameters that it runs through."""
        steps = (*self.steps, *self.after, *self.activations)
        return tuple(dict.fromkeys([s.target for s in steps if isinstance(s.target, str)] + [n for _, n in self.held]))


def _attribute(owner: nn.Module, name: str) -> object:
    parent, _, last = name.rpartition(".")
    return getattr(owner.get_submodule(parent), last)


def cut(view: View, parts: Sequence[Segment], index: int) -> Tape:
    """The branch that segment `index` of the stream adds.

    Raises:
        Refused: it cannot be told what it needs.
    """
    segment = parts[index]
    names = _names(view)
    nodes, outside = _needed(view, segment.others, stop=segment.lower)
    steps = [_step(node, names) for node in nodes]
    # Before the branch the stream only moves: what is added to it does not matter here.
    moves, stream = _moves(view, parts[:index], names, start=parts[0].lower)
    if stream != segment.lower:
        steps = [_renamed(step, {segment.lower: stream}) for step in steps]
    terms = tuple(stream if value == segment.lower else value for value in segment.others)
    behind = parts[index + 1 :]
    after = [part for part in behind if part.kind == "move"]
    acting = _before_the_next(behind)
    written = {value for node in nodes for value in _written(view, node)}
    given, held, constants = _sources(view, outside, names)
    return Tape(
        steps=_forgetting([*moves, *steps], keep=terms),
        stream=parts[0].lower,
        given=given,
        held=held,
        constants=constants,
        terms=terms,
        after=tuple(_in_place_of(view, part, names, terms[0]) for part in after),
        activations=tuple(_in_place_of(view, part, names, terms[0]) for part in acting),
        copies=bool(written & {stream, segment.lower, parts[0].lower}),
        sources=tuple(nodes),
    )


def between(view: View, lower: int, upper: int) -> Tape | None:
    """What leads from one value to another that depends on the input through it alone; None if they are the same.

    Raises:
        Refused: it cannot be told what it needs.
    """
    if lower == upper:
        return None
    names = _names(view)
    nodes, outside = _needed(view, (upper,), stop=lower)
    given, held, constants = _sources(view, outside, names)
    return Tape(
        steps=_forgetting([_step(node, names) for node in nodes], keep=(upper,)),
        stream=lower,
        given=given,
        held=held,
        constants=constants,
        terms=(upper,),
        after=(),
        activations=(),
        copies=False,
    )


def _names(view: View) -> dict[int, str]:
    return {id(module): name for name, module in view.call.module.named_modules(remove_duplicate=False)}


def _needed(view: View, wanted: Sequence[int], *, stop: int) -> tuple[list[Node], dict[int, None]]:
    """The nodes that lead to the wanted values from `stop`, in order, and the values from outside that they need."""
    needed = set[int]()
    places = {id(node): place for place, node in enumerate(view.nodes)}
    waiting, outside = list(wanted), dict[int, None]()
    while waiting:
        value = waiting.pop()
        if value == stop:
            continue
        node = view.made.get(value)
        if node is None:
            outside[value] = None
        elif places[id(node)] not in needed:
            needed.add(places[id(node)])
            waiting += node.inputs
    nodes = [view.nodes[place] for place in sorted(needed)]
    if any(isinstance(node, Call) and node.start in view.unseen for node in nodes):
        raise Refused("it computes by means that cannot be followed")
    return nodes, outside


def _before_the_next(behind: Sequence[Segment]) -> list[Segment]:
    """The activations up to the next addition."""
    acting = []
    for part in behind:
        if part.kind == "residual":
            break
        if part.kind == "activation":
            acting.append(part)
    return acting


def _moves(view: View, parts: Sequence[Segment], names: dict[int, str], *, start: int) -> tuple[list[TapeStep], int]:
    """The steps that move the stream, and the value it then has."""
    steps, current = [], start
    for part in parts:
        if part.kind == "move":
            steps.append(_renamed(_step(view.made[part.upper], names), {part.lower: current}))
            current = part.upper
    return steps, current


def _in_place_of(view: View, part: Segment, names: dict[int, str], value: int) -> TapeStep:
    """The step that a segment of the stream takes, on `value`."""
    step = _renamed(_step(view.made[part.upper], names), {part.lower: value, part.upper: value})
    outside = [leaf.value for leaf in leaves((step.args, step.kwargs)) if isinstance(leaf, Ref) and leaf.value != value]
    if outside:
        raise Refused(f"{view.made[part.upper].name} in its stream is given another tensor")
    return step


def _step(node: Node, names: dict[int, str]) -> TapeStep:
    if isinstance(node, Op):
        return TapeStep(node.function, node.args, node.kwargs, node.results, node.changed)
    name = names.get(id(node.module))
    if not name:
        raise Refused(f"it calls a {node.name} that is not one of its modules")
    results = tuple((place, leaf.value) for place, leaf in enumerate(leaves(node.output)) if isinstance(leaf, Ref))
    return TapeStep(name, node.args, node.kwargs, results)


def _renamed(step: TapeStep, names: Mapping[int, int]) -> TapeStep:
    def renamed(leaf: object) -> object:
        return Ref(names.get(leaf.value, leaf.value)) if isinstance(leaf, Ref) else leaf

    args, kwargs = replace_leaves((step.args, step.kwargs), renamed)
    results, changed = (
        tuple((place, names.get(value, value)) for place, value in pairs) for pairs in (step.results, step.changed)
    )
    return TapeStep(step.target, args, kwargs, results, changed)


def _forgetting(steps: Sequence[TapeStep], *, keep: Sequence[int]) -> tuple[TapeStep, ...]:
    """Steps that compute the same, each of which drops what it is the last to need."""
    seen = set(keep)
    result = []
    for step in reversed(steps):
        touched = [leaf.value for leaf in leaves((step.args, step.kwargs)) if isinstance(leaf, Ref)]
        touched += [value for _, value in (*step.results, *step.changed)]
        last = tuple(value for value in dict.fromkeys(touched) if value not in seen)
        seen.update(touched)
        result.append(TapeStep(step.target, step.args, step.kwargs, step.results, step.changed, last))
    return tuple(reversed(result))


def _written(view: View, node: Node) -> list[int]:
    """The values that a node writes to, before it does."""
    ops = [node] if isinstance(node, Op) else view.recording.events[node.start : node.end]
    found = []
    for op in ops:
        if isinstance(op, Op) and op.changed:
            given = list(leaves((op.args, op.kwargs)))
            found += [leaf.value for place, _ in op.changed if isinstance(leaf := given[place], Ref)]
    return found


def _sources(
    view: View, outside: Mapping[int, None], names: dict[int, str]
) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, str], ...], dict[int, Tensor]]:
    """Where what is not computed in the module comes from: its arguments, its parameters and buffers, or nowhere."""
    recording = view.recording
    stream = recording.stream_of(view.call)
    arguments = [value for place, value in enumerate(view.call.inputs) if place != view.call.inputs.index(stream or 0)]
    given, held, constants = [], [], {}
    for value in outside:
        holders = [(module, name) for module, name in recording.held.get(value, ()) if id(module) in names]
        if value in arguments:
            given.append((value, arguments.index(value)))
        elif holders:
            module, name = holders[0]
            held.append((value, f"{names[id(module)]}.{name}".lstrip(".")))
        elif value in recording.external and not recording.external[value].requires_grad:
            constants[value] = recording.external[value]
        else:
            raise Refused("it computes with a tensor that is neither given to it nor its own")
    return tuple(given), tuple(held), constants
