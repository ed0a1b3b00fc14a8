"""Clips whose light fades in or out, and blur as one more operation of RandAugment.

T frames, H/W space in, h/w out.
"""

from collections.abc import Iterable

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from re2tal.video import AugmentSettings, OperationSettings
from re2tal.video.pixel_ops import FrameOp


class FadingConfig(AugmentSettings):
    """The light of a clip changes evenly from its first frame to its last."""

    strength: float = Field(default=0.5, ge=0, lt=1)
    """The factor at either end is drawn from 1 - this to 1 + this."""

    def apply(
        self, frames: Iterable[Tensor], *, rng: np.random.Generator, size: tuple[int, int], num_frames: int
    ) -> Tensor:
        """Whole frames, resized; see `AugmentSettings`."""
        first, last = rng.uniform(1 - self.strength, 1 + self.strength, size=2)
        clip = torch.empty(3, num_frames, *size, dtype=torch.uint8)
        for number, frame in enumerate(frames):
            factor = first + (last - first) * number / max(num_frames - 1, 1)
            resized = interpolate(frame[None].float(), size=size, mode="bilinear", antialias=True)[0]
            clip[:, number] = (resized * factor).clamp(0, 255).byte()
        return clip


class BlurConfig(OperationSettings):
    """The mean over a square."""

    half_width: PositiveInt = 1
    """Pixels on each side."""

    def draw(self, rng: np.random.Generator, *, size: tuple[int, int]) -> FrameOp:
        """Always as wide."""
        side = 2 * self.half_width + 1

        def blur(frames: Tensor) -> Tensor:  # (3, T, H, W)
            return avg_pool2d(frames, side, stride=1, padding=self.half_width, count_include_pad=False)

        return FrameOp(blur, "floats")
