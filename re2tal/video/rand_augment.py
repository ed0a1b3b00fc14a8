"""RandAugment: a few operations drawn from a list, the same in every frame of a clip."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from re2tal.common.extension import Extensible, OneOf
from re2tal.common.settings import Settings
from re2tal.video import pixel_ops

__all__ = ["OperationName", "OperationSettings", "RandAugmentConfig", "draw_operations"]

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


class OperationSettings(Extensible):
    """The settings of an operation of one's own."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, *, size: tuple[int, int]) -> pixel_ops.FrameOp:
        """What happens to every frame of one clip, of `size` = (h, w); `rng` is the only source of randomness."""


class RandAugmentConfig(Settings):
    """A few operations drawn from a list, without replacement, each at one fixed strength."""

    num_operations: int = Field(default=2, ge=0)
    """How many are drawn per clip; 0 switches them off."""
    operations: tuple[OperationName, ...] = get_args(OperationName)
    """What they are drawn from."""
    more_operations: tuple[Annotated[OperationSettings, OneOf()], ...] = ()
    """Operations of one's own, which are drawn from as well."""
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
        count = len(self.operations) + len(self.more_operations)
        if self.num_operations > count:
            raise ValueError(
                f"num_operations must be at most {count}, the number of operations to draw from, "
                f"got {self.num_operations}"
            )
        return self


def draw_operations(
    rng: np.random.Generator, config: RandAugmentConfig, *, size: tuple[int, int]
) -> list[pixel_ops.FrameOp]:
    """`config.num_operations` different operations for frames of `size` = (h, w), in the order drawn."""
    own = config.more_operations
    numbers = rng.choice(len(config.operations) + len(own), size=config.num_operations, replace=False)
    return [
        _OPERATIONS[config.operations[number]](config, rng, size)
        if number < len(config.operations)
        else own[number - len(config.operations)].draw(rng, size=size)
        for number in numbers
    ]


def _sign(rng: np.random.Generator) -> int:
    return int(rng.choice((-1, 1)))


def _cut_out(config: RandAugmentConfig, rng: np.random.Generator, size: tuple[int, int]) -> pixel_ops.FrameOp:
    center = int(rng.integers(size[0])), int(rng.integers(size[1]))
    return pixel_ops.cut_out(center=center, side=round(config.cut_out_share * min(size)))


_Operation = Callable[[RandAugmentConfig, np.random.Generator, tuple[int, int]], pixel_ops.FrameOp]

_OPERATIONS: dict[OperationName, _Operation] = {
    "shear_x": lambda config, rng, size: pixel_ops.affine(size, shear_x_degrees=_sign(rng) * config.shear_degrees),
    "shear_y": lambda config, rng, size: pixel_ops.affine(size, shear_y_degrees=_sign(rng) * config.shear_degrees),
    "translate_x": lambda config, rng, size: pixel_ops.translate(
        x=_sign(rng) * round(config.translate_share * size[1])
    ),
    "translate_y": lambda config, rng, size: pixel_ops.translate(
        y=_sign(rng) * round(config.translate_share * size[0])
    ),
    "rotate": lambda config, rng, size: pixel_ops.affine(size, rotate_degrees=_sign(rng) * config.rotate_degrees),
    "posterize": lambda config, rng, size: pixel_ops.posterize(config.posterize_bits),
    "solarize": lambda config, rng, size: pixel_ops.solarize(config.solarize_threshold),
    "color": lambda config, rng, size: pixel_ops.adjust_saturation(config.enhance_factor),
    "contrast": lambda config, rng, size: pixel_ops.adjust_contrast(config.enhance_factor),
    "brightness": lambda config, rng, size: pixel_ops.adjust_brightness(config.enhance_factor),
    "sharpness": lambda config, rng, size: pixel_ops.adjust_sharpness(config.enhance_factor),
    "autocontrast": lambda config, rng, size: pixel_ops.autocontrast(),
    "equalize": lambda config, rng, size: pixel_ops.equalize(),
    "invert": lambda config, rng, size: pixel_ops.invert(),
    "cut_out": _cut_out,
}
