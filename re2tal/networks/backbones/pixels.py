"""Raw pixels to what a network was trained on."""

import torch
from torch import Tensor, nn

from re2tal.reversible.devices import laid_out

__all__ = ["PixelNorm", "pixel_norm"]

# ImageNet statistics in units of 0-255 pixels, with which the pretrained weights were trained.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def pixel_norm() -> dict[str, list[float]]:
    """What every network here normalises its frames with, for whoever rebuilds one from a file."""
    return {"mean": list(MEAN), "std": list(STD)}


class PixelNorm(nn.Module):
    """Normalises uint8 frames; floating-point ones are taken as normalised already.

    It is part of a network's stem, so that nothing larger than the raw frames is kept where the stem is computed in
    tiles.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1, 1), persistent=False)
        # Multiplied with, which is several times faster on a CPU than dividing.
        self.register_buffer("scale", 1 / torch.tensor(STD).view(3, 1, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, T, H, W) uint8 RGB, or normalised already -> the same shape, normalised."""
        frames = laid_out(frames)
        return (frames - self.mean).mul_(self.scale) if frames.dtype == torch.uint8 else frames
