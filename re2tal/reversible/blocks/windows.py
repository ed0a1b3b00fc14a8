"""Windows of attention as batches, for devices that wait for launches more than for arithmetic.

Windows are gathered by the rows of their tokens, so that all of them have one shape: those that a shift has put
together from both ends of an axis are masked, and padding is a row that is read and dropped again. `swin` cuts these
windows into smaller ones instead, which is less arithmetic in many more calls.

B batch, T/H/W tokens along time, height, width, C channels, n windows of a tile, N tokens of one, K kinds of masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

from re2tal.reversible.blocks.split import Foreign
from re2tal.reversible.tiles import Rows, Tile

_R = TypeVar("_R")

__all__ = ["WindowBatch", "attend_in_windows", "linear", "window_masks", "window_tiles", "with_values"]


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """The windows of a tile."""

    size: int
    """N"""
    clips: Rows
    """(n,) where each window's clip stands in the batch."""
    kinds: Rows | None
    """(n,) which of the masks is that of each window, or (1,) if all have the same; None: no window of the tile needs
    one."""
    padding: Rows | None
    """Which of the n * N tokens are padding; None: none."""
    kept: Rows | None
    """Which are not."""


def with_values(function: Callable[..., _R]) -> Callable[..., _R]:
    """Remembers results, for indices, whose tensors have values in a dry run, too."""

    @lru_cache(maxsize=64)
    def call(*args: Hashable) -> _R:
        with torch.device("cpu"), _disable_current_modes():
            return function(*args)

    return call


@with_values
def _arranged(shape: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The windows of a (B, T, H, W) input.

    Returns:
        The rows of their tokens, (windows, N), -1 for padding; the kind of each, (windows,); and for every kind which
        of its tokens belong together, (K, N): those with the same number.
    """
    clips, *lengths = shape
    padded = [math.ceil(length / size) * size for length, size in zip(lengths, window, strict=True)]
    rows = torch.full((clips, *padded), -1, dtype=torch.int64)
    rows[:, : lengths[0], : lengths[1], : lengths[2]] = torch.arange(math.prod(shape)).view(shape)
    regions = torch.zeros(padded, dtype=torch.int64)
    for axis, (length, size, step) in enumerate(zip(padded, window, shift, strict=True)):
        region = torch.arange(length).ge(length - size).long() + torch.arange(length).ge(length - step).long()
        regions = 3 * regions + (region if step else torch.zeros_like(region)).view(
            [-1 if a == axis else 1 for a in range(3)]
        )
    rows = _partitioned(rows.roll([-step for step in shift], (1, 2, 3)), window)
    codes, kinds = _partitioned(regions[None], window).unique(dim=0, return_inverse=True)  # type: ignore[no-untyped-call]
    return rows, kinds.repeat(clips), codes.int()


def _partitioned(x: Tensor, window: tuple[int, ...]) -> Tensor:
    """(B, T, H, W) -> (windows, N)"""
    clips, *lengths = x.shape
    cut = [part for length, size in zip(lengths, window, strict=True) for part in (length // size, size)]
    return x.reshape(clips, *cut).permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, math.prod(window))


@with_values
def window_tiles(
    shape: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...], most: int, most_masked: int
) -> Sequence[Tile]:
    """As few tiles as possible, all of about the same number of windows.

    Args:
        shape: (B, T, H, W) of the input.
        window: tokens along each axis.
        shift: likewise.
        most: windows of a tile that have no masks, or all the same one.
        most_masked: of another one, which takes more memory for a window.
    """
    rows, kinds, codes = _arranged(shape, window, shift)
    per_clip = len(rows) // shape[0]
    clips = torch.arange(shape[0]).repeat_interleave(per_clip)
    is_masked = _are_masked(codes)
    free = (~is_masked[kinds]).nonzero().flatten()
    masked = [(kinds == kind).nonzero().flatten() for kind in is_masked.nonzero().flatten()]
    masked.sort(key=len, reverse=True)
    ways = [_split(torch.arange(len(rows)), most_masked if masked else most)]
    for apart in range(len(masked) + 1):  # the kinds with the most windows
        alike = [part for windows in (free, *masked[:apart]) for part in _split(windows, most)]
        ways.append([*alike, *_split(torch.cat([free[:0], *masked[apart:]]), most_masked)])
    tiles = []
    for own in min(ways, key=len):
        tokens = rows[own].flatten()
        is_padding = tokens < 0
        padding = kept = None
        if is_padding.any():
            padding, kept = (Rows(which.nonzero().flatten()) for which in (is_padding, ~is_padding))
        read = Rows(tokens.clamp(min=0))
        write = read if kept is None else Rows(tokens[kept.indices])
        own_kinds = None
        if is_masked[kinds[own]].any():
            own_kinds = Rows(kinds[own[:1] if bool((kinds[own] == kinds[own[0]]).all()) else own])
        detail = WindowBatch(rows.shape[1], Rows(clips[own]), own_kinds, padding, kept)
        tiles.append(Tile(read, write, detail))
    return tiles


def _split(windows: Tensor, most: int) -> Sequence[Tensor]:
    """Evenly, into parts of at most so many."""
    return windows.tensor_split(math.ceil(len(windows) / most)) if len(windows) else ()


def _are_masked(codes: Tensor) -> Tensor:
    """(K,) which kinds of windows hold tokens of different places."""
    return (codes != codes[:, :1]).any(dim=1)


def window_masks(
    shape: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...], like: Tensor
) -> Tensor | None:
    """What is added to the scores of each kind of window, (K, 1, N, N): -inf between tokens of different places.

    None if no window has such.
    """
    *_, codes = _arranged(shape, window, shift)
    if len(codes) == 1:
        return None
    codes = codes.to(like.device, non_blocking=True)
    apart = (codes[:, :, None] != codes[:, None])[:, None]
    return torch.zeros(apart.shape, dtype=like.dtype, device=like.device).masked_fill_(apart, -math.inf)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer; a bias (0,) is none."""
    return F.linear(x, weight, bias if bias.numel() else None)


def attend_in_windows(
    block: Foreign,
    x: Tensor,
    *,
    factor: Tensor,
    bias: Tensor,
    projection: Sequence[Tensor],
    masks: Tensor | None,
    windows: WindowBatch,
) -> Tensor:
    """What a block's attention gives for some windows: (n * N, C) -> (n * N, C), less the padding.

    Args:
        block: torchvision's.
        x: the rows of the windows' tokens.
        factor: (B,) of drop path, what the projection gives is multiplied by; (0,) if there is none.
        bias: (heads, N, N) of positions.
        projection: weight and bias of the last layer, see `linear`.
        masks: see `window_masks`.
        windows: of the tile.
    """
    attention = block.attn
    y = block.norm1(x)
    if windows.padding is not None:  # after the norm: padding is zero and still attended to
        y = y.index_fill(0, windows.padding.on(x.device), 0)
    tokens, heads, channels = windows.size, attention.num_heads, y.shape[-1]
    qkv = F.linear(y, attention.qkv.weight, attention.qkv.bias).view(-1, tokens, 3, heads, channels // heads)
    q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # each (n, heads, N, C / heads)
    # One bias for all windows takes no memory for each of them.
    added = bias if masks is None or windows.kinds is None else bias + masks.index_select(0, windows.kinds.on(x.device))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=added.to(q.dtype)).transpose(1, 2).reshape(-1, channels)
    y = linear(y, *projection)
    if factor.numel():
        of_windows = factor.index_select(0, windows.clips.on(x.device))
        y = (y.view(-1, tokens, channels) * of_windows.view(-1, 1, 1)).view(-1, channels)
    return y if windows.kept is None else y.index_select(0, windows.kept.on(x.device))
