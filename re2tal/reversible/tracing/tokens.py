"""Branches that work on each token alone, and can be computed a few tokens at a time.

That is seen from the operations of the branch, whatever classes its modules are of: linear layers, norms over the
channels, functions of each element, sums over the channels. Drop path, which draws one number for every element of the
batch, is drawn once for the whole branch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from re2tal.reversible.tiles import Tile, Tiling, leading_boxes
from re2tal.reversible.tracing.recording import Call, Op, Recording
from re2tal.reversible.tracing.residual import View
from re2tal.reversible.tracing.tape import Tape, TapeStep
from re2tal.reversible.trees import Ref, leaves

__all__ = ["tiling_of"]

_ELEMENTWISE = frozenset(
    {"add", "sub", "mul", "div", "true_divide", "neg", "pow", "square", "sqrt", "rsqrt", "exp", "erf", "clamp"}
    | {"__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__", "__rtruediv__", "__pow__"}
    | {"__iadd__", "__imul__", "add_", "mul_", "relu", "relu_", "relu6", "gelu", "silu", "elu", "leaky_relu", "mish"}
    | {"sigmoid", "tanh", "hardswish", "hardsigmoid", "softplus", "clone", "contiguous", "view_as"}
    | {"float", "half", "bfloat16", "to", "type_as"}
)
_DROP_PATHS = ("DropPath", "StochasticDepth")


def tiling_of(view: View, tape: Tape) -> Tiling | None:
    """Tiles for the branch on `tape`; None if a token's result depends on other tokens, or nobody can tell."""
    sources = [(step, step.source) for step in tape.steps if step.source is not None]
    if tape.given or tape.after or tape.copies or not sources or len(tape.terms) != 1:
        return None
    recording = view.recording
    shape = recording.shapes[tape.terms[0]]
    if len(shape) < 3:
        return None
    drops = []
    elements = 0
    for step, node in sources:
        if _is_active_drop_path(node):
            assert isinstance(step.target, str)
            drops.append(step.target)
            continue
        for op in _ops(recording, node):
            if not _per_token(recording, op, shape):
                return None
            elements += sum(math.prod(recording.shapes[value]) for value in op.outputs)
    tokens = math.prod(shape[:-1])
    # The token and its gradient; what the operations hold, and gradients of that.
    bytes_per_token = math.ceil(4 * 2 * (shape[-1] + elements / tokens))
    own = _Tokens(tape, bytes_per_token, tuple(drops))
    return Tiling(own.prepare, own.tiles, own.compute)


@dataclass(frozen=True)
class _Tokens:
    tape: Tape
    bytes_per_token: int
    drops: tuple[str, ...]
    """Names of drop paths in the branch."""

    def prepare(self, owner: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        """The factors of drop path for every element of the batch."""
        ones = x.new_ones(x.shape[0], *(1 for _ in x.shape[1:]))
        return tuple(owner.get_submodule(name)(ones) for name in self.drops)

    def tiles(self, owner: nn.Module, shape: tuple[int, ...], limit: int) -> Sequence[Tile]:
        """Runs of tokens."""
        return [Tile(box, box) for box in leading_boxes(shape[:-1], max(limit // self.bytes_per_token, 1))]

    def compute(self, owner: nn.Module, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
        """The branch of a few tokens."""
        factors = {name: factor[tile.clips] for name, factor in zip(self.drops, prepared, strict=True)}
        if not factors:
            return self.tape(owner, x)
        return replace(self.tape, steps=tuple(_scaled(step, factors) for step in self.tape.steps))(owner, x)

    def __deepcopy__(self, memo: object) -> _Tokens:
        return self


def _scaled(step: TapeStep, factors: Mapping[str, Tensor]) -> TapeStep:
    """A drop path multiplies by what was drawn before."""
    if not isinstance(step.target, str) or step.target not in factors:
        return step
    return replace(step, target=_multiply, args=(step.args, factors[step.target]), kwargs={})


def _multiply(args: Any, factor: Tensor) -> Tensor:
    (x,) = (leaf for leaf in leaves(args) if isinstance(leaf, Tensor))
    return x * factor


def _is_active_drop_path(node: object) -> bool:
    return isinstance(node, Call) and node.name.endswith(_DROP_PATHS) and node.module.training


def _ops(recording: Recording, node: Op | Call) -> list[Op]:
    if isinstance(node, Op):
        return [node]
    return [event for event in recording.events[node.start : node.end] if isinstance(event, Op)]


def _per_token(recording: Recording, op: Op, shape: tuple[int, ...]) -> bool:
    """Whether the operation treats every token by itself: (..., C) -> (..., C')."""
    leading = len(shape) - 1
    inputs = [recording.shapes[value] for value in op.inputs]
    outputs = [recording.shapes[value] for value in op.outputs]
    if any(len(found) != len(shape) or found[:leading] != shape[:leading] for found in outputs):
        return False
    match op.name:
        case "linear":
            return inputs[0][:leading] == shape[:leading]
        case "layer_norm" | "rms_norm":
            return len(_argument(op, 1, "normalized_shape")) == 1
        case "dropout":
            return op.kwargs.get("training") is False or op.kwargs.get("p") == 0
        case "chunk" | "split" | "unbind":
            return _argument(op, 2, "dim") in (-1, leading)
        case "mean" | "sum" | "var" | "softmax":
            dims = _argument(op, 1, "dim")
            return dims in (-1, leading, (-1,), [-1], (leading,), [leading])
        case name if name in _ELEMENTWISE:
            return all(_spreads(found, shape[:leading]) for found in inputs)
        case _:
            return False


def _spreads(found: tuple[int, ...], leading: tuple[int, ...]) -> bool:
    """Whether a tensor has a value for every token, or the same for all."""
    return found[: len(leading)] == leading if len(found) > len(leading) else math.prod(found[:-1]) == 1


def _argument(op: Op, place: int, name: str) -> Any:
    value = op.args[place] if len(op.args) > place else op.kwargs.get(name)
    return value if not isinstance(value, Ref) else None
