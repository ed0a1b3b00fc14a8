"""RandAugment: a few operations drawn from a list, the same in every frame of a clip."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from re2tal.settings import Settings
from re2tal.video import pixel_ops

__all__ = ["OperationName", "RandAugmentConfig", "rand_augment"]

OperationName = Literal[
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "posterize",
    "solarize",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "autocontrast",
    "equalize",
    "invert",
    "cut_out",
]


class RandAugmentConfig(Settings):
    """A few operations drawn from a list, without replacement, each at one fixed strength."""

    num_operations: int = Field(default=2, ge=0)
    """How many are drawn per clip; 0 switches them off."""
    operations: tuple[OperationName, ...] = get_args(OperationName)
    """What they are drawn from."""
    shear_degrees: float = Field(default=15.5, ge=0, lt=90)
    """Shear angle; the sign is drawn."""
    translate_share: float = Field(default=0.18, ge=0, lt=1)
    """Shift as a share of the side; the sign is drawn."""
    rotate_degrees: float = Field(default=27.0, ge=0)
    """Rotation; the sign is drawn."""
    posterize_bits: int = Field(default=3, ge=1, le=8)
    """Bits that are kept."""
    solarize_threshold: int = Field(default=230, ge=0, le=255)
    """Values from here on are inverted."""
    enhance_factor: float = Field(default=1.72, ge=0)
    """Factor of color, contrast, brightness and sharpness; 1 changes nothing."""
    cut_out_share: float = Field(default=0.18, ge=0, le=1)
    """Side of the grey square as a share of the clip's shorter side; its centre is drawn."""

    @model_validator(mode="after")
    def _enough_operations(self) -> "RandAugmentConfig":
        if len(set(self.operations)) != len(self.operations):
            raise ValueError(f"operations must not repeat, got {self.operations}")
        if self.num_operations > len(self.operations):
            raise ValueError(
                f"num_operations must be at most {len(self.operations)}, the number of operations to draw from, "
                f"got {self.num_operations}"
            )
        return self


def rand_augment(clip: Tensor, *, rng: np.random.Generator, config: RandAugmentConfig) -> Tensor:
    """Apply `config.num_operations` different operations, in the order drawn.

    Args:
        clip: (3, T, H, W) uint8.

    Returns:
        (3, T, H, W) uint8.
    """
    for number in rng.choice(len(config.operations), size=config.num_operations, replace=False):
        clip = _OPERATIONS[config.operations[number]](clip, config, rng)
    return clip


def _sign(rng: np.random.Generator) -> int:
    return int(rng.choice((-1, 1)))


def _cut_out(clip: Tensor, config: RandAugmentConfig, rng: np.random.Generator) -> Tensor:
    height, width = clip.shape[2:]
    center = int(rng.integers(height)), int(rng.integers(width))
    return pixel_ops.cut_out(clip, center=center, side=round(config.cut_out_share * min(height, width)))


def _enhance(adjust: Callable[[float], pixel_ops.FrameOp]) -> "_Operation":
    return lambda clip, config, rng: pixel_ops.for_each_frame(clip, adjust(config.enhance_factor))


_Operation = Callable[[Tensor, RandAugmentConfig, np.random.Generator], Tensor]

_OPERATIONS: dict[OperationName, _Operation] = {
    "shear_x": lambda clip, config, rng: pixel_ops.affine(clip, shear_x_degrees=_sign(rng) * config.shear_degrees),
    "shear_y": lambda clip, config, rng: pixel_ops.affine(clip, shear_y_degrees=_sign(rng) * config.shear_degrees),
    "translate_x": lambda clip, config, rng: pixel_ops.translate(
        clip, x=_sign(rng) * round(config.translate_share * clip.shape[3])
    ),
    "translate_y": lambda clip, config, rng: pixel_ops.translate(
        clip, y=_sign(rng) * round(config.translate_share * clip.shape[2])
    ),
    "rotate": lambda clip, config, rng: pixel_ops.affine(clip, rotate_degrees=_sign(rng) * config.rotate_degrees),
    "posterize": lambda clip, config, rng: pixel_ops.posterize(clip, bits=config.posterize_bits),
    "solarize": lambda clip, config, rng: pixel_ops.solarize(clip, threshold=config.solarize_threshold),
    "color": _enhance(pixel_ops.adjust_saturation),
    "contrast": _enhance(pixel_ops.adjust_contrast),
    "brightness": _enhance(pixel_ops.adjust_brightness),
    "sharpness": _enhance(pixel_ops.adjust_sharpness),
    "autocontrast": lambda clip, config, rng: pixel_ops.for_each_frame(clip, pixel_ops.autocontrast),
    "equalize": lambda clip, config, rng: pixel_ops.equalize(clip),
    "invert": lambda clip, config, rng: pixel_ops.invert(clip),
    "cut_out": _cut_out,
}
