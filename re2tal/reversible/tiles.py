"""How a branch can be computed in tiles.

A branch's own graph is what is left in memory once nothing else is stored. But branches are local: an MLP works on each
token alone, attention inside a window, a convolution sees a halo. A branch that says so is computed, recomputed and
differentiated one tile at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Box", "Tile", "TileSize", "Tiling", "Mode", "check_tile_size", "leading_boxes", "most_bytes"]

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


@dataclass(frozen=True)
class Tile:
    """A part of a branch's result that depends on a part of its input alone."""

    read: Box = ()
    """Of the input."""
    write: Box = ()
    """Of the result; tiles write every element once."""
    detail: object = None
    """What the branch wants to know of the tile to compute it."""


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
    """(owner, input[tile.read], what was prepared, tile) -> result[tile.write]."""
    result: Callable[[nn.Module, tuple[int, ...]], tuple[int, ...]] | None = None
    """(owner, shape of the whole input) -> shape of the result; None: the same."""


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
