"""Adding what a branch gives to a stream of whole numbers: by plain operations, or by a kernel that does the same.

Multiplying by a power of two, rounding and converting are exact to the bit whoever does them, so a result that one way
has added the other can take away.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from re2tal.reversible.compiled import BranchCompiler, is_real
from re2tal.reversible.fixed_point import FixedPoint, magnitude
from re2tal.reversible.tiles import Part, add_to

__all__ = ["add_result"]

_Convert = Callable[[Tensor, Tensor, torch.dtype], tuple[Tensor, Tensor]]


def add_result(
    stream: Tensor, part: Part, f: Tensor, *, format: FixedPoint, compiler: BranchCompiler | None, sign: int = 1
) -> list[Tensor]:
    """Add `f` to a part of a stream, in place, or take it away; returns scalars that tell of an overflow where it is
    added, see `magnitude`.

    Args:
        stream: integers.
        part: of it.
        f: what a branch gives for that, without a graph.
        format: of the stream.
        compiler: of the branches, whose backend makes a kernel of the conversion; None: plain operations.
        sign: 1 or -1.
    """
    convert = _compiled(compiler.backend) if compiler is not None and is_real(f) and f.numel() else None
    if convert is not None:
        try:
            integers, largest = convert(f, format.scale, stream.dtype)
        except Exception as error:
            warnings.warn(f"fixed-point numbers could not be compiled ({type(error).__name__})", stacklevel=2)
        else:
            add_to(stream, part, integers, sign=sign)
            return [largest]
    steps = format.steps(f)
    found = magnitude(steps) if sign == 1 else []
    add_to(stream, part, format.integers(steps), sign=sign)
    return found


@cache
def _compiled(backend: str) -> _Convert:
    """For tensors of any size: it is compiled once for every type and number of dimensions."""
    found: _Convert = torch.compile(_convert, backend=backend, dynamic=True, fullgraph=True)
    return found


def _convert(f: Tensor, scale: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    steps = (f.to(scale.dtype) * scale).round()
    return steps.to(dtype), steps.abs().amax()
