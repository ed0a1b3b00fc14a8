"""Pre-norm blocks of vision transformers: attention among all tokens of an element of the batch, then an MLP.

Those of transformers' VideoMAE and V-JEPA 2, of torchvision's MViT, and of our InternVideo2. Attention is computed a
few elements of the batch at a time (the sub-clips of a long clip, which do not see each other), the MLP a few tokens at
a time, and drop path is drawn once for each branch.

B batch, N tokens, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from re2tal.reversible.blocks.exact import OF_EACH_TOKEN, are, are_called_linear, computes_as_published
from re2tal.reversible.blocks.split import Foreign, Split
from re2tal.reversible.branch import Branch
from re2tal.reversible.tiles import Tile, Tiling, leading_boxes
from re2tal.reversible.trees import Ref

__all__ = ["split_intern_video_block", "split_mvit_block", "split_video_mae_layer", "split_vjepa2_layer"]

_DROP_PATHS = ("StochasticDepth", "VJEPA2DropPath", "Dropout", "Identity")


@dataclass(frozen=True)
class _Half:
    """One of the two branches of a block: some of its modules, one after the other, the norm first, then drop path."""

    path: tuple[str, ...]
    """The names of the modules in the block."""
    drop_path: str
    """That of the drop path, which may be a plain dropout."""

    def function(self, block: Foreign, x: Tensor) -> Tensor:
        """The branch without its drop path."""
        for name in self.path:
            result = block.get_submodule(name)(x)
            x = result[0] if isinstance(result, tuple) else result  # beside it, scores of attention
        return x

    def __call__(self, block: Foreign, x: Tensor, *_: object) -> Tensor:
        added: Tensor = block.get_submodule(self.drop_path)(self.function(block, x))
        return added

    def prepare(self, block: Foreign, x: Tensor) -> tuple[Tensor, ...]:
        """The factor of drop path for every element of the batch, (B, 1, 1)."""
        ones = x.new_ones(x.shape[0], *(1 for _ in x.shape[1:]))
        return (block.get_submodule(self.drop_path)(ones),)

    def tiles(self, block: Foreign, shape: tuple[int, ...], limit: int) -> Sequence[Tile] | None:
        """Parts that do not see each other; None if dropout draws numbers for the whole."""
        if block.training and any(isinstance(m, nn.Dropout) and m.p > 0 for m in block.modules()):
            return None
        axes, bytes_of_one = self.separate(block, shape)
        return [Tile(box, box) for box in leading_boxes(axes, max(limit // bytes_of_one, 1), full=True)]

    def separate(self, block: Foreign, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        """Along which leading axes nothing sees another, and what one takes in training, with gradients, in bytes."""
        raise NotImplementedError

    def compute(self, block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
        """The branch of a tile."""
        (factor,) = prepared
        return self.function(block, x) * factor[tile.clips]

    def branch(self, block: nn.Module, few: Tiling | None = None) -> Branch:
        """Of a block."""
        uses = tuple(dict.fromkeys(name.split(".")[0] for name in self.path))
        tiling = Tiling(self.prepare, self.tiles, self.compute, in_few=few)
        return Branch(block, self, uses, tiling=tiling, reads_args=False)

    def __deepcopy__(self, memo: object) -> _Half:
        return self


@dataclass(frozen=True)
class _AttentionHalf(_Half):
    more: int = 0
    """Numbers that a token takes beside the usual ones, by its channels."""

    def floats(self, block: Foreign, channels: int) -> int:
        """Norm, queries, keys, values, what attention gives and its projection, each with a gradient, and more.

        The scores of fused attention are never in memory.
        """
        return (14 + self.more) * channels

    def separate(self, block: Foreign, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        """Elements of the batch."""
        return shape[:1], 4 * math.prod(shape[1:-1]) * self.floats(block, shape[-1])

    def branch(self, block: nn.Module, few: Tiling | None = None) -> Branch:
        """Accelerators choose kernels of attention by whether gradients are needed."""
        return super().branch(block, Tiling(self.prepare, self.tiles, self.compute, needs_graph=True))


class _MlpHalf(_Half):
    def separate(self, block: Foreign, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        """Tokens."""
        inside = (module for name in self.path for module in block.get_submodule(name).modules())
        hidden = max(layer.out_features for layer in inside if isinstance(layer, nn.Linear))
        return shape[:-1], 4 * (6 * shape[-1] + 4 * hidden)


def _split(block: Foreign, halves: Sequence[_Half], *, linear: Sequence[str]) -> Split:
    """Two branches; exact if norms, drop paths and the layers by these names are what the block's class makes them."""
    return Split(
        branches=tuple(half.branch(block) for half in halves),
        exact=computes_as_published(block)
        and are((block.get_submodule(half.path[0]) for half in halves), OF_EACH_TOKEN)
        and are_called_linear(block.get_submodule(name) for name in linear)
        and all(type(block.get_submodule(half.drop_path)).__name__ in _DROP_PATHS for half in halves),
    )


def _classes(block: Foreign, *names: str) -> tuple[str, ...]:
    return tuple(type(block.get_submodule(name)).__name__ for name in names)


# transformers' VideoMAE, whose dropout behind each of its two dense layers may be a drop path

_VIDEO_MAE = (
    _AttentionHalf(("layernorm_before", "attention.attention", "attention.output.dense"), "attention.output.dropout"),
    _MlpHalf(("layernorm_after", "intermediate", "output.dense"), "output.dropout"),
)


def split_video_mae_layer(layer: Foreign) -> Split:
    """Two branches."""
    split = _split(layer, _VIDEO_MAE, linear=("attention.output.dense", "intermediate.dense", "output.dense"))
    children = _classes(layer, "attention.output", "intermediate", "output")
    expected = ("VideoMAESelfOutput", "VideoMAEIntermediate", "VideoMAEOutput")
    return replace(split, exact=split.exact and children == expected)


# transformers' V-JEPA 2, which rotates queries and keys, is given a mask of positions, and returns scores beside

_VJEPA2 = _AttentionHalf(("norm1", "attention"), "drop_path", more=16), _MlpHalf(("norm2", "mlp"), "drop_path")


def split_vjepa2_layer(layer: Foreign) -> Split:
    """Two branches, if no position is masked and nobody wants to see the scores."""
    split = _split(layer, _VJEPA2, linear=("mlp.fc1", "mlp.fc2"))
    expected = _classes(layer, "attention", "mlp") == ("VJEPA2RopeAttention", "VJEPA2MLP")
    exact = split.exact and expected and layer.config._attn_implementation == "sdpa"
    return replace(split, returns=_without_scores, exact=exact)


def _without_scores(layer: Foreign, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    return None if kwargs or any(more is not None for more in args[1:]) else (Ref(0), None)


# torchvision's MViT: a block is given, and returns, how many tokens there are along time, height and width


class _PooledAttentionHalf(_AttentionHalf):
    def function(self, block: Foreign, x: Tensor) -> Tensor:
        """With the block's one grid."""
        added: Tensor = block.attn(block.norm1(x), block.grid)[0]
        return added

    def floats(self, block: Foreign, channels: int) -> int:
        """Scores of a token with the keys, which are pooled, and what is added for their distance, with gradients."""
        stride = (1, 1, 1) if block.attn.pool_k is None else block.attn.pool_k.pool.stride
        keys = math.prod(math.ceil(length / step) for length, step in zip(block.grid, stride, strict=True))
        return 20 * channels + 8 * block.attn.num_heads * keys


_MVIT = _PooledAttentionHalf(("norm1", "attn"), "stochastic_depth"), _MlpHalf(("norm2", "mlp"), "stochastic_depth")


def split_mvit_block(block: Foreign) -> Split:
    """Two branches, unless it changes the number of tokens or channels; with one grid for all calls, `block.grid`."""
    grid = block.grid  # an AttributeError for a network that takes clips of any size
    if block.pool_skip is not None or block.project is not None:
        return Split()
    split = _split(block, _MVIT, linear=("attn.qkv",))
    return replace(split, returns=_with_the_grid, exact=split.exact and isinstance(grid, tuple))


def _with_the_grid(block: Foreign, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    return None if kwargs or args[1:] != (block.grid,) else (Ref(0), block.grid)


# Our InternVideo2

_INTERN_VIDEO = (
    _AttentionHalf(("norm1", "attn", "ls1"), "drop_path1", more=6),
    _MlpHalf(("norm2", "mlp", "ls2"), "drop_path2"),
)


def split_intern_video_block(block: Foreign) -> Split:
    """Two branches."""
    return _split(block, _INTERN_VIDEO, linear=("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"))
