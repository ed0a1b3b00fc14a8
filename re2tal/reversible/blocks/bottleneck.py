"""Residual blocks of post-activation ResNets.

The original is `relu(x + f(x))`. Rewired, the activation moves into the branch, `x + relu(f(x))`, in every block; in
the first of a stage too, `relu(f(x)) + downsample(x)`, where the streams that follow start.

B batch, C channels, T frames, H/W space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from re2tal.reversible.blocks.exact import are, computes_as_published
from re2tal.reversible.blocks.split import Foreign, Split
from re2tal.reversible.branch import Branch
from re2tal.reversible.devices import laid_out
from re2tal.reversible.patched import call_own
from re2tal.reversible.tiles import Tile, Tiling

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


# Frame by frame: only the first convolution sees more than one, its neighbours


#
# Norms that do not train are folded into the convolutions, once for all tiles. A frame is an element of the batch where
# a convolution sees space, and a clip of frames is one tall picture where it sees neither: the CPU has its fastest
# kernels for pictures, and none worth the name for few frames in 3-D.


def stem(module: Foreign) -> Split:
    """Our own SlowFast's stem."""
    few = Tiling(_nothing, _stem_tiles, _stem_in_3d, _stem_shape)
    tiling = Tiling(_fold, _stem_tiles, _stem_of_frames, _stem_shape, in_few=few)
    return Split(transition=Branch(module, call_own, tiling=tiling, keeps_shape=False), exact=_is_exact(module))


def _fold(owner: Foreign, x: Tensor) -> tuple[Tensor, ...]:
    """Weight and bias of every convolution of a block or stem, with its norm inside."""
    folded: list[Tensor] = []
    for layer in _layers(owner):
        norm = layer.bn
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = layer.conv.weight
        folded += [weight * scale.view(-1, 1, 1, 1, 1), norm.bias - norm.running_mean * scale]
    return tuple(folded)


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


def _stem_of_frames(module: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    weight, bias = prepared
    x = _conv_in_time(module.normalise(x), weight, bias, module.conv, tile.detail)
    return module.shrink(x)


def _branch_of_frames(block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    first, first_bias, second, second_bias, third, third_bias, *_ = prepared
    x = F.relu(_conv_in_time(x, first, first_bias, block.conv1.conv, tile.detail), inplace=True)
    x = F.relu(_conv_in_space(x, second, second_bias, block.conv2.conv), inplace=True)
    return F.relu(_conv_of_pixels(x, third, third_bias), inplace=True)


def _transition_of_frames(block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    own = _without_halo(x, block.conv1.conv, tile.detail)
    *_, weight, bias = prepared
    _, down, across = block.downsample.conv.stride
    shortcut = _conv_of_pixels(own[..., ::down, ::across], weight, bias)
    return _branch_of_frames(block, x, prepared, tile) + shortcut


def _without_halo(x: Tensor, conv: Foreign, outside: object) -> Tensor:
    """The frames that a tile writes, of those that it reads."""
    assert isinstance(outside, _Outside)
    halo = conv.kernel_size[0] // 2
    return x[:, :, halo - outside.before : x.shape[2] - halo + outside.behind]


def _conv_in_time(x: Tensor, weight: Tensor, bias: Tensor, like: Foreign, outside: object) -> Tensor:
    """With the strides and padding of `like`, but in time only where the clip ends: (1, C, T, H, W)."""
    assert isinstance(outside, _Outside)
    if weight.shape[2:] == (1, 1, 1) and like.stride == (1, 1, 1):
        return _conv_of_pixels(x, weight, bias)
    if outside.before or outside.behind:
        x = F.pad(x, (0, 0, 0, 0, outside.before, outside.behind))
    _, *padding = like.padding
    return F.conv3d(x, weight, bias, stride=like.stride, padding=(0, *map(int, padding)))


def _conv_in_space(x: Tensor, weight: Tensor, bias: Tensor, like: Foreign) -> Tensor:
    """Kernel (1, k, k): (1, C, T, H, W)."""
    _, *stride = like.stride
    _, *padding = map(int, like.padding)
    return F.conv2d(x[0].transpose(0, 1), weight[:, :, 0], bias, stride, padding).transpose(0, 1)[None]


def _conv_of_pixels(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Kernel (1, 1, 1): (1, C, T, H, W)."""
    clips, channels, length, height, width = x.shape
    tall = x.reshape(clips, channels, length * height, width)
    return F.conv2d(tall, weight[:, :, 0], bias).view(clips, -1, length, height, width)


# The same with the layers as they are, for devices with fast kernels in 3-D, on which every further call costs


def _nothing(owner: Foreign, x: Tensor) -> tuple[Tensor, ...]:
    return ()


def _stem_in_3d(module: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    # Not every pooling keeps the order.
    return laid_out(module.shrink(_layer_in_time(module, module.normalise(x), tile.detail)))


def _branch_in_3d(block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    x = F.relu(_layer_in_time(block.conv1, x, tile.detail), inplace=True)
    x = F.relu(block.conv2(x), inplace=True)
    return F.relu(block.conv3(x), inplace=True)


def _transition_in_3d(block: Foreign, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile) -> Tensor:
    own = _without_halo(x, block.conv1.conv, tile.detail)
    return _branch_in_3d(block, x, prepared, tile) + block.downsample(own)


def _layer_in_time(layer: Foreign, x: Tensor, outside: object) -> Tensor:
    """A convolution and its norm, padded in time only where the clip ends."""
    assert isinstance(outside, _Outside)
    conv = layer.conv
    halo, *padding = map(int, conv.padding)
    if outside.before == outside.behind == halo:
        return layer.bn(conv(x))
    x = F.pad(x, (0, 0, 0, 0, outside.before, outside.behind))
    return layer.bn(F.conv3d(x, conv.weight, None, conv.stride, (0, *padding)))


_BRANCH = Tiling(_fold, _block_tiles, _branch_of_frames, in_few=Tiling(_nothing, _block_tiles, _branch_in_3d))
_TRANSITION = Tiling(
    _fold,
    _block_tiles,
    _transition_of_frames,
    _transition_shape,
    in_few=Tiling(_nothing, _block_tiles, _transition_in_3d, _transition_shape),
)
