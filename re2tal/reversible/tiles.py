"""How a branch can be computed in tiles.

A branch's own graph is what is left in memory once nothing else is stored. But branches are local: an MLP works on each
token alone, attention inside a window, a convolution sees a halo. A branch that says so is computed, recomputed and
differentiated one tile at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor, nn

from re2tal.reversible.devices import empty_as, traits_of

__all__ = [
    "Box",
    "Cut",
    "Join",
    "Mode",
    "Part",
    "Rows",
    "Tile",
    "TileSize",
    "Tiling",
    "add_to",
    "check_tile_size",
    "leading_boxes",
    "most_bytes",
    "nothing_shared",
    "part_of",
    "prefers_few_tiles",
    "put_into",
]

Mode = Literal["store", "reversible"]
"""How a network is differentiated: by ordinary autograd, or by computing again what was not kept."""

TileSize = int | Literal["auto"] | None
"""What a tile may take in training, about, in bytes; None computes whole branches."""

_AUTO_ON_CPU = 16 * 2**20
"""Measured: smaller ones cost time, larger ones memory."""
_AUTO_SHARE_OF_DEVICE = 1 / 64
"""Of the memory of an accelerator, which needs larger pieces to be busy; not measured."""


def check_tile_size(size: object) -> None:
    """Raise a ValueError if `size` is no `TileSize`."""
    if not (size is None or size == "auto" or (isinstance(size, int) and size > 0)):
        raise ValueError(f"the size of a tile must be 'auto', a number of bytes above 0, or None, got {size!r}")


def most_bytes(size: TileSize, device: torch.device) -> int | None:
    """What a tile on `device` may take; None: all."""
    if size != "auto":
        return size
    if device.type != "cuda":
        return _AUTO_ON_CPU
    return int(torch.cuda.get_device_properties(device).total_memory * _AUTO_SHARE_OF_DEVICE)


Box = tuple[slice, ...]
"""Slices of the leading dimensions of a tensor; () is all of it."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Vectors along the last dimension of a tensor, each once, in any order."""

    indices: Tensor
    """(N,) int64: where they stand if all other dimensions are counted through; on the CPU."""
    _elsewhere: dict[torch.device, Tensor] = field(default_factory=dict)

    def on(self, device: torch.device) -> Tensor:
        """The indices on a device, which they are copied to once."""
        if device.type == "cpu":
            return self.indices
        found = self._elsewhere.get(device)
        if found is None:
            found = self.indices.to(device, non_blocking=True)
            if type(found) is Tensor:  # and not one without values, of a dry run
                self._elsewhere[device] = found
        return found


Part = Box | Rows
"""A part of a tensor."""


def part_of(x: Tensor, part: Part) -> Tensor:
    """A view, or the rows (N, C) as a new tensor."""
    if isinstance(part, Rows):
        return x.reshape(-1, x.shape[-1]).index_select(0, part.on(x.device))
    return x[part]


def add_to(x: Tensor, part: Part, values: Tensor, *, sign: int = 1) -> None:
    """Add to a part of `x`, in place, or take away."""
    if isinstance(part, Rows):
        flat = x.reshape(-1, x.shape[-1])
        flat.index_add_(0, part.on(x.device), values, alpha=sign)
        # Where the memory is in another order; asked so that tensors without values, which have no address, can tell.
        if flat.untyped_storage()._cdata != x.untyped_storage()._cdata:
            x.copy_(flat.view(x.shape))
    else:
        x[part].add_(values, alpha=sign)


def put_into(x: Tensor, part: Part, values: Tensor) -> None:
    """Write a part of a tensor that is contiguous."""
    if isinstance(part, Rows):
        x.view(-1, x.shape[-1]).index_copy_(0, part.on(x.device), values)
    else:
        x[part] = values


class Cut(torch.autograd.Function):
    """Parts of a tensor, which may overlap. Slicing one by one would fill a whole gradient for every part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parts: Sequence[Part]) -> tuple[Tensor, ...]:
        ctx.parts, ctx.shape = parts, x.shape
        return tuple(part_of(x, part).clone() for part in parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        total = gradients[0].new_zeros(ctx.shape)
        for part, gradient in zip(ctx.parts, gradients, strict=True):
            add_to(total, part, gradient)
        return total, None


class Join(torch.autograd.Function):
    """A tensor made of parts."""

    @staticmethod
    def forward(ctx: Any, shape: tuple[int, ...], parts: Sequence[Part], *values: Tensor) -> Tensor:
        ctx.parts = parts
        whole = empty_as(values[0], shape)
        for part, value in zip(parts, values, strict=True):
            put_into(whole, part, value)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(part_of(gradient, part) for part in ctx.parts)


@dataclass(frozen=True)
class Tile:
    """A part of a branch's result that depends on a part of its input alone."""

    read: Part = ()
    """Of the input."""
    write: Part = ()
    """Of the result; tiles write every element once."""
    detail: object = None
    """What the branch wants to know of the tile to compute it."""

    @property
    def clips(self) -> slice:
        """The elements of the batch that a box reads of."""
        assert not isinstance(self.read, Rows)
        return self.read[0] if self.read else slice(None)


@dataclass(frozen=True)
class Tiling:
    """How one kind of branch falls into tiles. All members are module-level functions of the branch's owner."""

    prepare: Callable[[nn.Module, Tensor], tuple[Tensor, ...]]
    """(owner, tensor of the whole input's shape, device and type, whose values mean nothing) -> what all tiles share,
    computed once in a call: what is drawn at random and what is looked up in parameters. Gradients flow back through
    it."""
    tiles: Callable[[nn.Module, tuple[int, ...], int], Sequence[Tile] | None]
    """(owner, shape of the whole input, bytes) -> tiles, each of which takes about so much memory in training at
    most; None if this owner cannot be computed in tiles as it is now."""
    compute: Callable[[nn.Module, Tensor, tuple[Tensor, ...], Tile], Tensor]
    """(owner, `tile.read` of the input, what was prepared, tile) -> `tile.write` of the result."""
    result: Callable[[nn.Module, tuple[int, ...]], tuple[int, ...]] | None = None
    """(owner, shape of the whole input) -> shape of the result; None: the same."""
    needs_graph: bool = False
    """As that of a branch: kernels are chosen by whether gradients are needed, and round differently."""
    in_few: Tiling | None = None
    """Another way for devices that `prefers_few_tiles` names."""


def nothing_shared(owner: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """To prepare for tiles that share nothing."""
    return ()


def prefers_few_tiles(device: torch.device) -> bool:
    """Whether a device waits for launches more than for arithmetic, as accelerators do."""
    return traits_of(device).waits_for_calls


def leading_boxes(shape: Sequence[int], size: int, *, full: bool = False) -> Iterator[Box]:
    """Cut an array of `shape` into boxes of at most `size` elements, each contiguous in memory.

    Trailing dimensions are whole while they fit. A box has slices for the dimensions up to the one that is cut, or,
    if `full`, for all.

        shape (2, 3, 4), size 8:   [0, 0:2] [0, 2:3] [1, 0:2] [1, 2:3]
    """
    inner, cut = 1, len(shape)
    while cut > 0 and inner * shape[cut - 1] <= size:
        cut -= 1
        inner *= shape[cut]
    # Dimension cut - 1 is the first, from behind, that does not fit whole; it is cut evenly.
    steps = [1] * max(cut - 1, 0) + ([max(size // inner, 1)] if cut else [])
    ranges = [
        [slice(start, min(start + step, length)) for start in range(0, length, step)]
        for length, step in zip(shape, steps, strict=False)
    ]
    whole = tuple(slice(0, length) for length in shape[cut:]) if full or not cut else ()
    for box in product(*ranges):
        yield (*box, *whole)
