"""Random changes of a training clip, the same in all of its frames; and the fixed crop of testing.

T frames, H/W space in, h/w out.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from re2tal.common.extension import Extensible
from re2tal.common.settings import Settings
from re2tal.common.types import FrameChange
from re2tal.video import pixel_ops
from re2tal.video.rand_augment import RandAugmentConfig, draw_operations
from re2tal.video.scratch import keep_freed_memory

__all__ = [
    "AugmentConfig",
    "AugmentSettings",
    "CropConfig",
    "JitterConfig",
    "augment",
    "center_crop",
]


_PIXELS_AT_ONCE = 50_000
"""Of the result: one frame of 224 x 224, or ten of 64 x 80. In floating point that is 600 KB, which stay in the
processor's cache, and enough for the calls of torch not to count."""


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


class AugmentSettings(Extensible):
    """The settings of any random change of training clips."""

    @abstractmethod
    def apply(
        self, frames: Iterable[Tensor], *, rng: np.random.Generator, size: tuple[int, int], num_frames: int
    ) -> Tensor:
        """Change a clip at random.

        Args:
            frames: T frames (3, H, W) uint8 RGB, one by one, as a reader streams them.
            rng: the only source of randomness, so that a run can be repeated and resumed.
            size: (h, w) of the result.
            num_frames: T.

        Returns:
            (3, T, h, w) uint8.
        """

    def begin(
        self, frames: Iterable[Tensor], *, rng: np.random.Generator, size: tuple[int, int], num_frames: int
    ) -> tuple[Tensor, FrameChange | None]:
        """`apply`, but what a device can do to the batch may be left to do, with all its random numbers drawn.

        By default nothing is. Returns what `apply` does, before the rest, and the rest.
        """
        return self.apply(frames, rng=rng, size=size, num_frames=num_frames), None


class AugmentConfig(AugmentSettings):
    """What `augment` does to a training clip, in this order. The defaults are the paper's."""

    crop: CropConfig | None = CropConfig()
    """None takes the centre crop instead."""
    flip_probability: float = Field(default=0.5, ge=0, le=1)
    """Chance of a mirrored clip."""
    rand_augment: RandAugmentConfig = RandAugmentConfig()
    """The operations drawn from a list."""
    jitter: JitterConfig = JitterConfig()
    """The colour changes, last."""

    def apply(
        self, frames: Iterable[Tensor], *, rng: np.random.Generator, size: tuple[int, int], num_frames: int
    ) -> Tensor:
        """Crop, flip and change colours by `augment`, alike in every frame."""
        return augment(frames, rng=rng, config=self, size=size, num_frames=num_frames)

    def begin(
        self, frames: Iterable[Tensor], *, rng: np.random.Generator, size: tuple[int, int], num_frames: int
    ) -> tuple[Tensor, FrameChange | None]:
        """All but the crop is left, unless there are operations of somebody's own, which may know CPUs alone."""
        if self.rand_augment.more_operations:
            return super().begin(frames, rng=rng, size=size, num_frames=num_frames)
        ops: list[pixel_ops.FrameOp] = []
        clip = augment(frames, rng=rng, config=self, size=size, num_frames=num_frames, left=ops)
        return clip, pixel_ops.Changes(tuple(ops)) if ops else None


def augment(
    frames: Tensor | Iterable[Tensor],
    *,
    rng: np.random.Generator,
    config: AugmentConfig,
    size: tuple[int, int],
    num_frames: int | None = None,
    left: list[pixel_ops.FrameOp] | None = None,
) -> Tensor:
    """Change a clip at random, every frame in the same way.

    Args:
        frames: (T, H, W, 3) uint8 RGB, or (3, T, H, W); or T frames (3, H, W) one by one, as a reader streams them:
            then a few of them are in memory at a time, beside the result.
        rng: the only source of randomness.
        config: what may happen and how strongly.
        size: (h, w) of the result.
        num_frames: T, where frames come one by one; a ValueError if it is not how many there are.
        left: gets what follows the crop, which is then not done; None: it is done.

    Returns:
        (3, T, h, w) uint8.
    """
    if isinstance(frames, Tensor):
        frames = _frames_last_channel(frames).permute(0, 3, 1, 2)
        num_frames = len(frames)
    if num_frames is None:
        raise ValueError("frames that come one by one must be counted before: give num_frames")
    keep_freed_memory()
    clip = torch.empty(3, num_frames, *size, dtype=torch.uint8)
    at_once = max(_PIXELS_AT_ONCE // (size[0] * size[1]), 1)
    numbered = zip(range(num_frames), frames, strict=True)
    drawn = None
    while some := list(islice(numbered, at_once)):
        images = [frame for _, frame in some]
        if drawn is None:
            drawn = _draw(rng, config, height=images[0].shape[1], width=images[0].shape[2], size=size)
        part = drawn.part_of(images)
        clip[:, some[0][0] : some[-1][0] + 1] = pixel_ops.apply(part, drawn.ops) if left is None else part
    if drawn is not None and left is not None:
        left += drawn.ops
    return clip


@dataclass(frozen=True)
class _Drawn:
    """What happens to every frame of one clip."""

    top: int
    left: int
    box: tuple[int, int]
    size: tuple[int, int]
    """Of the crop, resized."""
    ops: list[pixel_ops.FrameOp]
    """What follows."""

    def part_of(self, frames: list[Tensor]) -> Tensor:
        """The crop of frames: T times (3, H, W) uint8 -> (3, T, h, w) uint8."""
        rows, columns = slice(self.top, self.top + self.box[0]), slice(self.left, self.left + self.box[1])
        parts = torch.stack([frame[:, rows, columns] for frame in frames])
        return _resize(parts, size=self.size).transpose(0, 1).contiguous()


def _draw(rng: np.random.Generator, config: AugmentConfig, *, height: int, width: int, size: tuple[int, int]) -> _Drawn:
    if config.crop is None:
        top, left, box = *_center(height, width, size=size), size
    else:
        top, left, *drawn = _draw_crop(rng, config.crop, height=height, width=width)
        box = (drawn[0], drawn[1])
    ops = [pixel_ops.flip()] if rng.random() < config.flip_probability else []
    ops += draw_operations(rng, config.rand_augment, size=size)
    ops += _draw_jitter(rng, config.jitter)
    return _Drawn(top, left, box, size, ops)


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
    top, left = _center(height, width, size=size)
    return frames[:, top : top + h, left : left + w].permute(3, 0, 1, 2).contiguous()


def _center(height: int, width: int, *, size: tuple[int, int]) -> tuple[int, int]:
    """Where a crop of `size` in the middle of a frame begins: (top, left)."""
    h, w = size
    if h > height or w > width:
        raise ValueError(
            f"a crop of {h} x {w} pixels must fit into the frames, got frames of {height} x {width}; "
            "lower the crop size or raise the short side that frames are read at"
        )
    return round((height - h) / 2), round((width - w) / 2)


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
    """(T, 3, H, W) uint8 -> (T, 3, h, w), bilinear with antialiasing.

    The channels of a frame together, since torch takes as long for one of them as for three.
    """
    if frames.shape[2:] == size:
        return frames
    return F.interpolate(frames, size=size, mode="bilinear", align_corners=False, antialias=True)


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
