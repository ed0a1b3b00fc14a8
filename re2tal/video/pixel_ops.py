"""Image operations on whole clips: the same change in every frame, one pass over memory.

C = 3 channels, T frames, H/W space. Every function takes and returns a (3, T, H, W) uint8 RGB clip and
leaves its input alone. Arithmetic is float32 on one frame at a time, which stays in the processor's
cache, and is rounded once at the end.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "adjust_sharpness",
    "affine",
    "autocontrast",
    "cut_out",
    "equalize",
    "for_each_frame",
    "invert",
    "posterize",
    "solarize",
    "translate",
]

FrameOp = Callable[[Tensor], Tensor]
"""(3, H, W) float in [0, 255] -> the same."""

# ITU-R BT.601 luma, as PIL and torchvision weigh grey.
_GREY = (0.2989, 0.587, 0.114)


def for_each_frame(clip: Tensor, *ops: FrameOp) -> Tensor:
    """Apply `ops` one after the other to every frame; clamped after each, rounded at the end."""
    output = torch.empty_like(clip)
    for t in range(clip.shape[1]):
        frame = clip[:, t].float()
        for op in ops:
            frame = op(frame).clamp_(0.0, 255.0)
        # By way of int16: torch converts float to uint8 one value at a time, seven times slower.
        output[:, t] = frame.round_().to(torch.int16)
    return output


def _grey(frame: Tensor) -> Tensor:
    """(3, H, W) -> (H, W)."""
    return (frame[0] * _GREY[0]).add_(frame[1], alpha=_GREY[1]).add_(frame[2], alpha=_GREY[2])


def adjust_brightness(factor: float) -> FrameOp:
    """Multiply by `factor`."""
    return lambda frame: frame * factor


def adjust_contrast(factor: float) -> FrameOp:
    """Blend with the frame's mean grey; 0 is flat grey, 1 the original."""
    return lambda frame: (frame * factor).add_(_grey(frame).mean(), alpha=1.0 - factor)


def adjust_saturation(factor: float) -> FrameOp:
    """Blend with each pixel's grey; 0 is a grey image, 1 the original."""
    return lambda frame: (frame * factor).add_(_grey(frame), alpha=1.0 - factor)


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

    return turn


def adjust_sharpness(factor: float) -> FrameOp:
    """Blend with a 3 x 3 smoothed frame; 0 is smooth, 1 the original. The outermost pixels are kept."""

    def sharpen(frame: Tensor) -> Tensor:
        rows = (frame[:, :-2] + frame[:, 1:-1]).add_(frame[:, 2:])
        around = (rows[:, :, :-2] + rows[:, :, 1:-1]).add_(rows[:, :, 2:])
        # The kernel of PIL's SMOOTH filter: ones around a 5, divided by 13.
        output = frame.clone()
        output[:, 1:-1, 1:-1].mul_(factor + (1 - factor) * 4 / 13).add_(around, alpha=(1 - factor) / 13)
        return output

    return sharpen


def autocontrast(frame: Tensor) -> Tensor:
    """Stretch each channel to [0, 255]; a `FrameOp`."""
    low, high = frame.amin(dim=(1, 2), keepdim=True), frame.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (frame - low) * (255.0 / (high - low).clamp(min=1.0)), frame)


def equalize(clip: Tensor) -> Tensor:
    """Make the histogram of each channel of each frame as flat as a look-up table can."""
    output = torch.empty_like(clip)
    for channel in range(clip.shape[0]):
        for t in range(clip.shape[1]):
            plane = clip[channel, t].long()
            histogram = torch.bincount(plane.flatten(), minlength=256)
            step = int(plane.numel() - histogram[plane.max()]) // 255
            if step == 0:
                output[channel, t] = clip[channel, t]
                continue
            before = histogram.cumsum(0) - histogram
            table = ((before + step // 2) // step).clamp_(max=255).to(torch.uint8)
            output[channel, t] = table.take(plane)
    return output


def invert(clip: Tensor) -> Tensor:
    """255 minus every value."""
    return ~clip


def posterize(clip: Tensor, *, bits: int) -> Tensor:
    """Keep the highest `bits` bits of every value."""
    return clip & (256 - 2 ** (8 - bits))


def solarize(clip: Tensor, *, threshold: int) -> Tensor:
    """Invert the values at or above `threshold`."""
    values = clip.numpy()  # numpy compares bytes thirty times faster than torch does
    above = np.negative((values >= threshold).view(np.uint8))  # 255 where true
    return torch.from_numpy(values ^ above)


def translate(clip: Tensor, *, x: int = 0, y: int = 0) -> Tensor:
    """Move the picture `x` pixels to the right and `y` down; what is uncovered is black."""
    height, width = clip.shape[2:]
    output = torch.zeros_like(clip)
    output[:, :, max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = clip[
        :, :, max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)
    ]
    return output


def cut_out(clip: Tensor, *, center: tuple[int, int], side: int) -> Tensor:
    """Grey out a square of `side` pixels around `center` = (row, column), cut off at the border."""
    top, left = (max(middle - side // 2, 0) for middle in center)
    bottom, right = (max(middle - side // 2 + side, 0) for middle in center)
    output = clip.clone()
    output[:, :, top:bottom, left:right] = 128
    return output


def affine(
    clip: Tensor, *, rotate_degrees: float = 0.0, shear_x_degrees: float = 0.0, shear_y_degrees: float = 0.0
) -> Tensor:
    """Rotate clockwise or shear about the centre, bilinear; what is uncovered is black."""
    height, width = clip.shape[2:]
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

    return for_each_frame(
        clip,
        lambda frame: F.grid_sample(frame[None], grid[None], mode="bilinear", align_corners=False)[0],
    )
