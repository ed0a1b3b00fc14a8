"""Streams on a fixed grid, so that what was added can be taken away bit for bit.

Adding rounds in floating point, and `(u + f) - f` is not `u`. Whole numbers do not round: a stream is held as multiples
of a power of two, in as many bytes as before, and a branch's result is rounded to the grid before it is added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from re2tal.reversible.coefficients import Coefficients

__all__ = ["Grid", "GridOverflowError", "add_on_grid", "most_headroom", "put_on_grid"]

_INTEGERS = {torch.float64: (torch.int64, 62), torch.float32: (torch.int32, 30)}
"""For each type of values: the integers that hold them, and the bits of the largest magnitude, one short of all: the
sum of two such numbers does not wrap."""


_FINEST = 96
"""Most bits behind the point: 2 ** 96 and its inverse are numbers in float32."""


_FEWEST_BITS = 6
"""Of the largest value; with fewer, rounding would be seen."""


def most_headroom(x: Tensor) -> int:
    """How many times a stream that starts with `x` may double on the coarsest grid that is of use."""
    return _INTEGERS[_values_of(x)][1] - _FEWEST_BITS


def _values_of(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class GridOverflowError(OverflowError):
    """A stream, or what a branch adds to it, is larger than the grid can hold."""


@dataclass(frozen=True)
class Grid:
    """Multiples of `2 ** -bits`."""

    bits: int
    values: torch.dtype
    """The floating-point type in which branches compute."""

    @staticmethod
    def around(x: Tensor, *, headroom: int) -> Grid:
        """The finest grid that holds what is up to `2 ** headroom` times as large as the largest value of `x`."""
        values = _values_of(x)
        largest = float(x.detach().abs().amax()) if x.numel() else 0.0
        exponent = math.frexp(largest)[1] if math.isfinite(largest) else 0
        return Grid(bits=min(_INTEGERS[values][1] - headroom - exponent, _FINEST), values=values)

    def check(self, largest: Tensor) -> None:
        """Raise a GridOverflowError if something has grown past the grid.

        Args:
            largest: magnitude of streams and of what was added, in steps. Not a number, or infinite, is no matter of
                the grid.
        """
        limit = 2.0 ** _INTEGERS[self.values][1]
        if limit <= (found := float(largest)) < math.inf:
            raise GridOverflowError(f"a stream grew to {found:.3g} steps of a grid that holds {limit:.3g}")

    def steps(self, x: Tensor) -> Tensor:
        """Values, of any floating type, to whole numbers of steps, as floating-point numbers of the grid's type."""
        return x.to(self.values, copy=True).mul_(2.0**self.bits).round_()

    def stream(self, steps: Tensor) -> Tensor:
        """Whole numbers of steps as integers."""
        return steps.to(_INTEGERS[self.values][0])

    def read(self, stream: Tensor) -> Tensor:
        """What a stream stands for, as new floating-point numbers."""
        return stream.to(self.values).mul_(2.0**-self.bits)

    def read_out(self, u: Tensor, v: Tensor, coefficients: Coefficients) -> Tensor:
        """What a pair of streams stands for, as new floating-point numbers."""
        return self.read(u).mul_(coefficients.beta).add_(self.read(v)).div_(1 + coefficients.beta)


@dataclass(frozen=True)
class GridStream:
    """A stream of a chain that autograd sees."""

    steps: Tensor
    """Integers."""
    values: Tensor
    """What they stand for, with a graph."""


def put_on_grid(x: Tensor, grid: Grid) -> GridStream:
    """`x` rounded to the grid; the gradient passes as it is."""
    steps = grid.steps(x.detach())
    grid.check(steps.abs().amax() if steps.numel() else steps.new_zeros(()))
    stream = grid.stream(steps)
    return GridStream(stream, _Straight.apply(grid.read(stream), (1.0,), x))


def add_on_grid(u: GridStream, v: GridStream, f: Tensor, grid: Grid, coefficients: Coefficients) -> GridStream:
    """`beta * u + alpha * v + f`, each term rounded to the grid; the gradients pass as if it were not."""
    steps = grid.steps(f.detach())
    stream = u.steps.clone()
    coefficients.mix(stream, v.steps, keep=False)
    mixed = grid.read(stream)
    stream += grid.stream(steps)
    if steps.numel():
        grid.check(steps.abs().amax())
        for values in (mixed, grid.read(stream)):
            grid.check(values.abs().amax() * 2.0**grid.bits)
    # Whole numbers hide what is not a number.
    values = grid.read(stream) + steps.sum() * 0
    weights = (coefficients.beta, coefficients.alpha, 1.0)
    return GridStream(stream, _Straight.apply(values, weights, u.values, v.values, f))


class _Straight(torch.autograd.Function):
    """The first argument's value, whose gradient goes to each of the terms, times its weight."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, weights: tuple[float, ...], *terms: Tensor) -> Tensor:
        ctx.weights, ctx.dtypes = weights, [term.dtype for term in terms]
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        terms = zip(ctx.weights, ctx.dtypes, strict=True)
        return None, None, *((gradient * weight).to(dtype) if weight else None for weight, dtype in terms)
