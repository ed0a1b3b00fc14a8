"""Mixed precision by name."""

from typing import Literal, assert_never

import torch

__all__ = ["Amp", "autocast"]

Amp = Literal["none", "bf16", "fp16"]


def autocast(amp: Amp, *, device: torch.device) -> torch.autocast:
    """The context in which the model runs, in training and in testing."""
    match amp:
        case "none":
            return torch.autocast(device.type, enabled=False)
        case "bf16":
            return torch.autocast(device.type, dtype=torch.bfloat16)
        case "fp16":
            return torch.autocast(device.type, dtype=torch.float16)
        case _:
            assert_never(amp)
