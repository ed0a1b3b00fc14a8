"""How large what is checked is: all that differs between a GPU and a CPU."""

from typing import Literal

import torch
from pydantic import PositiveInt

from re2tal.common.settings import Settings
from re2tal.networks.backbones.config import TrainingStrategy
from re2tal.training.precision import Precision

__all__ = ["ON_CPU", "Sizes", "StepStrategy", "sizes_for"]

StepStrategy = Literal["plain", "checkpointed", "selective", "offloaded", "stored", "whole", "reversible"]
"""How a backbone's training step is run: by plain autograd; with every block checkpointed; with what is expensive in a
block kept and the rest computed again; with all that is kept in the host's memory; rewired under plain autograd; and
reversible, in whole branches or in tiles."""


class Sizes(Settings):
    """Sizes of all parts of a check."""

    reduced: bool = False
    """Whether networks have a few blocks only."""
    precisions: tuple[Precision, ...] = ("none", "bf16", "fp16")
    """In which streams and gradients are compared."""
    exact_frames: PositiveInt = 16
    """Of the clips whose gradients are compared."""
    exact_pixels: PositiveInt = 112
    """Height and width of these clips, and of the pictures of networks of pictures."""
    strategies: tuple[StepStrategy, ...] = (
        "plain", "checkpointed", "selective", "offloaded", "stored", "whole", "reversible",
    )  # fmt: skip
    """Whose memory and time are compared."""
    frames: tuple[PositiveInt, ...] = (32, 64, 128, 256, 512, 1024)
    """Of the clips whose steps are compared; longer ones while time is left."""
    pixels: PositiveInt = 224
    """Height and width of these clips, and of the longest one."""
    repeats: PositiveInt = 3
    """Steps whose median time counts, after two to warm up."""
    longest: tuple[PositiveInt, PositiveInt] = (128, 65536)
    """Frames of the first clip that is tried, and of the longest."""
    memory_mib: PositiveInt | None = None
    """That the longest clip may take beside the weights; None: what the device has."""
    planned: tuple[tuple[str, TrainingStrategy, PositiveInt], ...] = (
        ("Swin-T", "reversible", 512),
        ("Swin-T", "plain", 64),
        ("SlowFast-101", "reversible", 512),
        ("Swin-T", "checkpointed", 128),
        ("SlowFast-101", "plain", 64),
        ("SlowFast-101", "checkpointed", 128),
    )
    """Whole training steps, which the planner foretells: network, strategy, and steps of two frames of the clip."""
    planned_pixels: PositiveInt = 224
    """Height and width of these clips."""
    demo_videos: tuple[PositiveInt, PositiveInt] = (96, 24)
    """Of the demo, to train and to test on."""
    decoded_videos: PositiveInt = 48
    """Whose clips are decoded, augmented and copied to the device."""
    decoded_steps: PositiveInt = 512
    """Steps, of two frames, of these clips."""
    decoded_scale: PositiveInt = 4
    """Height and width of these videos, in units of 64 pixels."""


ON_CPU = Sizes(
    reduced=True,
    precisions=("none", "bf16"),
    exact_frames=8,
    exact_pixels=32,
    frames=(8, 32),
    pixels=64,
    repeats=1,
    longest=(4, 32),
    memory_mib=32,
    planned=(("Swin-T", "reversible", 16),),
    planned_pixels=32,
    demo_videos=(4, 1),
    decoded_videos=2,
    decoded_steps=16,
    decoded_scale=1,
)
"""To see that every part runs."""


def sizes_for(device: torch.device) -> Sizes:
    """What a device can do in the minutes of a check."""
    return Sizes() if device.type == "cuda" else ON_CPU
