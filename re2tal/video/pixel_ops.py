"""Image operations, the same for every frame of a clip.

C = 3 channels, T frames, H/W space. Frames are (3, T, H, W) RGB, uint8 or float32 in [0, 255]; every operation leaves
its input alone. As few frames at a time as stay in the processor's cache are best, and a chain of operations is rounded
only where one of them works on bytes, and at its end.

What torchvision.transforms.v2 has of the same takes longer, but for `equalize`, which is taken from there, and for what
is one line here (docs/log.md has the figures).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "Changes",
    "FrameOp",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "adjust_sharpness",
    "affine",
    "apply",
    "autocontrast",
    "cut_out",
    "equalize",
    "flip",
    "invert",
    "posterize",
    "solarize",
    "translate",
]

_PIXELS_AT_ONCE = 2**23
"""Of `Changes`: 167 frames of 224 x 224, with which operations take some 400 MB of a device that is yet idle."""


@dataclass(frozen=True)
class FrameOp:
    """One change of frames, of each by itself. Those of this module can be pickled, and work on any device."""

    change: Callable[[Tensor], Tensor]
    """(3, T, H, W) -> the same shape; a float result may leave [0, 255]."""
    works_on: Literal["floats", "bytes", "either"]
    """What `change` takes; it returns the same."""


@dataclass(frozen=True)
class Changes:
    """Operations of one clip, to be applied where its frames are once they are all there."""

    ops: tuple[FrameOp, ...]

    def __call__(self, frames: Tensor) -> Tensor:
        """(3, T, H, W) uint8 -> the same, a part of the frames after the other."""
        at_once = max(_PIXELS_AT_ONCE // (frames.shape[2] * frames.shape[3]), 1)
        changed = torch.empty_like(frames)
        for before, after in zip(frames.split(at_once, dim=1), changed.split(at_once, dim=1), strict=True):
            after.copy_(apply(before.contiguous(), self.ops))
        return changed


def apply(frames: Tensor, ops: Sequence[FrameOp]) -> Tensor:
    """(3, T, H, W) uint8 -> the same after `ops`, one after the other; clamped after each."""
    for op in ops:
        if op.works_on == "floats":
            frames = op.change(frames.float()).clamp_(0.0, 255.0)
        else:
            frames = op.change(_as_bytes(frames) if op.works_on == "bytes" else frames)
    return _as_bytes(frames)


def _as_bytes(frames: Tensor) -> Tensor:
    if frames.dtype == torch.uint8:
        return frames
    # By way of int16: torch converts float to uint8 one value at a time, seven times slower.
    return frames.round().to(torch.int16).to(torch.uint8)


def _grey(frames: Tensor) -> Tensor:
    """(3, T, H, W) -> (T, H, W). ITU-R BT.601 luma, as PIL and torchvision weigh grey."""
    return (frames[0] * 0.2989).add_(frames[1], alpha=0.587).add_(frames[2], alpha=0.114)


def adjust_brightness(factor: float) -> FrameOp:
    """Multiply by `factor`."""
    return FrameOp(partial(torch.mul, other=factor), "floats")


def adjust_contrast(factor: float) -> FrameOp:
    """Blend with the frame's mean grey; 0 is flat grey, 1 the original."""
    return FrameOp(partial(_blend_with_grey, factor=factor, mean=True), "floats")


def adjust_saturation(factor: float) -> FrameOp:
    """Blend with each pixel's grey; 0 is a grey image, 1 the original."""
    return FrameOp(partial(_blend_with_grey, factor=factor, mean=False), "floats")


def _blend_with_grey(frames: Tensor, *, factor: float, mean: bool) -> Tensor:
    grey = _grey(frames)
    return (frames * factor).add_(grey.mean((1, 2), keepdim=True) if mean else grey, alpha=1.0 - factor)


def adjust_hue(shift: float) -> FrameOp:
    """Turn the hue of HSV by `shift` turns (at most half of one), keeping saturation and value.

    Hue counts sixths of a turn from red. Everything is multiplied by the chroma c = max - min, which
    spares the division, and written with minimum and maximum, since a case distinction per pixel costs
    thirty times an addition:

        distance from red  d = c + (max - r) - relu(r - max(g, b)) + relu(min(g, b) - r),  in [0, 3c]
        hue                h = d on green's side, -d on blue's
        channel            max - clamp(distance of h + shift from the channel's place - c, 0, c)
    """
    return FrameOp(partial(_turn, shift=shift), "floats")


def _turn(frames: Tensor, *, shift: float) -> Tensor:
    red, green, blue = frames
    upper, lower = torch.maximum(green, blue), torch.minimum(green, blue)
    high, low = torch.maximum(upper, red), torch.minimum(lower, red)
    chroma = high - low
    distance = (chroma + high).sub_(red).sub_((red - upper).relu_()).add_((lower - red).relu_())
    hue = distance.copysign_(green - blue)
    output = torch.empty_like(frames)
    for channel, place in enumerate((0, 2, -2)):
        away = hue.add(chroma, alpha=6 * shift - place).abs_()  # at most 8c: one fold at 6c is enough
        away = torch.minimum(away, away.sub(chroma, alpha=6).abs_())
        torch.clamp(away.neg_().add_(high).add_(chroma), low, high, out=output[channel])
    return output


def adjust_sharpness(factor: float) -> FrameOp:
    """Blend with a 3 x 3 smoothed frame; 0 is smooth, 1 the original. The outermost pixels are kept."""
    return FrameOp(partial(_sharpen, factor=factor), "floats")


def _sharpen(frames: Tensor, *, factor: float) -> Tensor:
    rows = (frames[..., :-2, :] + frames[..., 1:-1, :]).add_(frames[..., 2:, :])
    around = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    # The kernel of PIL's SMOOTH filter: ones around a 5, divided by 13.
    output = frames.clone()
    output[..., 1:-1, 1:-1].mul_(factor + (1 - factor) * 4 / 13).add_(around, alpha=(1 - factor) / 13)
    return output


def autocontrast() -> FrameOp:
    """Stretch each channel to [0, 255]."""
    return FrameOp(_stretch, "floats")


def _stretch(frames: Tensor) -> Tensor:
    low, high = frames.amin(dim=(2, 3), keepdim=True), frames.amax(dim=(2, 3), keepdim=True)
    is_flat = high == low
    scale = torch.where(is_flat, 1.0, 255.0 / (high - low).clamp(min=1.0))
    return (frames - torch.where(is_flat, 0.0, low)).mul_(scale)


def equalize() -> FrameOp:
    """Make the histogram of each channel as flat as a look-up table can."""
    return FrameOp(_flatten, "bytes")


def _flatten(frames: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import equalize  # most of the time of importing this package

    flat: Tensor = equalize(frames)
    return flat


def invert() -> FrameOp:
    """255 minus every value."""
    return FrameOp(partial(torch.rsub, other=255), "either")


def posterize(bits: int) -> FrameOp:
    """Keep the highest `bits` bits of every value."""
    return FrameOp(partial(torch.bitwise_and, other=256 - 2 ** (8 - bits)), "bytes")


def solarize(threshold: int) -> FrameOp:
    """Invert the values at or above `threshold`."""
    return FrameOp(partial(_solarize, threshold=threshold), "bytes")


def _solarize(frames: Tensor, *, threshold: int) -> Tensor:
    if not frames.is_cpu:
        return torch.where(frames >= threshold, 255 - frames, frames)
    values = frames.numpy()  # numpy compares bytes thirty times faster than torch does
    above = np.negative((values >= threshold).view(np.uint8))  # 255 where true
    return torch.from_numpy(values ^ above)


def flip() -> FrameOp:
    """Mirror left and right."""
    return FrameOp(partial(torch.flip, dims=(-1,)), "either")


def translate(*, x: int = 0, y: int = 0) -> FrameOp:
    """Move the picture `x` pixels to the right and `y` down; what is uncovered is black."""
    return FrameOp(partial(_move, x=x, y=y), "either")


def _move(frames: Tensor, *, x: int, y: int) -> Tensor:
    height, width = frames.shape[2:]
    output = torch.zeros_like(frames)
    output[..., max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = frames[
        ..., max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)
    ]
    return output


def cut_out(*, center: tuple[int, int], side: int) -> FrameOp:
    """Grey out a square of `side` pixels around `center` = (row, column), cut off at the border."""
    rows, columns = (slice(max(middle - side // 2, 0), max(middle - side // 2 + side, 0)) for middle in center)
    return FrameOp(partial(_cut, rows=rows, columns=columns), "either")


def _cut(frames: Tensor, *, rows: slice, columns: slice) -> Tensor:
    output = frames.clone()
    output[..., rows, columns] = 128
    return output


def affine(
    size: tuple[int, int], *, rotate_degrees: float = 0.0, shear_x_degrees: float = 0.0, shear_y_degrees: float = 0.0
) -> FrameOp:
    """Rotate clockwise or shear frames of `size` = (H, W) about the centre, bilinear; what is uncovered is black."""
    return FrameOp(_Affine(size, rotate_degrees, shear_x_degrees, shear_y_degrees), "floats")


class _Affine:
    def __init__(self, *drawn: Any) -> None:
        self._drawn = drawn
        self._grid: Tensor | None = None
        """On the device of the frames; not pickled."""

    def __reduce__(self) -> Any:
        return _Affine, self._drawn

    def __call__(self, frames: Tensor) -> Tensor:
        if self._grid is None or self._grid.device != frames.device:
            self._grid = _grid(*self._drawn).to(frames.device, non_blocking=True)
        images = frames.transpose(0, 1)  # (T, 3, H, W)
        grids = self._grid.expand(len(images), -1, -1, -1)
        return F.grid_sample(images, grids, mode="bilinear", align_corners=False).transpose(0, 1).contiguous()


def _grid(size: tuple[int, int], rotate_degrees: float, shear_x_degrees: float, shear_y_degrees: float) -> Tensor:
    """(H, W, 2) where each pixel is read, as `grid_sample` wants it."""
    height, width = size
    angle = math.radians(rotate_degrees)
    # Rows: where in the input (x, y), from the centre in pixels, an output pixel is read.
    matrix = torch.tensor(
        [
            [math.cos(angle), math.sin(angle) + math.tan(math.radians(shear_x_degrees))],
            [-math.sin(angle) + math.tan(math.radians(shear_y_degrees)), math.cos(angle)],
        ]
    )
    xs = torch.arange(width) - (width - 1) / 2
    ys = torch.arange(height) - (height - 1) / 2
    grid = torch.stack(torch.broadcast_tensors(xs[None, :], ys[:, None]), dim=-1) @ matrix.T  # (H, W, 2)
    return grid / torch.tensor([width / 2, height / 2])
