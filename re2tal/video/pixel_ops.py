"""Image operations on single frames, to be applied alike to every frame of a clip.

C = 3 channels, H/W space. A frame is (3, H, W) RGB, uint8 or float32 in [0, 255]; every operation leaves its input
alone. One frame at a time stays in the processor's cache, and a chain of operations is rounded only where one of them
works on bytes, and at its end.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
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
    "for_each_frame",
    "invert",
    "posterize",
    "solarize",
    "translate",
]


@dataclass(frozen=True)
class FrameOp:
    """One change of a frame."""

    change: Callable[[Tensor], Tensor]
    """(3, H, W) -> the same shape; a float result may leave [0, 255]."""
    works_on: Literal["floats", "bytes", "either"]
    """What `change` takes; it returns the same."""


def apply(frame: Tensor, ops: Sequence[FrameOp]) -> Tensor:
    """(3, H, W) uint8 -> the same after `ops`, one after the other; clamped after each."""
    for op in ops:
        if op.works_on == "floats":
            frame = op.change(frame.float()).clamp_(0.0, 255.0)
        else:
            frame = op.change(_as_bytes(frame) if op.works_on == "bytes" else frame)
    return _as_bytes(frame)


def for_each_frame(clip: Tensor, *ops: FrameOp) -> Tensor:
    """(3, T, H, W) uint8 -> the same shape, every frame after `ops`."""
    return torch.stack([apply(frame, ops) for frame in clip.unbind(1)], dim=1)


def _as_bytes(frame: Tensor) -> Tensor:
    if frame.dtype == torch.uint8:
        return frame
    # By way of int16: torch converts float to uint8 one value at a time, seven times slower.
    return frame.round().to(torch.int16).to(torch.uint8)


def _grey(frame: Tensor) -> Tensor:
    """(3, H, W) -> (H, W). ITU-R BT.601 luma, as PIL and torchvision weigh grey."""
    return (frame[0] * 0.2989).add_(frame[1], alpha=0.587).add_(frame[2], alpha=0.114)


def adjust_brightness(factor: float) -> FrameOp:
    """Multiply by `factor`."""
    return FrameOp(lambda frame: frame * factor, "floats")


def adjust_contrast(factor: float) -> FrameOp:
    """Blend with the frame's mean grey; 0 is flat grey, 1 the original."""
    return FrameOp(lambda frame: (frame * factor).add_(_grey(frame).mean(), alpha=1.0 - factor), "floats")


def adjust_saturation(factor: float) -> FrameOp:
    """Blend with each pixel's grey; 0 is a grey image, 1 the original."""
    return FrameOp(lambda frame: (frame * factor).add_(_grey(frame), alpha=1.0 - factor), "floats")


def adjust_hue(shift: float) -> FrameOp:
    """Turn the hue of HSV by `shift` turns (at most half of one), keeping saturation and value.

    Hue counts sixths of a turn from red. Everything is multiplied by the chroma c = max - min, which
    spares the division, and written with minimum and maximum, since a case distinction per pixel costs
    thirty times an addition:

        distance from red  d = c + (max - r) - relu(r - max(g, b)) + relu(min(g, b) - r),  in [0, 3c]
        hue                h = d on green's side, -d on blue's
        channel            max - clamp(distance of h + shift from the channel's place - c, 0, c)
    """

    def turn(frame: Tensor) -> Tensor:
        red, green, blue = frame
        upper, lower = torch.maximum(green, blue), torch.minimum(green, blue)
        high, low = torch.maximum(upper, red), torch.minimum(lower, red)
        chroma = high - low
        distance = (chroma + high).sub_(red).sub_((red - upper).relu_()).add_((lower - red).relu_())
        hue = distance.copysign_(green - blue)
        output = torch.empty_like(frame)
        for channel, place in enumerate((0, 2, -2)):
            away = hue.add(chroma, alpha=6 * shift - place).abs_()  # at most 8c: one fold at 6c is enough
            away = torch.minimum(away, away.sub(chroma, alpha=6).abs_())
            torch.clamp(away.neg_().add_(high).add_(chroma), low, high, out=output[channel])
        return output

    return FrameOp(turn, "floats")


def adjust_sharpness(factor: float) -> FrameOp:
    """Blend with a 3 x 3 smoothed frame; 0 is smooth, 1 the original. The outermost pixels are kept."""

    def sharpen(frame: Tensor) -> Tensor:
        rows = (frame[:, :-2] + frame[:, 1:-1]).add_(frame[:, 2:])
        around = (rows[:, :, :-2] + rows[:, :, 1:-1]).add_(rows[:, :, 2:])
        # The kernel of PIL's SMOOTH filter: ones around a 5, divided by 13.
        output = frame.clone()
        output[:, 1:-1, 1:-1].mul_(factor + (1 - factor) * 4 / 13).add_(around, alpha=(1 - factor) / 13)
        return output

    return FrameOp(sharpen, "floats")


def autocontrast() -> FrameOp:
    """Stretch each channel to [0, 255]."""

    def stretch(frame: Tensor) -> Tensor:
        low, high = frame.amin(dim=(1, 2), keepdim=True), frame.amax(dim=(1, 2), keepdim=True)
        is_flat = high == low
        scale = torch.where(is_flat, 1.0, 255.0 / (high - low).clamp(min=1.0))
        return (frame - torch.where(is_flat, 0.0, low)).mul_(scale)

    return FrameOp(stretch, "floats")


def equalize() -> FrameOp:
    """Make the histogram of each channel as flat as a look-up table can."""

    def flatten(frame: Tensor) -> Tensor:
        output = torch.empty_like(frame)
        for channel, plane in enumerate(frame):
            histogram = torch.bincount(plane.flatten(), minlength=256)
            step = int(plane.numel() - histogram[histogram.nonzero()[-1]]) // 255
            if step == 0:
                output[channel] = plane
                continue
            before = histogram.cumsum(0) - histogram
            table = ((before + step // 2) // step).clamp_(max=255).to(torch.uint8)
            output[channel] = torch.from_numpy(np.take(table.numpy(), plane.numpy()))
        return output

    return FrameOp(flatten, "bytes")


def invert() -> FrameOp:
    """255 minus every value."""
    return FrameOp(lambda frame: 255 - frame, "either")


def posterize(bits: int) -> FrameOp:
    """Keep the highest `bits` bits of every value."""
    return FrameOp(lambda frame: frame & (256 - 2 ** (8 - bits)), "bytes")


def solarize(threshold: int) -> FrameOp:
    """Invert the values at or above `threshold`."""

    def turn(frame: Tensor) -> Tensor:
        values = frame.numpy()  # numpy compares bytes thirty times faster than torch does
        above = np.negative((values >= threshold).view(np.uint8))  # 255 where true
        return torch.from_numpy(values ^ above)

    return FrameOp(turn, "bytes")


def flip() -> FrameOp:
    """Mirror left and right."""
    return FrameOp(lambda frame: frame.flip(-1), "either")


def translate(*, x: int = 0, y: int = 0) -> FrameOp:
    """Move the picture `x` pixels to the right and `y` down; what is uncovered is black."""

    def move(frame: Tensor) -> Tensor:
        height, width = frame.shape[1:]
        output = torch.zeros_like(frame)
        output[:, max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = frame[
            :, max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)
        ]
        return output

    return FrameOp(move, "either")


def cut_out(*, center: tuple[int, int], side: int) -> FrameOp:
    """Grey out a square of `side` pixels around `center` = (row, column), cut off at the border."""
    top, left = (max(middle - side // 2, 0) for middle in center)
    bottom, right = (max(middle - side // 2 + side, 0) for middle in center)

    def cut(frame: Tensor) -> Tensor:
        output = frame.clone()
        output[:, top:bottom, left:right] = 128
        return output

    return FrameOp(cut, "either")


def affine(
    size: tuple[int, int], *, rotate_degrees: float = 0.0, shear_x_degrees: float = 0.0, shear_y_degrees: float = 0.0
) -> FrameOp:
    """Rotate clockwise or shear frames of `size` = (H, W) about the centre, bilinear; what is uncovered is black."""
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
    grid = grid / torch.tensor([width / 2, height / 2])

    return FrameOp(
        lambda frame: F.grid_sample(frame[None], grid[None], mode="bilinear", align_corners=False)[0], "floats"
    )
