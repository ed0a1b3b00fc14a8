"""Residual blocks of post-activation ResNets.

The original is `relu(x + f(x))`. Rewired, the activation moves into the branch, `x + relu(f(x))`, in every block; in
the first of a stage too, `relu(f(x)) + downsample(x)`, where the streams that follow start.

B batch, C channels, T frames, H/W space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from re2tal.reversible.blocks.exact import are, computes_as_published
from re2tal.reversible.blocks.split import Foreign, Split
from re2tal.reversible.branch import Branch
from re2tal.reversible.devices import laid_out
from re2tal.reversible.patched import call_own
from re2tal.reversible.tiles import Tile, Tiling, nothing_shared

__all__ = ["split_bottleneck", "split_torchvision_bottleneck", "stem"]


def split_bottleneck(block: Foreign) -> Split:
    """Our own SlowFast's bottleneck."""
    exact = _is_exact(block)
    if block.downsample is not None:
        return Split(transition=Branch(block, _transition, tiling=_TRANSITION, keeps_shape=False), exact=exact)
    return Split(branches=(Branch(block, _branch, tiling=_BRANCH, ends_in_activation=True),), exact=exact)


def _is_exact(owner: Foreign) -> bool:
    """Whether every layer is a plain convolution with a batch norm, which `_fold` may read."""
    layers = _layers(owner)
    return (
        computes_as_published(owner)
        and are((layer.conv for layer in layers), (nn.Conv3d,))
        and are((layer.bn for layer in layers), (nn.BatchNorm3d,))
        and all(layer.conv.bias is None and layer.conv.padding_mode == "zeros" for layer in layers)
        and all(layer.conv.groups == 1 and layer.conv.dilation == (1, 1, 1) for layer in layers)
        and all(layer.bn.affine and layer.bn.running_var is not None for layer in layers)
    )


def _branch(block: Foreign, x: Tensor) -> Tensor:
    return F.relu(block.residual(x), inplace=True)


def _transition(block: Foreign, x: Tensor) -> Tensor:
    return _branch(block, x) + block.shortcut(x)


def _torchvision_branch(block: Foreign, x: Tensor) -> Tensor:
    for name in ("conv1", "conv2", "conv3"):
        if name in block._modules:  # a basic block has two
            x = block._modules[name](x)
    return F.relu(x, inplace=True)


def _torchvision_transition(block: Foreign, x: Tensor) -> Tensor:
    return _torchvision_branch(block, x) + block.downsample(x)


def split_torchvision_bottleneck(block: Foreign) -> Split:
    """Blocks of torchvision's R3D, MC3 and R(2+1)D."""
    exact = computes_as_published(block)
    if block.downsample is not None:
        return Split(transition=Branch(block, _torchvision_transition, keeps_shape=False), exact=exact)
    return Split(branches=(Branch(block, _torchvision_branch, ends_in_activation=True),), exact=exact)


# Some frames at a time: only the first convolution sees their neighbours


def stem(module: Foreign) -> Split:
    """Our own SlowFast's stem."""
    return Split(transition=Branch(module, call_own, tiling=_STEM, keeps_shape=False), exact=_is_exact(module))


def _layers(owner: Foreign) -> list[Foreign]:
    """The convolutions with their norms; the last of four is the shortcut's."""
    return [module for module in owner.modules() if hasattr(module, "conv") and hasattr(module, "bn")]


def _block_tiles(block: Foreign, shape: tuple[int, ...], limit: int) -> Sequence[Tile] | None:
    widths = [layer.conv.out_channels for layer in _layers(block)]
    # The input and every layer's result, their gradients, and copies in another order.
    bytes_per_frame = 4 * math.prod(shape[3:]) * 2 * (shape[1] + sum(widths))
    return _time_tiles(block, shape, frames=limit // bytes_per_frame, conv=block.conv1.conv)


def _stem_tiles(module: Foreign, shape: tuple[int, ...], limit: int) -> Sequence[Tile] | None:
    conv = module.conv
    # Pixels, raw and normalised; what is convolved and its gradient; and what pooling leaves of it.
    convolved = conv.out_channels * math.prod(shape[3:]) / 4
    bytes_per_frame = int(4 * (2 * math.prod(shape[3:]) * shape[1] + 3 * convolved))
    return _time_tiles(module, shape, frames=limit // bytes_per_frame, conv=conv)


def _time_tiles(owner: Foreign, shape: tuple[int, ...], *, frames: int, conv: Foreign) -> Sequence[Tile] | None:
    """Tiles of so many frames; `conv` is the only layer that sees their neighbours."""
    if any(isinstance(module, _BatchNorm) and module.training for module in owner.modules()):
        return None  # statistics are of the whole clip
    clips, _, length, *_ = shape
    step, halo = max(frames, 1), conv.kernel_size[0] // 2
    return [
        _time_tile(clip, start, min(start + step, length), length=length, halo=halo)
        for clip in range(clips)
        for start in range(0, length, step)
    ]


@dataclass(frozen=True)
class _Outside:
    """How many frames that a tile's convolution sees lie before and behind the clip; they are zero."""

    before: int
    behind: int


def _time_tile(clip: int, start: int, end: int, *, length: int, halo: int) -> Tile:
    """Frames `start` to `end` of a clip."""
    first, last = max(start - halo, 0), min(end + halo, length)
    return Tile(
        read=(slice(clip, clip + 1), slice(None), slice(first, last)),
        write=(slice(clip, clip + 1), slice(None), slice(start, end)),
        detail=_Outside(first - (start - halo), end + halo - last),
    )


def _stem_shape(module: Foreign, shape: tuple[int, ...]) -> tuple[int, ...]:
    clips, _, length, *space = shape
    return clips, module.conv.out_channels, length, *(math.ceil(math.ceil(size / 2) / 2) for size in space)


def _transition_shape(block: Foreign, shape: tuple[int, ...]) -> tuple[int, ...]:
    _, *strides = block.conv2.conv.stride
    clips, _, length, *space = shape
    halved = (math.ceil(size / stride) for size, stride in zip(space, strides, strict=True))
    return clips, block.conv3.conv.out_channels, length, *halved


class _Layer(Protocol):
    """Computes a convolution, its norm and, if so, an activation for a tile, (1, C, T, H, W) -> (1, C', T, H', W')."""

    def __call__(self, layer: Foreign, x: Tensor, outside: _Outside | None = None, *, relu: bool = False) -> Tensor:
        """With `outside`, padded in time only where the clip ends."""


def _stem_of_tile(module: Foreign, x: Tensor, computed: _Layer, outside: _Outside) -> Tensor:
    # Not every pooling keeps the order.
    return laid_out(module.shrink(computed(module, module.normalise(x), outside)))


def _branch_of_tile(block: Foreign, x: Tensor, computed: _Layer, outside: _Outside) -> Tensor:
    x = computed(block.conv1, x, outside, relu=True)
    x = computed(block.conv2, x, relu=True)
    return computed(block.conv3, x, relu=True)


def _transition_of_tile(block: Foreign, x: Tensor, computed: _Layer, outside: _Outside) -> Tensor:
    halo = block.conv1.conv.kernel_size[0] // 2
    written = x[:, :, halo - outside.before : x.shape[2] - halo + outside.behind]
    return _branch_of_tile(block, x, computed, outside) + computed(block.downsample, written)


def _padded(x: Tensor, outside: _Outside) -> Tensor:
    return F.pad(x, (0, 0, 0, 0, outside.before, outside.behind)) if outside.before or outside.behind else x


def _activated(x: Tensor, relu: bool) -> Tensor:
    return F.relu(x, inplace=True) if relu else x


OfTile = Callable[[Foreign, Tensor, _Layer, _Outside], Tensor]


# On accelerators the layers as they are: kernels in 3-D are fast, and every further call costs


def _as_it_is(layer: Foreign, x: Tensor, outside: _Outside | None = None, *, relu: bool = False) -> Tensor:
    conv = layer.conv
    halo, *padding = map(int, conv.padding)
    if outside is None or outside.before == outside.behind == halo:
        return _activated(layer.bn(conv(x)), relu)
    return _activated(layer.bn(F.conv3d(_padded(x, outside), conv.weight, None, conv.stride, (0, *padding))), relu)


def _with_layers(of_tile: OfTile, owner: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    return of_tile(owner, x, _as_it_is, tile.detail)  # type: ignore[arg-type]


# On a CPU norms that do not train are folded into the convolutions, once for all tiles. A frame is an element of the
# batch where a convolution sees space, and a clip of frames is one tall picture where it sees neither: a CPU has its
# fastest kernels for pictures, and none worth the name for few frames in 3-D.


def _fold(owner: Foreign, x: Tensor) -> tuple[Tensor, ...]:
    """Weight and bias of every convolution of a block or stem, with its norm inside."""
    folded: list[Tensor] = []
    for layer in _layers(owner):
        norm = layer.bn
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = layer.conv.weight
        folded += [weight * scale.view(-1, 1, 1, 1, 1), norm.bias - norm.running_mean * scale]
    return tuple(folded)


def _with_folded(of_tile: OfTile, owner: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    pairs = {id(layer): pair for layer, *pair in zip(_layers(owner), prepared[::2], prepared[1::2], strict=True)}

    def computed(layer: Foreign, x: Tensor, outside: _Outside | None = None, *, relu: bool = False) -> Tensor:
        weight, bias = pairs[id(layer)]
        (_, down, across), (_, *padding) = layer.conv.stride, map(int, layer.conv.padding)
        # In place an activation comes before any view: of a view, autograd would copy the gradient three times.
        if weight.shape[2:] == (1, 1, 1):
            clips, channels, length, height, width = (x := x[..., ::down, ::across]).shape
            tall = x.reshape(clips, channels, length * height, width)
            pixels = _activated(F.conv2d(tall, weight.squeeze(2), bias), relu)
            return pixels.view(clips, -1, length, height, width)
        if outside is None:
            frames = F.conv2d(x.squeeze(0).transpose(0, 1), weight.squeeze(2), bias, (down, across), padding)
            return _activated(frames, relu).transpose(0, 1).unsqueeze(0)
        # Padding is written, not left to the convolution: where a tile has fewer frames than its kernel, torch 2.14
        # computes wrong weight gradients of padded convolutions in bfloat16 on the CPU.
        return _activated(F.conv3d(_padded(x, outside), weight, bias, layer.conv.stride, (0, *padding)), relu)

    return of_tile(owner, x, computed, tile.detail)  # type: ignore[arg-type]


def _tiling(
    of_tile: OfTile,
    tiles: Callable[[Foreign, tuple[int, ...], int], Sequence[Tile] | None],
    result: Callable[[Foreign, tuple[int, ...]], tuple[int, ...]] | None = None,
) -> Tiling:
    few = Tiling(nothing_shared, tiles, partial(_with_layers, of_tile), result)
    return Tiling(_fold, tiles, partial(_with_folded, of_tile), result, in_few=few)


_STEM = _tiling(_stem_of_tile, _stem_tiles, _stem_shape)
_BRANCH = _tiling(_branch_of_tile, _block_tiles)
_TRANSITION = _tiling(_transition_of_tile, _block_tiles, _transition_shape)
