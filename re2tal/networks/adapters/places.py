"""Adapters along time a few places at a time: each place of the frames is a line of its own.

B clips, P sub-clips of each, T times, S places, C channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from re2tal.reversible import Tile, Tiling
from re2tal.reversible.blocks.windows import with_values
from re2tal.reversible.tiles import Rows, nothing_shared

__all__ = ["OF_PLACES"]


@dataclass(frozen=True)
class _Lines:
    """What the rows of a tile are: (clips, times, places)."""

    clips: int
    times: int
    places: int


@with_values
def _tiles(sub_clips: int, tokens: int, times: int, leading: int, clips: int, most: int) -> Sequence[Tile]:
    """Tiles of at most so many lines.

    Args:
        sub_clips: P.
        tokens: of a sub-clip.
        times: T, of a sub-clip.
        leading: tokens before those of the frames.
        clips: B.
        most: lines.
    """
    rows = torch.arange(clips * sub_clips * tokens).view(clips, sub_clips, tokens)
    lines = rows[..., leading:].reshape(clips, sub_clips * times, -1)  # (B, P * T, S)
    tiles = []
    for of_clips in lines.split(max(most // lines.shape[2], 1)):
        for part in of_clips.split(max(most, 1), dim=2):
            read = Rows(part.flatten())
            tiles.append(Tile(read, read, _Lines(*part.shape)))
    if leading:
        read = Rows(rows[..., :leading].flatten())
        tiles.append(Tile(read, read))
    return tiles


def _of_places(adapter: Any, shape: tuple[int, ...], limit: int) -> Sequence[Tile] | None:
    layout = adapter.layout
    match layout.order:
        case "BNC":
            all_sub_clips, tokens, times, leading = shape[0], shape[1], layout.times, layout.leading
        case "BTHWC":
            all_sub_clips, tokens, times, leading = shape[0], math.prod(shape[1:4]), shape[1], 0
        case _:
            return None
    sub_clips = adapter.sub_clips
    if (tokens - leading) % times or all_sub_clips % sub_clips:
        return None  # which a call of the whole tells
    # What is read and given, and what lies between, each with a gradient.
    bytes_per_line = 4 * sub_clips * times * (4 * shape[-1] + 12 * adapter.down_proj.out_features)
    most = max(limit // bytes_per_line, 1)
    return _tiles(sub_clips, tokens, times, leading, all_sub_clips // sub_clips, most)


def _compute(adapter: Any, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    hidden = adapter.act(adapter.down_proj(x))
    if isinstance(lines := tile.detail, _Lines):
        along = hidden.view(lines.clips, lines.times, lines.places, -1)
        hidden = hidden + adapter.along_time(along).view(hidden.shape)
    added: Tensor = adapter.up_proj(hidden) * adapter.gamma
    return added


OF_PLACES = Tiling(nothing_shared, _of_places, _compute)
"""For `TemporalAdapter`."""
