"""torchvision's Swin blocks, 2-D and video: attention, then MLP, each after its norm.

B batch, T/H/W tokens along time, height, width, C channels, N tokens of one window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.reversible.blocks.exact import OF_EACH_ELEMENT, OF_EACH_TOKEN, are, are_called_linear, computes_as_published
from re2tal.reversible.blocks.split import Foreign, Split
from re2tal.reversible.blocks.windows import (
    WindowBatch,
    attend_in_windows,
    linear,
    window_masks,
    window_tiles,
)
from re2tal.reversible.branch import Branch
from re2tal.reversible.devices import traits_of
from re2tal.reversible.patched import call_own
from re2tal.reversible.tiles import Tile, Tiling, leading_boxes, nothing_shared

__all__ = ["patch_embedding", "patch_merging", "split_swin_block"]


def split_swin_block(block: Foreign) -> Split:
    """Two branches; drop path is drawn once for each."""
    few = Tiling(_prepare_windows, _few_window_tiles, _attend_in_windows, needs_graph=True)
    attention = Tiling(_prepare_attention, _attention_tiles, _attend, in_few=few) if _is_video(block) else None
    mlp = Tiling(
        _prepare_mlp, _mlp_tiles, _mlp_of_tokens, in_few=Tiling(_prepare_last_layer, _mlp_tiles, _mlp_with_last_layer)
    )
    return Split(
        branches=(
            Branch(block, _attention, ("norm1", "attn"), tiling=attention),
            Branch(block, _mlp, ("norm2", "mlp"), tiling=mlp),
        ),
        exact=computes_as_published(block)
        and are((block.norm1, block.norm2), OF_EACH_TOKEN)
        and are((block.attn.qkv, block.attn.proj), (nn.Linear,))
        and type(block.mlp).__name__ == "MLP"
        and are_called_linear(layer for layer in block.mlp if type(layer) not in OF_EACH_ELEMENT)
        and type(block.stochastic_depth).__name__ == "StochasticDepth",
    )


def patch_merging(merging: Foreign) -> Split:
    """Between stages: works on 2 x 2 tokens of each frame."""
    tiling = Tiling(nothing_shared, _merging_tiles, _call, _merged_shape)
    return Split(
        transition=Branch(merging, call_own, tiling=tiling, keeps_shape=False),
        exact=computes_as_published(merging)
        and are((merging.norm,), OF_EACH_TOKEN)
        and are((merging.reduction,), (nn.Linear,)),
    )


def patch_embedding(embedding: Foreign) -> Split:
    """The stem: works on patches of a few frames."""
    tiling = Tiling(nothing_shared, _embedding_tiles, _call, _embedded_shape)
    return Split(
        transition=Branch(embedding, call_own, tiling=tiling, keeps_shape=False),
        exact=computes_as_published(embedding)
        and are((embedding.norm,), (*OF_EACH_TOKEN, type(None)))
        and are((embedding.proj,), (nn.Conv3d,))
        and tuple(embedding.proj.kernel_size) == tuple(embedding.proj.stride) == tuple(embedding.tuple_patch_size),
    )


def _merging_tiles(merging: Foreign, shape: tuple[int, ...], limit: int) -> Sequence[Tile]:
    frame = math.prod(shape[-3:])
    return [Tile(box, box) for box in leading_boxes(shape[:-3], max(limit // (4 * 5 * frame), 1), full=True)]


def _call(module: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    return call_own(module, x)


def _merged_shape(merging: Foreign, shape: tuple[int, ...]) -> tuple[int, ...]:
    *leading, height, width, channels = shape
    return (*leading, math.ceil(height / 2), math.ceil(width / 2), 2 * channels)


def _embedding_tiles(embedding: Foreign, shape: tuple[int, ...], limit: int) -> Sequence[Tile]:
    clips, channels, frames, *_ = shape
    length = embedding.tuple_patch_size[0]
    patches = math.prod(_embedded_shape(embedding, shape)[2:])
    # Pixels, raw and normalised; what is convolved, its norm, and gradients of both.
    bytes_per_row = 4 * (2 * channels * length * math.prod(shape[3:]) + 4 * patches)
    step = length * max(limit // bytes_per_row, 1)
    return [
        Tile(
            (slice(clip, clip + 1), slice(None), slice(start, min(start + step, frames))),
            (slice(clip, clip + 1), slice(start // length, math.ceil(min(start + step, frames) / length))),
        )
        for clip in range(clips)
        for start in range(0, frames, step)
    ]


def _embedded_shape(embedding: Foreign, shape: tuple[int, ...]) -> tuple[int, ...]:
    patches = (math.ceil(a / b) for a, b in zip(shape[2:], embedding.tuple_patch_size, strict=True))
    return (shape[0], *patches, embedding.proj.out_channels)


def _is_video(block: Foreign) -> bool:
    return type(block.attn).__name__ == "ShiftedWindowAttention3d"


def _attention(block: Foreign, x: Tensor) -> Tensor:
    return block.stochastic_depth(block.attn(block.norm1(x)))


def _mlp(block: Foreign, x: Tensor) -> Tensor:
    return block.stochastic_depth(block.mlp(block.norm2(x)))


def _drop_path(block: Foreign, x: Tensor) -> Tensor:
    """The factor of every clip, (B, 1, ..., 1), from the numbers that the whole branch would draw; (0,) if it draws
    none."""
    depth = block.stochastic_depth
    if not depth.training or depth.p == 0:
        return x.new_empty(0)
    return depth(x.new_ones(x.shape[0], *(1 for _ in x.shape[1:])))


def _with_factor(layer: nn.Linear, factor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weight and bias, (0,) if there is none, of the last layer of a branch, and the factor of its clips.

    That of an only clip is multiplied into the layer, once for all tiles, and (0,) is left of it.
    """
    bias = factor.new_empty(0) if layer.bias is None else layer.bias
    if factor.numel() != 1:
        return layer.weight, bias, factor
    return layer.weight * factor.view(()), bias * factor.view(()), factor.new_empty(0)


def _times(y: Tensor, factor: Tensor, clips: slice) -> Tensor:
    return y * factor[clips] if factor.numel() else y


# The MLP, token by token


def _prepare_mlp(block: Foreign, x: Tensor) -> tuple[Tensor, ...]:
    return (_drop_path(block, x),)


def _mlp_tiles(block: Foreign, shape: tuple[int, ...], limit: int) -> Sequence[Tile] | None:
    if _drops(*(module.p for module in block.mlp.modules() if isinstance(module, nn.Dropout)), block=block):
        return None
    hidden = max(layer.out_features for layer in block.mlp.modules() if isinstance(layer, nn.Linear))
    if traits_of(block.norm2.weight.device).waits_for_calls:
        # The token, its norm and two gradients; what the layers hold between them, and the gradient of one of these.
        bytes_per_token = 4 * (4 * shape[-1] + 3 * hidden)
    else:  # with room: what is best on a processor was measured so
        bytes_per_token = 4 * (6 * shape[-1] + 4 * hidden)
    return [Tile(box, box) for box in leading_boxes(shape[:-1], max(limit // bytes_per_token, 1))]


def _mlp_of_tokens(block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    (factor,) = prepared
    return _times(block.mlp(block.norm2(x)), factor, tile.clips)


def _prepare_last_layer(block: Foreign, x: Tensor) -> tuple[Tensor, ...]:
    """As `_with_factor` gives them; the factor alone if the last layer is no plain one."""
    factor = _drop_path(block, x)
    last = block.mlp[_last_layer(block)]
    return _with_factor(last, factor) if type(last) is nn.Linear else (factor,)


def _mlp_with_last_layer(block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    *last, factor = prepared
    if not last:
        return _mlp_of_tokens(block, x, prepared, tile)
    y = block.norm2(x)
    for layer in list(block.mlp)[: _last_layer(block)]:
        y = layer(y)
    return _times(linear(y, *last), factor, tile.clips)


def _last_layer(block: Foreign) -> int:
    """Which of an MLP's is the last that computes; behind it is dropout, which is not active in tiles."""
    return max(place for place, layer in enumerate(block.mlp) if type(layer) not in OF_EACH_ELEMENT)


# Attention, window by window


@dataclass(frozen=True)
class _WindowRange:
    """Windows of one size that lie side by side along one axis."""

    start: int
    """The first token."""
    count: int
    size: int
    """Tokens of each."""
    offset: int
    """Where the first token stands in the block's own window, which says how far tokens are from each other."""


@dataclass(frozen=True)
class _Windows:
    """The windows of a tile: along each axis, how many of what size, and how many tokens the last one lacks."""

    counts: tuple[int, ...]
    size: tuple[int, ...]
    lacking: tuple[int, ...]
    kind: int
    """Which of the prepared position biases is theirs."""


def _runs(length: int, window: int, shift: int) -> list[_WindowRange]:
    """The windows along one axis.

    A shifted block rolls the axis by `shift`; of the window that then holds both ends, each end attends to itself
    alone. So nothing needs to be rolled: the ends are smaller windows. The axis is padded behind to whole windows, and
    tokens attend to the padding.

        length 10, window 4, shift 2:   |0 1|2 3 4 5|6 7 8 9|- -|      the last holds nothing but padding
    """
    whole = math.ceil(length / window)
    if not shift:
        return [_WindowRange(0, whole, window, 0)]
    runs = [
        _WindowRange(0, 1, shift, window - shift),
        _WindowRange(shift, min(whole - 1, math.ceil((length - shift) / window)), window, 0),
        _WindowRange((whole - 1) * window + shift, 1, window - shift, 0),
    ]
    return [run for run in runs if run.count > 0 and run.start < length]


def _window_and_shift(block: Foreign, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Along each axis; a window that is no shorter than the axis is cut to it and not shifted."""
    sizes = list(zip(shape[1:-1], block.attn.window_size, block.attn.shift_size, strict=True))
    window = tuple(min(length, full) for length, full, _ in sizes)
    return window, tuple(0 if length <= full else shift for length, full, shift in sizes)


def _kinds(block: Foreign, shape: tuple[int, ...]) -> list[tuple[_WindowRange, ...]]:
    """One run of windows along each axis, in all combinations."""
    window, shift = _window_and_shift(block, shape)
    return list(product(*(_runs(*axis) for axis in zip(shape[1:-1], window, shift, strict=True))))


def _prepare_attention(block: Foreign, x: Tensor) -> tuple[Tensor, ...]:
    """The factor of drop path, and for each kind of window its (heads, N, N) position bias."""
    factor = _drop_path(block, x)
    attention = block.attn
    window, _ = _window_and_shift(block, tuple(x.shape))
    tokens = math.prod(window)
    # Of a window that is cut, the block takes the first rows and columns, whatever the axis.
    index = attention.relative_position_index[:tokens, :tokens].view(*window, *window)
    table = attention.relative_position_bias_table.t()
    biases = []
    for kind in _kinds(block, tuple(x.shape)):
        inside = [slice(run.offset, run.offset + run.size) for run in kind]
        size = math.prod(run.size for run in kind)
        biases.append(table.index_select(1, index[(*inside, *inside)].flatten()).view(-1, size, size))
    return factor, *biases


def _attention_tiles(block: Foreign, shape: tuple[int, ...], limit: int) -> Sequence[Tile] | None:
    attention = block.attn
    if _drops(attention.attention_dropout, attention.dropout, block=block):
        return None
    tiles = []
    for kind, runs in enumerate(_kinds(block, shape)):
        tokens = math.prod(run.size for run in runs)
        axes = (shape[0], *(run.count for run in runs))
        most = max(limit // _bytes_per_window(block, tokens, shape[-1]), 1)
        for clips, *windows in leading_boxes(axes, most, full=True):
            boxes, lacking = [], []
            for run, chosen, length in zip(runs, windows, shape[1:-1], strict=True):
                end = run.start + chosen.stop * run.size
                boxes.append(slice(run.start + chosen.start * run.size, min(end, length)))
                lacking.append(max(end - length, 0))
            detail = _Windows(
                counts=tuple(chosen.stop - chosen.start for chosen in windows),
                size=tuple(run.size for run in runs),
                lacking=tuple(lacking),
                kind=kind,
            )
            tiles.append(Tile((clips, *boxes), (clips, *boxes), detail))
    return tiles


def _attend(block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    """What the block's own attention gives for these windows: (B, T, H, W, C) -> (B, T, H, W, C)."""
    windows, attention = tile.detail, block.attn
    assert isinstance(windows, _Windows)
    factor, bias = prepared[0], prepared[1 + windows.kind]
    y = block.norm1(x)
    if any(windows.lacking):  # after the norm: padding is zero and still attended to
        y = F.pad(y, (0, 0, *_padding(windows.lacking)))
    clips, channels = y.shape[0], y.shape[-1]
    tokens, heads = math.prod(windows.size), attention.num_heads
    split = [clips, *_interleaved(windows.counts, windows.size), channels]
    y = y.view(split).permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, tokens, channels)  # (windows, N, C)
    qkv = F.linear(y, attention.qkv.weight, attention.qkv.bias)
    q, k, v = qkv.view(-1, tokens, 3, heads, channels // heads).permute(2, 0, 3, 1, 4).unbind()
    scores = (q * (channels // heads) ** -0.5) @ k.transpose(-2, -1) + bias
    y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, tokens, channels)
    y = F.linear(y, attention.proj.weight, attention.proj.bias)
    y = y.view(clips, *windows.counts, *windows.size, channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
    whole = [count * size for count, size in zip(windows.counts, windows.size, strict=True)]
    y = y.reshape(clips, *whole, channels)
    if any(windows.lacking):
        y = y[(slice(None), *(slice(length - lack) for length, lack in zip(whole, windows.lacking, strict=True)))]
    return _times(y, factor, tile.clips)


# The same as batches of windows of one shape


def _prepare_windows(block: Foreign, x: Tensor) -> tuple[Tensor, ...]:
    """The position bias, weight and bias of the projection, the factor of drop path, and the masks of a shifted
    block."""
    window, shift = _window_and_shift(block, tuple(x.shape))
    tokens = math.prod(window)
    attention = block.attn
    index = attention.relative_position_index[:tokens, :tokens].flatten()
    bias = attention.relative_position_bias_table.t().index_select(1, index).view(-1, tokens, tokens)
    masks = window_masks(tuple(x.shape[:-1]), window, shift, like=bias)
    projection = _with_factor(attention.proj, _drop_path(block, x).flatten())
    return bias, *projection, *(() if masks is None else (masks,))


def _few_window_tiles(block: Foreign, shape: tuple[int, ...], limit: int) -> Sequence[Tile] | None:
    attention = block.attn
    if _drops(attention.attention_dropout, attention.dropout, block=block):
        return None
    window, shift = _window_and_shift(block, shape)
    tokens, heads = math.prod(window), attention.num_heads
    # Of fused kernels, the gradient of what is added to the scores; what is added itself where masks differ.
    scores = (1, 2) if traits_of(attention.qkv.weight.device).fuses_attention else (3, 3)
    most, most_masked = (max(limit // (4 * tokens * (12 * shape[-1] + n * heads * tokens)), 1) for n in scores)
    return window_tiles(shape[:-1], window, shift, most, most_masked)


def _attend_in_windows(block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    bias, *projection, factor = prepared[:4]
    masks = prepared[4] if len(prepared) > 4 else None
    assert isinstance(tile.detail, WindowBatch)
    return attend_in_windows(
        block, x, factor=factor, bias=bias, projection=projection, masks=masks, windows=tile.detail
    )


def _bytes_per_window(block: Foreign, tokens: int, channels: int) -> int:
    """Norm, queries, keys, values and results, twice over; scores and their softmax, and gradients of both."""
    return 4 * tokens * (14 * channels + 4 * block.attn.num_heads * tokens)


def _padding(lacking: Sequence[int]) -> Iterator[int]:
    """For `F.pad`: behind, the last axis first."""
    for lack in reversed(lacking):
        yield from (0, lack)


def _interleaved(a: Sequence[int], b: Sequence[int]) -> list[int]:
    return [value for pair in zip(a, b, strict=True) for value in pair]


def _drops(*probabilities: float, block: Foreign) -> bool:
    """Whether dropout is active inside the branch: its numbers are drawn for the whole."""
    return block.training and any(probability > 0 for probability in probabilities)
