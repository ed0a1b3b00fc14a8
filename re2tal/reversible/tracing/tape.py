"""A branch that was cut out of a module, played again on other tensors.

What is kept of the module's own code is the list of torch's functions and of its children that it called, with their
arguments. Children and parameters are looked up in the module at every call, so hooks, training modes, and parameters
that were exchanged since have their effect.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import takewhile
from typing import Any

from torch import Tensor, nn

from re2tal.reversible.tracing.recording import Call, Op
from re2tal.reversible.tracing.residual import Node, Refused, Segment, View
from re2tal.reversible.trees import Ref, leaves, replace_leaves

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
    source: Node | None = field(default=None, compare=False, repr=False)
    """What was recorded; None where nothing is computed."""

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
class Passage:
    """A step that takes a stream, and nothing else, and gives it on."""

    lower: int
    step: TapeStep
    upper: int

    def run(self, owner: nn.Module, x: Tensor) -> Tensor:
        """The stream behind it."""
        values: dict[int, Any] = {self.lower: x}
        self.step.run(owner, values)
        result: Tensor = values[self.upper]
        return result


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
    after: tuple[Passage, ...] = ()
    """What brings the result into the order of `x`."""
    activations: tuple[Passage, ...] = ()
    """What the module applies after its addition."""
    copies: bool = False
    """Whether `x` is written to."""

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
        total: Tensor = reduce(operator.add, (values[term] for term in self.terms))
        return reduce(lambda x, passage: passage.run(owner, x), self.after, total)

    def activate(self, owner: nn.Module, x: Tensor) -> Tensor:
        """What the module does to the sum."""
        return reduce(lambda x, passage: passage.run(owner, x), self.activations, x)

    def __deepcopy__(self, memo: object) -> Tape:
        return self  # it never changes, and finds modules by their names

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of the children and parameters that it runs through."""
        steps = (*self.steps, *(passage.step for passage in (*self.after, *self.activations)))
        called = (step.target for step in steps if isinstance(step.target, str))
        return tuple(dict.fromkeys((*called, *(name for _, name in self.held))))


def _attribute(owner: nn.Module, name: str) -> object:
    parent, _, last = name.rpartition(".")
    return getattr(owner.get_submodule(parent), last)


def cut(view: View, parts: Sequence[Segment], index: int) -> Tape:
    """The branch that segment `index` of the stream adds.

    Raises:
        Refused: it cannot be told what it needs.
    """
    segment, behind = parts[index], parts[index + 1 :]
    # Before the branch the stream only moves: what is added to it does not matter here.
    before = [_passage(view, part).step if part.kind == "move" else _nothing(part) for part in parts[:index]]
    nodes, outside = _needed(view, segment.others, stop=segment.lower)
    written = {value for node in nodes for value in _written(view, node)}
    to_the_next = takewhile(lambda part: part.kind != "residual", behind)
    return Tape(
        steps=_forgetting([*before, *(_step(view, node) for node in nodes)], keep=segment.others),
        stream=parts[0].lower,
        **_sources(view, outside),
        terms=segment.others,
        after=tuple(_passage(view, part) for part in behind if part.kind == "move"),
        activations=tuple(_passage(view, part) for part in to_the_next if part.kind == "activation"),
        copies=bool(written & {part.lower for part in parts[: index + 1]}),
    )


def between(view: View, lower: int, upper: int) -> Tape | None:
    """What leads from one value to another that depends on the input through it alone; None if they are the same.

    Raises:
        Refused: it cannot be told what it needs.
    """
    if lower == upper:
        return None
    nodes, outside = _needed(view, (upper,), stop=lower)
    steps = _forgetting([_step(view, node) for node in nodes], keep=(upper,))
    return Tape(steps, lower, **_sources(view, outside), terms=(upper,))


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


def _passage(view: View, part: Segment) -> Passage:
    """What a segment does to the stream."""
    step = _step(view, view.made[part.upper])
    if any(value != part.lower for value in _values_in(step)):
        raise Refused(f"{view.made[part.upper].name} in its stream is given another tensor")
    return Passage(part.lower, step, part.upper)


def _nothing(part: Segment) -> TapeStep:
    """Leaves the stream as it is."""
    return TapeStep(_itself, (Ref(part.lower),), {}, ((0, part.upper),))


def _itself(x: Tensor) -> Tensor:
    return x


def _step(view: View, node: Node) -> TapeStep:
    if isinstance(node, Op):
        return TapeStep(node.function, node.args, node.kwargs, node.results, node.changed, source=node)
    name = view.names.get(id(node.module))
    if not name:
        raise Refused(f"it calls a {node.name} that is not one of its modules")
    results = tuple((place, leaf.value) for place, leaf in enumerate(leaves(node.output)) if isinstance(leaf, Ref))
    return TapeStep(name, node.args, node.kwargs, results, source=node)


def _values_in(step: TapeStep) -> list[int]:
    """That it is given."""
    return [leaf.value for leaf in leaves((step.args, step.kwargs)) if isinstance(leaf, Ref)]


def _forgetting(steps: Sequence[TapeStep], *, keep: Sequence[int]) -> tuple[TapeStep, ...]:
    """Steps that compute the same, each of which drops what it is the last to need."""
    seen = set(keep)
    result = []
    for step in reversed(steps):
        touched = [*_values_in(step), *(value for _, value in (*step.results, *step.changed))]
        last = tuple(value for value in dict.fromkeys(touched) if value not in seen)
        seen.update(touched)
        result.append(replace(step, last=last))
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


def _sources(view: View, outside: Iterable[int]) -> dict[str, Any]:
    """Where what is not computed in the module comes from: its arguments, its parameters and buffers, or nowhere.

    Returns:
        `given`, `held` and `constants` of a tape.
    """
    recording = view.recording
    arguments = list(view.call.inputs)
    arguments.remove(recording.stream_of(view.call) or 0)
    given, held, constants = [], [], {}
    for value in outside:
        holders = [(module, name) for module, name in recording.held.get(value, ()) if id(module) in view.names]
        if value in arguments:
            given.append((value, arguments.index(value)))
        elif holders:
            module, name = holders[0]
            held.append((value, f"{view.names[id(module)]}.{name}".lstrip(".")))
        elif value in recording.external and not recording.external[value].requires_grad:
            constants[value] = recording.external[value]
        else:
            raise Refused("it computes with a tensor that is neither given to it nor its own")
    return {"given": tuple(given), "held": tuple(held), "constants": constants}
