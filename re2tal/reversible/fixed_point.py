"""Streams as fixed-point numbers, so that what was added can be taken away bit for bit.

Adding rounds in floating point, and `(u + f) - f` is not `u`. Integers do not round: a stream is held as multiples of a
power of two, in as many bytes as before, and a branch's result is rounded to such a multiple before it is added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from re2tal.reversible.devices import traits_of
from re2tal.reversible.dr2net import Coefficients

__all__ = [
    "FixedPoint",
    "Link",
    "NonFiniteStreamError",
    "Pair",
    "Stream",
    "StreamOverflowError",
    "add",
    "difference",
    "magnitude",
    "most_headroom",
    "values_of",
]

_INTEGERS = {torch.float64: (torch.int64, 62), torch.float32: (torch.int32, 30)}
"""For each type of values: the integers that hold them, and the bits of the largest magnitude, one short of all: the
sum of two such numbers does not wrap."""

_FINEST = 96
"""Most bits behind the point: 2 ** 96 and its inverse are numbers in float32."""

_FEWEST_BITS = 18
"""Of the largest value that streams start with; with fewer, rounding would be seen."""


def values_of(dtype: torch.dtype) -> torch.dtype:
    """The floating-point type that streams stand for, which start with numbers of `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def most_headroom(device: torch.device) -> int:
    """How many times a stream may double in the coarsest format of use."""
    widest = torch.float64 if traits_of(device).has_float64 else torch.float32
    return _INTEGERS[widest][1] - _FEWEST_BITS


class StreamOverflowError(OverflowError):
    """A stream, or what a branch adds to it, is larger than its fixed-point format can hold."""


class NonFiniteStreamError(ArithmeticError):
    """A stream, or what a branch adds to it, is not finite: no integer stands for that."""


def _values_with(values: torch.dtype, headroom: int) -> torch.dtype:
    """What stands for them with such a headroom: the integers are wider where too few bits would be left."""
    return values if headroom <= _INTEGERS[values][1] - _FEWEST_BITS else torch.float64


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A format: multiples of a power of two, `1 / scale`, which is found on the device, so that nobody waits for it."""

    scale: Tensor
    """Steps in 1.0: a power of two, as a scalar."""
    inverse: Tensor
    """Of `scale`."""
    values: torch.dtype
    """The floating-point type of what the integers stand for."""

    @staticmethod
    def around(x: Tensor, *, headroom: int) -> FixedPoint:
        """The finest format that holds `2 ** headroom` times the largest magnitude of what streams start with."""
        values = _values_with(values_of(x.dtype), headroom)
        found = magnitude(x.detach())
        largest = torch.stack(found).abs().amax().to(values) if found else x.new_zeros((), dtype=values)
        bits = _INTEGERS[values][1] - headroom - torch.frexp(largest).exponent
        bits = bits.clamp(-_FINEST, _FINEST)
        return FixedPoint(_power_of_two(bits, values), _power_of_two(-bits, values), values)

    def coarser(self, by: int, *, headroom: int) -> FixedPoint:
        """One that holds `2 ** by` times as much, `2 ** headroom` times the largest of the start."""
        values = _values_with(self.values, headroom)
        more = _INTEGERS[values][1] - _INTEGERS[self.values][1] - by
        return FixedPoint(self.scale.to(values) * 2.0**more, self.inverse.to(values) * 2.0**-more, values)

    def check(self, *found: Tensor) -> None:
        """See whether all numbers were right; a device is waited for.

        Args:
            found: magnitudes of streams and of what was added, in steps; see `magnitude`.

        Raises:
            StreamOverflowError: something has grown past the format.
            NonFiniteStreamError: something was not a number, or infinite.
        """
        share = float(self.share(*found))
        if not math.isfinite(share):
            raise NonFiniteStreamError(f"a stream grew to {share}")
        if share > 1:
            raise StreamOverflowError(f"a stream grew to {share:.3g} times what its format holds")

    def share(self, *found: Tensor) -> Tensor:
        """The largest of what was found, of what the format holds: a scalar on the device."""
        kinds = {kind: [one for one in found if one.dtype == kind] for kind in {one.dtype for one in found}}
        largest = torch.stack([torch.stack(ones).to(self.values).abs().amax() for ones in kinds.values()])
        return largest.amax() * 2.0 ** -_INTEGERS[self.values][1]

    def steps(self, x: Tensor) -> Tensor:
        """Values, of any floating type, to whole numbers of steps, as floating-point numbers."""
        return (x * self.scale if x.dtype == self.values else x.to(self.values).mul_(self.scale)).round_()

    def integers(self, steps: Tensor) -> Tensor:
        """Whole numbers of steps as integers. What no integer stands for becomes another number, always the same one:
        it can be taken away again, and `check` tells."""
        return steps.to(_INTEGERS[self.values][0])

    def read(self, stream: Tensor) -> Tensor:
        """What a stream stands for, as new floating-point numbers."""
        if stream.is_cpu:  # which would make a copy first, and then another tensor
            return stream.to(self.values).mul_(self.inverse)
        return stream * self.inverse

    def read_out(self, u: Tensor, v: Tensor, coefficients: Coefficients) -> Tensor:
        """What a pair of streams stands for, as new floating-point numbers."""
        return self.read(u).mul_(coefficients.beta).add_(self.read(v)).div_(1 + coefficients.beta)


def _power_of_two(exponent: Tensor, values: torch.dtype) -> Tensor:
    """Exactly; by the bits that a floating-point number has for its exponent."""
    if values == torch.float64:
        return ((exponent.to(torch.int64) + 1023) << 52).view(values)
    return ((exponent.to(torch.int32) + 127) << 23).view(values)


def magnitude(numbers: Tensor) -> list[Tensor]:
    """Scalars, the largest of whose magnitudes is that of `numbers`; nan if one of these is."""
    if numbers.numel() == 0:
        return []
    if (
        numbers.is_floating_point() and not numbers.is_cpu
    ):  # where it is one kernel; a processor takes six times as long
        return [torch.linalg.vector_norm(numbers, math.inf)]
    return list(torch.aminmax(numbers))


def difference(v: Tensor, w: Tensor) -> Tensor:
    """The largest difference of two streams relative to the largest value, part by part: no other stream fits in."""
    zero = torch.zeros((), dtype=torch.float32 if v.dtype == torch.int32 else torch.float64, device=v.device)
    difference = largest = zero
    size = 2**20 if v.is_cpu else 2**26
    for a, b in zip(torch.split(v.flatten(), size), torch.split(w.flatten(), size), strict=True):
        if a.numel():
            difference = torch.maximum(difference, (a - b).abs_().amax())
            largest = torch.maximum(largest, a.abs().amax())
    return difference / largest.clamp(min=1)


@dataclass(frozen=True)
class Stream:
    """A stream that autograd sees."""

    values: Tensor
    """What it stands for, with a graph."""
    steps: Tensor | None
    """The integers; None for a stream in floating point."""


@dataclass(frozen=True)
class Pair:
    """Both streams between two branches, as plain autograd has them."""

    u: Stream
    v: Stream
    format: FixedPoint | None
    """None: in floating point."""

    @staticmethod
    def start(x: Tensor, format: FixedPoint | None) -> Pair:
        """Both streams begin with `x`."""
        stream = _stream(x.to(values_of(x.dtype)), format)
        return Pair(stream, stream, format)

    def recast(self, format: FixedPoint | None) -> Pair:
        """A pair of the same values in another format."""
        return Pair(_stream(self.u.values, format), _stream(self.v.values, format), format)


def _stream(x: Tensor, format: FixedPoint | None) -> Stream:
    if format is None:
        return Stream(x, None)
    steps = format.steps(x.detach())
    format.check(*magnitude(steps))
    integers = format.integers(steps)
    return Stream(_Straight.apply(format.read(integers), (1.0,), x), integers)


def add(pair: Pair, f: Tensor, coefficients: Coefficients) -> Pair:
    """`(u, v) -> (v, beta * u + alpha * v + f)`; in fixed point each term is rounded, and gradients pass as it is.

    Raises:
        StreamOverflowError: the format does not hold the sum.
        NonFiniteStreamError: a term is not finite.
    """
    u, v, format = pair.u, pair.v, pair.format
    if format is None:
        return Pair(v, Stream(coefficients.combine(u.values, v.values, f), None), None)
    assert u.steps is not None and v.steps is not None
    steps = format.steps(f.detach())
    stream = u.steps.clone()
    coefficients.mix(stream, v.steps, keep=False)
    found = [*magnitude(steps), *(magnitude(stream) if coefficients.alpha else ())]
    stream += format.integers(steps)
    format.check(*found, *magnitude(stream))
    values = _Straight.apply(format.read(stream), coefficients.weights, u.values, v.values, f)
    return Pair(v, Stream(values, stream), format)


class Link:
    """Between what is read out of a stored pair and the pair as the next block has it.

    What goes on is the tensor that was read out: whoever looks at it, or changes it, has his way with the gradient of
    everything behind. As in `streams`, that is the sum of the gradients of both streams, which wait here.
    """

    def __init__(self, *, crosses_passes: bool = False) -> None:
        self.crosses_passes = crosses_passes
        """A backward pass inside of another leaves gradients for that."""
        self.task = -1
        self.du: Tensor | None = None
        self.dv: Tensor | None = None

    def is_waiting(self) -> bool:
        """Whether gradients of this backward pass wait here."""
        return self.du is not None and (self.crosses_passes or self.task == torch._C._current_graph_task_id())

    def read_out(self, pair: Pair, dtype: torch.dtype, coefficients: Coefficients) -> Tensor:
        """What a chain gives that ends here."""
        result: Tensor = _ReadOut.apply(self, coefficients, dtype, pair.u.values, pair.v.values)
        return result

    def go_on(self, pair: Pair, y: Tensor) -> Pair:
        """The pair that `y` was read out of."""
        u, v = _GoOn.apply(self, y, pair.u.values.detach(), pair.v.values.detach())
        return Pair(Stream(u, pair.u.steps), Stream(v, pair.v.steps), pair.format)


class _ReadOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, link: Link, coefficients: Coefficients, dtype: torch.dtype, u: Tensor, v: Tensor) -> Tensor:
        ctx.link, ctx.shares, ctx.values = link, coefficients.shares, v.dtype
        y = coefficients.read_out(u, v).to(dtype)
        return y.clone() if y is v else y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        link: Link = ctx.link
        dy = dy.to(ctx.values)
        if not link.is_waiting() or link.du is None or link.dv is None:
            return None, None, None, *(dy * share for share in ctx.shares)
        du, dv = link.du, link.dv
        link.du = link.dv = None
        rest = dy - (du + dv)
        return None, None, None, du + ctx.shares[0] * rest, dv + ctx.shares[1] * rest


class _GoOn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, link: Link, y: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        ctx.link, ctx.dtype = link, y.dtype
        return u.clone(), v.clone()

    @staticmethod
    def backward(ctx: Any, du: Tensor, dv: Tensor) -> tuple[Tensor | None, ...]:
        link: Link = ctx.link
        if not link.is_waiting() or link.du is None or link.dv is None:
            link.task, link.du, link.dv = torch._C._current_graph_task_id(), du, dv
        else:
            link.du, link.dv = link.du + du, link.dv + dv
        return None, (du + dv).to(ctx.dtype), None, None


class _Straight(torch.autograd.Function):
    """The first argument's value, whose gradient goes to each of the terms, times its weight."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, weights: Sequence[float], *terms: Tensor) -> Tensor:
        ctx.weights, ctx.dtypes = weights, [term.dtype for term in terms]
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        terms = zip(ctx.weights, ctx.dtypes, strict=True)
        return None, None, *((gradient * weight).to(dtype) if weight else None for weight, dtype in terms)
