"""How much of its two streams a module passes on, and what has to be kept to have them back.

With a pair `(u, v)` a module gives `(v, beta * u + alpha * v + f(v))`. Whole numbers that are divided drop a remainder;
it is kept, in a few bits, so that `u` comes back as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Coefficients"]

_SHIFT = 12
_UNITS = 1 << _SHIFT
"""Coefficients are multiples of 1 / 4096, so that products stay inside 32-bit integers."""

_PART = 2**20
"""Elements that are divided at a time: temporaries are small beside the streams."""


@dataclass(frozen=True)
class Coefficients:
    """Dr2Net's alpha and beta (Zhao et al., "Dr2Net: Dynamic Reversible Dual-Residual Networks", CVPR 2024).

    The defaults are Re2TAL's. `alpha=1, beta=0` is the network that was rewired. Dr2Net writes its first stream with
    beta in it, `(u, v) -> (beta * v, u + alpha * v + f(v))`; this is the same, and a small beta costs no accuracy.
    """

    alpha: float = 0.0
    """In [0, 1], a multiple of 1 / 4096."""
    beta: float = 1.0
    """In [0, 1], a multiple of 1 / 4096."""

    def __post_init__(self) -> None:
        _check(self.alpha, self.beta)
        if self.alpha * _UNITS % 1 or self.beta * _UNITS % 1:
            raise ValueError(
                f"alpha and beta must be multiples of 1/{_UNITS}, got {self.alpha} and {self.beta}; "
                "Coefficients.nearest rounds them"
            )

    @staticmethod
    def nearest(alpha: float, beta: float) -> Coefficients:
        """Those nearest to the given ones; a beta above 0 stays above it.

        Raises:
            ValueError: one of them is outside [0, 1].
        """
        _check(alpha, beta)
        units = max(round(beta * _UNITS), 1) if beta > 0 else 0
        return Coefficients(round(alpha * _UNITS) / _UNITS, units / _UNITS)

    @property
    def bits(self) -> int:
        """Kept for every element and module; 0 where nothing is dropped, or everything is."""
        return (-(-_UNITS // self._beta_units) - 1).bit_length() if self.beta else 0

    @property
    def _beta_units(self) -> int:
        return round(self.beta * _UNITS)

    @property
    def _alpha_units(self) -> int:
        return round(self.alpha * _UNITS)

    def mix(self, u: Tensor, v: Tensor, *, keep: bool) -> Tensor | None:
        """Make `beta * u + alpha * v` of `u`, in its memory, each product rounded down.

        Args:
            u: integers; no other tensor sees its memory.
            v: of the same layout.
            keep: whether `unmix` will be called.

        Returns:
            What `unmix` needs: `bits` bits for every element, packed; if beta is 0, all of `u`. None if nothing.
        """
        dropped = None
        if self.beta == 0:
            dropped = u.clone() if keep else None
            u.zero_()
        elif self.beta < 1:
            if keep:
                dropped = torch.empty((self.bits, -(-u.numel() // 8)), dtype=torch.uint8, device=u.device)
            for start, part in _parts(u):
                if dropped is not None:
                    packed = _pack(self._rank(part), self.bits)
                    dropped[:, start // 8 : start // 8 + packed.shape[1]] = packed
                part.copy_(_scaled(part, self._beta_units))
        self._add_alpha(u, v, sign=1)
        return dropped

    def unmix(self, w: Tensor, v: Tensor, dropped: Tensor | None) -> None:
        """Make of `w`, in its memory, the `u` that `mix` was given."""
        self._add_alpha(w, v, sign=-1)
        if self.beta == 1:
            return
        assert dropped is not None
        if self.beta == 0:
            w.copy_(dropped)
            return
        units = self._beta_units
        for start, part in _parts(w):
            whole = torch.div(part, units, rounding_mode="floor")
            rest = part.sub_(whole * units)
            rank = _unpack(dropped[:, start // 8 : start // 8 + -(-len(part) // 8)], len(part))
            part.copy_(whole.mul_(_UNITS).add_(_first(rest, units)).add_(rank))

    def add_gradients(self, dv: Tensor, dw: Tensor) -> None:
        """Of `(v, w)` after a module, less what flows through its branch, to those of `(v, u)` before; in place."""
        if self.alpha:
            dv.add_(dw, alpha=self.alpha)
        if self.beta != 1:
            dw.mul_(self.beta)

    def combine(self, u: Tensor, v: Tensor, f: Tensor) -> Tensor:
        """`beta * u + alpha * v + f` of floating-point numbers; what has no weight leaves no trace, nan included."""
        total = f.to(v.dtype)
        for stream, weight in ((v, self.alpha), (u, self.beta)):
            if weight:
                total = (stream if weight == 1 else stream * weight) + total
        return total

    @property
    def weights(self) -> tuple[float, float, float]:
        """Of the terms of that sum."""
        return self.beta, self.alpha, 1.0

    def read_out(self, u: Tensor, v: Tensor) -> Tensor:
        """`(beta * u + v) / (1 + beta)` of floating-point numbers."""
        return (u * self.beta + v) / (1 + self.beta) if self.beta else v

    @property
    def shares(self) -> tuple[float, float]:
        """Of both streams in what is read out."""
        return self.beta / (1 + self.beta), 1 / (1 + self.beta)

    def _add_alpha(self, w: Tensor, v: Tensor, *, sign: int) -> None:
        if self.alpha:
            for start, part in _parts(w):
                other = _flat(v)[start : start + len(part)]
                part.add_(_scaled(other, self._alpha_units), alpha=sign)

    def _rank(self, u: Tensor) -> Tensor:
        """Which of the numbers that become the same one when they are scaled `u` is, counted from the smallest."""
        low = u & (_UNITS - 1)
        return low - _first((low * self._beta_units) >> _SHIFT, self._beta_units)


def _check(alpha: float, beta: float) -> None:
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}; Re2TAL's coefficients are alpha=0, beta=1")


def _scaled(steps: Tensor, units: int) -> Tensor:
    """`steps * units / 4096`, rounded down, without overflow."""
    if units == _UNITS:
        return steps
    return (steps >> _SHIFT).mul_(units).add_((steps & (_UNITS - 1)).mul_(units) >> _SHIFT)


def _first(quotient: Tensor, units: int) -> Tensor:
    """The smallest number that, scaled, is `quotient`, which lies in [0, units)."""
    return torch.div(quotient * _UNITS + (units - 1), units, rounding_mode="floor")


def _flat(stream: Tensor) -> Tensor:
    """The elements in the order of memory: streams are dense, in whatever layout, and both alike."""
    return stream.as_strided((stream.numel(),), (1,))


def _parts(stream: Tensor) -> Iterator[tuple[int, Tensor]]:
    flat = _flat(stream)
    for start in range(0, len(flat), _PART):
        yield start, flat[start : start + _PART]


def _pack(numbers: Tensor, bits: int) -> Tensor:
    """(N,) numbers below `2 ** bits` -> (bits, N / 8) uint8: one bit of eight numbers in each byte."""
    padded = F.pad(numbers.to(torch.int16), (0, -len(numbers) % 8)).view(-1, 8)
    places = torch.arange(8, dtype=torch.int16, device=numbers.device)
    planes = [(((padded >> bit) & 1) << places).sum(1, dtype=torch.uint8) for bit in range(bits)]
    return torch.stack(planes)


def _unpack(planes: Tensor, count: int) -> Tensor:
    """What `_pack` was given, as int16."""
    places = torch.arange(8, dtype=torch.uint8, device=planes.device)
    numbers = torch.zeros((planes.shape[1], 8), dtype=torch.int16, device=planes.device)
    for bit, plane in enumerate(planes):
        numbers |= ((plane[:, None] >> places) & 1).to(torch.int16) << bit
    return numbers.view(-1)[:count]
