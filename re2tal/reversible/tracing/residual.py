"""Where a module adds to its input: the stream, and what is added to it.

The stream runs through the values that every path from the module's input to its result passes (the dominators of the
result). Between one of these and the next, the module either adds something to it (a residual connection), or does
something else, of which only few things leave a residual block residual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from torch import nn
from torch.nn.modules import activation as activations

from re2tal.reversible.tracing.recording import Call, End, Op, Recording, TraceGuard
from re2tal.reversible.trees import Ref

__all__ = ["FEWEST", "Node", "Refused", "Segment", "View", "additions", "joins", "segments", "stretch", "view_of"]

Node = Op | Call
"""An operation, or the call of a module that is taken as a whole."""


class Refused(Exception):
    """Why a module cannot be rewired."""


@dataclass(frozen=True)
class Segment:
    """What happens between two points of the stream."""

    kind: Literal["residual", "move", "activation", "other"]
    """`upper = lower + sum(others)`, a permutation of the elements, a function of each element, or anything."""
    lower: int
    upper: int
    others: tuple[int, ...] = ()
    spine: tuple[Op, ...] = ()
    """The additions, outermost first."""
    reason: str = ""
    """Why it is no part of a residual block."""


@dataclass
class View:
    """A module's call as a graph, in which modules below it are looked into or taken as a whole."""

    recording: Recording
    call: Call
    nodes: list[Node]
    looks: list[TraceGuard]
    made: dict[int, Node]
    """The node that makes a value; missing for what comes from outside, or leaves a module on unseen ways."""
    unseen: set[int]
    """`start` of the modules that are looked into, and whose result was computed by other means than seen ones."""

    @cached_property
    def names(self) -> dict[int, str]:
        """Of the module's modules, by their identities."""
        return {id(module): name for name, module in self.call.module.named_modules(remove_duplicate=False)}

    def flowing(self, node: Node) -> tuple[int, ...]:
        """The inputs whose numbers matter to the node's result."""
        if isinstance(node, Op) and node.name in _LIKE_ANOTHER:
            return node.inputs[:1]
        if isinstance(node, Op) and (node.name.endswith("_like") or node.name.startswith("new_")):
            return ()
        return node.inputs

    def inside(self, value: int) -> bool:
        """Whether it is made while the module runs."""
        return self.recording.born[value] >= self.call.start


def view_of(recording: Recording, call: Call, *, expanded: set[int] | None = None) -> View:
    """The call as a graph.

    Args:
        recording: that it is part of.
        call: of a module.
        expanded: `start` of the calls to look into; None: all.
    """
    nodes: list[Node] = []
    looks: list[TraceGuard] = []
    unseen: set[int] = set()
    place = call.start + 1
    while place < call.end:
        event = recording.events[place]
        if isinstance(event, Call) and expanded is not None and event.start not in expanded:
            nodes.append(event)
            place = event.end
        elif isinstance(event, Op):
            nodes.append(event)
        elif isinstance(event, TraceGuard):
            looks.append(event)
        elif isinstance(event, End) and any(recording.born[value] == place for value in event.call.outputs):
            nodes.append(event.call)  # what it has computed by unseen means depends on all that it was given
            unseen.add(event.call.start)
        place += 1
    made: dict[int, Node] = {}
    for node in nodes:
        for value in node.outputs:
            if value not in made and value not in node.inputs and recording.born[value] >= call.start:
                made[value] = node
    return View(recording, call, nodes, looks, made, unseen)


_LIKE_ANOTHER = frozenset({"type_as", "view_as", "reshape_as", "expand_as", "to", "split_with_sizes_as"})
"""Of the second tensor they only want the type or shape."""


@dataclass(frozen=True)
class _Tree:
    """Of dominators: how deep below the input a value lies, and the last value that all paths to it pass."""

    depth: dict[int, int]
    above: dict[int, int]

    def common(self, a: int, b: int) -> int:
        while a != b:
            if self.depth[a] < self.depth[b]:
                a, b = b, a
            a = self.above[a]
        return a

    def path(self, top: int) -> list[int]:
        """The values that all paths to `top` pass, from the input on; none if no path leads there."""
        points = [top] if top in self.depth else []
        while points and points[-1] in self.above:
            points.append(self.above[points[-1]])
        return points[::-1]


def _dominators(view: View, start: int) -> _Tree:
    tree = _Tree({start: 0}, {})
    for node in view.nodes:
        inputs = view.flowing(node)
        reached = [value for value in inputs if value in tree.depth]
        if any(view.inside(value) and value not in view.made and value not in tree.depth for value in inputs):
            reached.append(start)  # nobody knows where that came from
        if not reached:
            continue
        common = reached[0]
        for value in reached[1:]:
            common = tree.common(common, value)
        for value in node.outputs:
            if value not in tree.depth and view.made.get(value) is node:
                tree.depth[value] = tree.depth[common] + 1
                tree.above[value] = common
    return tree


def additions(view: View, start: int, end: int) -> list[Segment]:
    """The residual connections among what happens between two values; what else happens does not matter."""
    tree = _dominators(view, start)
    found = (_residual(view, tree, lower, upper) for lower, upper in pairwise(tree.path(end)))
    return [segment for segment in found if segment is not None]


def joins(view: View, start: int, end: int) -> list[int]:
    """Values between two others at which an addition joins all paths, whatever is added."""
    tree = _dominators(view, start)
    terms = ((value, _terms(view.made.get(value))) for value in tree.path(end))
    return [value for value, found in terms if found and found[1] in tree.depth and found[2] in tree.depth]


def segments(view: View, start: int, end: int) -> list[Segment]:
    """All that happens to the stream between two values.

    Raises:
        Refused: one does not depend on the other.
    """
    tree = _dominators(view, start)
    if end not in tree.depth:
        raise Refused("its result does not depend on its input")
    pairs = pairwise(tree.path(end))
    return [_residual(view, tree, lower, upper) or _other(view, tree, lower, upper) for lower, upper in pairs]


FEWEST = 4
"""Additions in a row that make a chain in a module that does other things before or after them. In fewer, post-norm
blocks would be seen."""


def stretch(parts: Sequence[Segment]) -> slice:
    """The segments that make a chain: all, or many in a row.

    Raises:
        Refused: something stands between the additions.
    """
    added = [place for place, part in enumerate(parts) if part.kind == "residual"]
    if not added:
        raise Refused(next((part.reason for part in parts if part.kind == "other"), "it adds nothing to its input"))
    first, last = added[0], added[-1]
    strange = [place for place, part in enumerate(parts) if part.kind == "other"]
    strange += [place for place, part in enumerate(parts[:first]) if part.kind == "activation"]
    if not strange:
        return slice(0, len(parts))
    if len(added) < FEWEST or any(first < place < last for place in strange):
        inner = [place for place in strange if first < place < last] or strange
        raise Refused(parts[inner[0]].reason or "its stream passes an activation before anything is added")
    end = last + 1
    while end < len(parts) and parts[end].kind == "activation":
        end += 1
    return slice(first, end)


def _residual(view: View, tree: _Tree, lower: int, upper: int) -> Segment | None:
    ways = list(_spines(view, upper, lower))
    if len(ways) != 1:
        return None
    ((spine, others),) = ways
    shapes = view.recording.shapes
    if lower in others or any(shapes[value] != shapes[lower] for value in (*others, upper)):
        return None
    if not any(other in tree.depth for other in others):
        return None  # a constant
    return Segment("residual", lower, upper, others, spine)


def _spines(view: View, top: int, bottom: int) -> Iterator[tuple[tuple[Op, ...], tuple[int, ...]]]:
    """Ways from `top` down to `bottom` over additions alone: these, and what else they add, innermost first."""
    terms = _terms(view.made.get(top))
    if terms is None:
        return
    node, a, b = terms
    for near, other in ((a, b), (b, a)):
        if near == bottom:
            yield (node,), (other,)
        else:
            for spine, others in _spines(view, near, bottom):
                yield (node, *spine), (*others, other)


def _terms(node: Node | None) -> tuple[Op, int, int] | None:
    """Of a plain addition of two tensors."""
    if not isinstance(node, Op) or node.name not in ("add", "__add__", "__radd__", "add_", "__iadd__"):
        return None
    terms = [*node.args, *(node.kwargs[name] for name in ("input", "other") if name in node.kwargs)]
    if len(terms) != 2 or node.kwargs.get("alpha", 1) != 1 or node.kwargs.get("out") is not None:
        return None
    a, b = terms
    return (node, a.value, b.value) if isinstance(a, Ref) and isinstance(b, Ref) else None


# What else may happen to a stream

_MOVES = frozenset(
    {"view", "reshape", "permute", "transpose", "flatten", "unflatten", "contiguous", "swapaxes", "movedim", "squeeze"}
    | {"unsqueeze", "roll", "clone", "view_as", "reshape_as", "swapdims", "moveaxis", "T", "mT"}
)
_ACTIVATIONS = frozenset(
    {"relu", "relu_", "relu6", "hardtanh", "leaky_relu", "leaky_relu_", "elu", "celu", "selu", "gelu", "silu", "mish"}
    | {"hardswish", "tanh", "sigmoid", "softplus", "hardsigmoid", "sigmoid_", "tanh_", "elu_"}
)
_NO_ACTIVATIONS = (nn.MultiheadAttention, nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.Softmin, nn.GLU, nn.RReLU)


def _other(view: View, tree: _Tree, lower: int, upper: int) -> Segment:
    node = view.made[upper]
    if {value for value in view.flowing(node) if value in tree.depth} != {lower}:
        what = (
            "adds two paths, neither of which is its input as it is" if _terms(node) else f"joins paths by {node.name}"
        )
        return Segment("other", lower, upper, reason=what)
    if _moves(view, node):
        return Segment("move", lower, upper)
    if _is_activation(node):
        return Segment("activation", lower, upper)
    if "norm" in node.name.lower():
        what = f"{_named(node)} stands in its stream, behind or before the addition (post-norm)"
    else:
        what = f"its stream passes {_named(node)}, which is no residual connection"
    return Segment("other", lower, upper, reason=what)


def _moves(view: View, node: Node) -> bool:
    if isinstance(node, Call):
        if isinstance(node.module, nn.modules.dropout._DropoutNd):
            return not _drops(node.module)
        inside = [event for event in view.recording.events[node.start : node.end] if isinstance(event, Op)]
        return bool(inside) and all(_moves(view, op) for op in inside)
    if node.name == "dropout":
        return node.kwargs.get("training") is False or node.kwargs.get("p") == 0
    return node.name in _MOVES


def _drops(module: nn.Module) -> bool:
    return module.training and float(getattr(module, "p", 1)) > 0


def _is_activation(node: Node) -> bool:
    if isinstance(node, Op):
        return node.name in _ACTIVATIONS
    if isinstance(node.module, _NO_ACTIVATIONS) or any(True for _ in node.module.parameters()):
        return False
    return type(node.module).__module__ == activations.__name__ or "activation" in type(node.module).__module__


def _named(node: Node) -> str:
    return f"a {node.name}" if isinstance(node, Call) else node.name
