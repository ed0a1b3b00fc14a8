"""Blocks with an adapter: a small module that is added behind all else, and that begins as nothing.

A chain hands the older of its two streams to the branch after the next. One more branch in a block would make every
branch behind it read the other stream, even where it adds nothing. So it is followed by an empty branch:

    (v, w) -> (w, v + a(w)) -> (v + a(w), w)

With alpha = 0 and beta = 1, and with alpha = 1 and beta = 0, what adds nothing then changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from re2tal.reversible.blocks.split import Foreign, Split
from re2tal.reversible.branch import Branch
from re2tal.reversible.tiles import Tile, Tiling, leading_boxes, nothing_shared

__all__ = ["empty_branch", "returns_streams", "split_adapted"]


def split_adapted(block: Foreign, split: Split) -> Split:
    """How a block falls into branches that is of a class with an adapter mixed in.

    Args:
        block: its child `adapter` is added to what its class gives, which is then called `adapted`.
        split: of what its class gives.
    """
    if not split.branches:  # it changes the shape, and is called as it is
        return Split()
    adapter = Branch(block.adapter, tiling=getattr(type(block.adapter), "tiling", None), reads_args=False)
    return replace(split, branches=(*split.branches, adapter, empty_branch(block)))


def returns_streams(owner: nn.Module, uses: Collection[str]) -> bool:
    """Whether a branch that runs through these children is to be followed by an empty one."""
    modules = dict(owner.named_modules())
    return any(getattr(type(modules.get(name)), "returns_streams", False) for name in uses)


def empty_branch(owner: nn.Module) -> Branch:
    """That adds nothing."""
    return Branch(owner, _nothing, (), Tiling(nothing_shared, _boxes, _nothing_of_tile), reads_args=False)


def _nothing(owner: nn.Module, x: Tensor, *args: object) -> Tensor:
    return torch.zeros_like(x)


def _boxes(owner: nn.Module, shape: tuple[int, ...], limit: int) -> Sequence[Tile]:
    return [Tile(box, box) for box in leading_boxes(shape, max(limit // 16, 1))]


def _nothing_of_tile(owner: nn.Module, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    return torch.zeros_like(x)
