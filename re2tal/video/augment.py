"""Random changes of a training clip, the same in all of its frames; and the fixed crop of testing.

T frames, H/W space in, h/w out.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from re2tal.settings import Settings
from re2tal.video import pixel_ops
from re2tal.video.rand_augment import RandAugmentConfig, rand_augment

__all__ = [
    "AugmentConfig",
    "CropConfig",
    "JitterConfig",
    "augment",
    "center_crop",
]


class CropConfig(Settings):
    """A random part of the frame, resized to the clip's size."""

    area: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest share of the frame's area."""
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width divided by height, drawn evenly in its logarithm."""

    @model_validator(mode="after")
    def _ranges(self) -> "CropConfig":
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area must be (low, high) with 0 < low <= high <= 1, got {self.area}")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"aspect must be (low, high) with 0 < low <= high, got {self.aspect}")
        return self


class JitterConfig(Settings):
    """Colour changes of random strength in random order; 0 switches a change off."""

    brightness: float = Field(default=0.5, ge=0)
    """The factor is drawn from 1 - this (at least 0) to 1 + this."""
    contrast: float = Field(default=0.5, ge=0)
    """As brightness."""
    saturation: float = Field(default=0.5, ge=0)
    """As brightness."""
    hue: float = Field(default=0.1, ge=0, le=0.5)
    """The turn is drawn from -this to +this; 0.5 is half the colour circle."""


class AugmentConfig(Settings):
    """What `augment` does to a training clip, in this order. The defaults are the paper's."""

    crop: CropConfig | None = CropConfig()
    """None takes the centre crop instead."""
    flip_probability: float = Field(default=0.5, ge=0, le=1)
    """Chance of a mirrored clip."""
    rand_augment: RandAugmentConfig = RandAugmentConfig()
    """The operations drawn from a list."""
    jitter: JitterConfig = JitterConfig()
    """The colour changes, last."""


def augment(frames: Tensor, *, rng: np.random.Generator, config: AugmentConfig, size: tuple[int, int]) -> Tensor:
    """Change a clip at random, every frame in the same way.

    Args:
        frames: (T, H, W, 3) uint8 RGB, as a reader gives them, or (3, T, H, W).
        rng: the only source of randomness.
        config: what may happen and how strongly.
        size: (h, w) of the result.

    Returns:
        (3, T, h, w) uint8.
    """
    frames = _frames_last_channel(frames)
    if config.crop is None:
        clip = center_crop(frames, size=size)
    else:
        top, left, height, width = _draw_crop(rng, config.crop, height=frames.shape[1], width=frames.shape[2])
        clip = _resize(frames[:, top : top + height, left : left + width], size=size)
    if rng.random() < config.flip_probability:
        clip = clip.flip(-1)
    clip = rand_augment(clip, rng=rng, config=config.rand_augment)
    jitter = _draw_jitter(rng, config.jitter)
    return pixel_ops.for_each_frame(clip, *jitter) if jitter else clip


def center_crop(frames: Tensor, *, size: tuple[int, int]) -> Tensor:
    """The middle of a clip.

    Args:
        frames: (T, H, W, 3) uint8 RGB, as a reader gives them, or (3, T, H, W).
        size: (h, w), at most (H, W).

    Returns:
        (3, T, h, w) uint8.
    """
    frames = _frames_last_channel(frames)
    (height, width), (h, w) = frames.shape[1:3], size
    if h > height or w > width:
        raise ValueError(
            f"a crop of {h} x {w} pixels must fit into the frames, got frames of {height} x {width}; "
            "lower the crop size or raise the short side that frames are read at"
        )
    top, left = round((height - h) / 2), round((width - w) / 2)
    return frames[:, top : top + h, left : left + w].permute(3, 0, 1, 2).contiguous()


def _frames_last_channel(frames: Tensor) -> Tensor:
    """(T, H, W, 3) or (3, T, H, W) -> (T, H, W, 3)."""
    if frames.dtype == torch.uint8 and frames.ndim == 4:
        if frames.shape[3] == 3:
            return frames
        if frames.shape[0] == 3:
            return frames.permute(1, 2, 3, 0)
    raise ValueError(f"frames must be (T, H, W, 3) or (3, T, H, W) uint8, got {frames.dtype} {tuple(frames.shape)}")


def _draw_crop(rng: np.random.Generator, config: CropConfig, *, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random part of the frame."""
    low, high = (math.log(aspect) for aspect in config.aspect)
    for _ in range(10):
        area = height * width * rng.uniform(*config.area)
        aspect = math.exp(rng.uniform(low, high))
        h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    # The frame is too narrow or too flat for the shapes drawn: the largest centred part of an allowed shape.
    aspect = min(max(width / height, config.aspect[0]), config.aspect[1])
    h, w = min(height, max(round(width / aspect), 1)), min(width, max(round(height * aspect), 1))
    return (height - h) // 2, (width - w) // 2, h, w


def _resize(frames: Tensor, *, size: tuple[int, int]) -> Tensor:
    """(T, H, W, 3) -> (3, T, h, w), bilinear with antialiasing."""
    images = frames.permute(0, 3, 1, 2)  # (T, 3, H, W)
    if images.shape[2:] != size:
        # Torch resizes uint8 without going through float in this memory format.
        images = images.contiguous(memory_format=torch.channels_last)
        images = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
    return images.transpose(0, 1).contiguous()


def _draw_jitter(rng: np.random.Generator, config: JitterConfig) -> list[pixel_ops.FrameOp]:
    """The colour changes of one clip, in random order."""

    def factor(strength: float) -> float:
        return rng.uniform(max(0.0, 1.0 - strength), 1.0 + strength)

    changes: list[pixel_ops.FrameOp] = []
    if config.brightness:
        changes.append(pixel_ops.adjust_brightness(factor(config.brightness)))
    if config.contrast:
        changes.append(pixel_ops.adjust_contrast(factor(config.contrast)))
    if config.saturation:
        changes.append(pixel_ops.adjust_saturation(factor(config.saturation)))
    if config.hue:
        changes.append(pixel_ops.adjust_hue(rng.uniform(-config.hue, config.hue)))
    return [changes[i] for i in rng.permutation(len(changes))]
