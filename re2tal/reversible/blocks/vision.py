"""Pre-norm blocks of vision transformers: attention among all tokens of an element of the batch, then an MLP.

Those of transformers' VideoMAE and V-JEPA 2, of torchvision's MViT, and of our InternVideo2. Attention is computed a
few elements of the batch at a time (the sub-clips of a long clip, which do not see each other), the MLP a few tokens at
a time, and drop path is drawn once for each branch.

B batch, N tokens, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from re2tal.reversible.blocks.exact import OF_EACH_TOKEN, are, computes_as_published
from re2tal.reversible.blocks.split import Foreign, Split
from re2tal.reversible.branch import Branch
from re2tal.reversible.tiles import Tile, Tiling, leading_boxes

__all__ = ["split_intern_video_block", "split_mvit_block", "split_video_mae_layer", "split_vjepa2_layer"]

_DROP_PATHS = ("StochasticDepth", "VJEPA2DropPath", "Dropout", "Identity")


@dataclass(frozen=True)
class _Half:
    """One of the two branches of a block, `drop_path(function(block, x))`."""

    function: Callable[[Foreign, Tensor], Tensor]
    """Of the block and the stream, a module-level function; drop path is not part of it."""
    drop_path: str
    """The name of the drop path in the block."""
    floats: Callable[[Foreign, int], int]
    """(block, C) -> numbers that a token takes in training, about, with gradients."""
    of_each_token: bool

    def __call__(self, block: Foreign, x: Tensor, *_: object) -> Tensor:
        added: Tensor = block.get_submodule(self.drop_path)(self.function(block, x))
        return added

    def prepare(self, block: Foreign, x: Tensor) -> tuple[Tensor, ...]:
        """The factor of drop path for every element of the batch, (B, 1, 1)."""
        ones = x.new_ones(x.shape[0], *(1 for _ in x.shape[1:]))
        return (block.get_submodule(self.drop_path)(ones),)

    def tiles(self, block: Foreign, shape: tuple[int, ...], limit: int) -> Sequence[Tile] | None:
        """Runs of tokens, or of elements of the batch; None if dropout draws numbers for the whole."""
        if block.training and any(isinstance(m, nn.Dropout) and m.p > 0 for m in block.modules()):
            return None
        axes, together = (shape[:-1], 1) if self.of_each_token else (shape[:1], math.prod(shape[1:-1]))
        bytes_of_one = 4 * together * self.floats(block, shape[-1])
        return [Tile(box, box) for box in leading_boxes(axes, max(limit // bytes_of_one, 1), full=True)]

    def compute(self, block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
        """The branch of a tile."""
        (factor,) = prepared
        return self.function(block, x) * factor[tile.clips]

    def branch(self, block: nn.Module, uses: tuple[str, ...]) -> Branch:
        """Of a block, over these of its children."""
        tiling = Tiling(self.prepare, self.tiles, self.compute)
        # Accelerators choose kernels of attention by whether gradients are needed.
        few = None if self.of_each_token else replace(tiling, needs_graph=True)
        return Branch(block, self, uses, tiling=replace(tiling, in_few=few), reads_args=False)

    def __deepcopy__(self, memo: object) -> _Half:
        return self


def _heads_and_rest(*more: int) -> Callable[[Foreign, int], int]:
    """Norm, queries, keys, values, what attention gives and its projection, each with a gradient, and `more` of them.

    The scores of fused attention are never in memory.
    """
    return lambda _, channels: (14 + sum(more)) * channels


def _is_exact(block: Foreign, *, norms: tuple[str, ...], linear: tuple[str, ...], drops: tuple[str, ...]) -> bool:
    """Whether the children by these names are what the block's class makes them."""
    return (
        computes_as_published(block)
        and are((block.get_submodule(name) for name in norms), OF_EACH_TOKEN)
        and are((block.get_submodule(name) for name in linear), (nn.Linear,))
        and all(type(block.get_submodule(name)).__name__ in _DROP_PATHS for name in drops)
    )


# transformers' VideoMAE, whose dropout behind each of its two dense layers may be a drop path


def _video_mae_attention(layer: Foreign, x: Tensor) -> Tensor:
    attended: Tensor = layer.attention.attention(layer.layernorm_before(x))[0]
    return layer.attention.output.dense(attended)


def _video_mae_mlp(layer: Foreign, x: Tensor) -> Tensor:
    return layer.output.dense(layer.intermediate(layer.layernorm_after(x)))


def _video_mae_hidden(layer: Foreign, channels: int) -> int:
    return 6 * channels + 4 * int(layer.output.dense.in_features)


_VIDEO_MAE = (
    _Half(_video_mae_attention, "attention.output.dropout", _heads_and_rest(), of_each_token=False),
    _Half(_video_mae_mlp, "output.dropout", _video_mae_hidden, of_each_token=True),
)


def split_video_mae_layer(layer: Foreign) -> Split:
    """Two branches."""
    attention, mlp = _VIDEO_MAE
    children = tuple(
        type(layer.get_submodule(name)).__name__ for name in ("attention.output", "intermediate", "output")
    )
    return Split(
        branches=(
            attention.branch(layer, ("layernorm_before", "attention")),
            mlp.branch(layer, ("layernorm_after", "intermediate", "output")),
        ),
        exact=children == ("VideoMAESelfOutput", "VideoMAEIntermediate", "VideoMAEOutput")
        and _is_exact(
            layer,
            norms=("layernorm_before", "layernorm_after"),
            linear=("attention.output.dense", "intermediate.dense", "output.dense"),
            drops=(attention.drop_path, mlp.drop_path),
        ),
    )


# transformers' V-JEPA 2, which rotates queries and keys, is given a mask of positions, and returns scores beside


def _vjepa2_attention(layer: Foreign, x: Tensor) -> Tensor:
    added: Tensor = layer.attention(layer.norm1(x))[0]
    return added


def _second_mlp(block: Foreign, x: Tensor) -> Tensor:
    added: Tensor = block.mlp(block.norm2(x))
    return added


def _hidden(block: Foreign, channels: int) -> int:
    widths = [layer.out_features for layer in block.mlp.modules() if isinstance(layer, nn.Linear)]
    return 6 * channels + 4 * max(widths)


_VJEPA2 = (
    _Half(_vjepa2_attention, "drop_path", _heads_and_rest(16), of_each_token=False),
    _Half(_second_mlp, "drop_path", _hidden, of_each_token=True),
)


def split_vjepa2_layer(layer: Foreign) -> Split:
    """Two branches, if no position is masked and nobody wants to see the scores."""
    attention, mlp = _VJEPA2
    return Split(
        branches=(attention.branch(layer, ("norm1", "attention")), mlp.branch(layer, ("norm2", "mlp"))),
        returns=_without_scores,
        exact=layer.config._attn_implementation == "sdpa"
        and type(layer.attention).__name__ == "VJEPA2RopeAttention"
        and type(layer.mlp).__name__ == "VJEPA2MLP"
        and _is_exact(layer, norms=("norm1", "norm2"), linear=("mlp.fc1", "mlp.fc2"), drops=("drop_path",)),
    )


def _without_scores(layer: Foreign, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Tensor], Any] | None:
    return None if kwargs or any(more is not None for more in args[1:]) else lambda stream: (stream, None)


# torchvision's MViT: a block is given, and returns, how many tokens there are along time, height and width


def _mvit_attention(block: Foreign, x: Tensor) -> Tensor:
    added: Tensor = block.attn(block.norm1(x), block.grid)[0]
    return added


def _mvit_scores(block: Foreign, channels: int) -> int:
    """Scores of every token with the keys, which are pooled, and what is added for their distance, with gradients."""
    stride = (1, 1, 1) if block.attn.pool_k is None else block.attn.pool_k.pool.stride
    keys = math.prod(math.ceil(length / step) for length, step in zip(block.grid, stride, strict=True))
    return 20 * channels + 8 * block.attn.num_heads * keys


_MVIT = (
    _Half(_mvit_attention, "stochastic_depth", _mvit_scores, of_each_token=False),
    _Half(_second_mlp, "stochastic_depth", _hidden, of_each_token=True),
)


def split_mvit_block(block: Foreign) -> Split:
    """Two branches, unless it changes the number of tokens or channels; with one grid for all calls, `block.grid`."""
    attention, mlp = _MVIT
    grid = block.grid  # an AttributeError for a network that takes clips of any size
    if block.pool_skip is not None or block.project is not None:
        return Split()
    return Split(
        branches=(attention.branch(block, ("norm1", "attn")), mlp.branch(block, ("norm2", "mlp"))),
        returns=_with_the_grid,
        exact=isinstance(grid, tuple)
        and _is_exact(block, norms=("norm1", "norm2"), linear=("attn.qkv",), drops=("stochastic_depth",)),
    )


def _with_the_grid(block: Foreign, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Tensor], Any] | None:
    grid = block.grid
    return None if kwargs or args[1:] != (grid,) else lambda stream: (stream, grid)


# Our InternVideo2


def _intern_video_attention(block: Foreign, x: Tensor) -> Tensor:
    added: Tensor = block.ls1(block.attn(block.norm1(x)))
    return added


def _intern_video_mlp(block: Foreign, x: Tensor) -> Tensor:
    added: Tensor = block.ls2(block.mlp(block.norm2(x)))
    return added


_INTERN_VIDEO = (
    _Half(_intern_video_attention, "drop_path1", _heads_and_rest(6), of_each_token=False),
    _Half(_intern_video_mlp, "drop_path2", _hidden, of_each_token=True),
)


def split_intern_video_block(block: Foreign) -> Split:
    """Two branches."""
    attention, mlp = _INTERN_VIDEO
    return Split(
        branches=(attention.branch(block, ("norm1", "attn", "ls1")), mlp.branch(block, ("norm2", "mlp", "ls2"))),
        exact=_is_exact(
            block,
            norms=("norm1", "norm2"),
            linear=("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"),
            drops=("drop_path1", "drop_path2"),
        ),
    )
