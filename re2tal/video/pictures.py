"""Decoded frames to upright RGB pictures of the size that is wanted."""

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from torch import Tensor

from re2tal.video.orientation import Orientation

__all__ = ["UprightPictures"]

# Rounding that is the same on every processor. Planes are written, since packed pixels cost two to three times as much.
_SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class UprightPictures:
    """Pictures of the frames of one stream.

    Args:
        height, width: of the frames as coded.
        orientation: how they must be turned.
    """

    def __init__(self, *, height: int, width: int, orientation: Orientation) -> None:
        self.height, self.width = orientation.size(height, width)
        self._orientation = orientation
        self._reformatter = VideoReformatter()  # keeps the scaler between frames

    def output_size(self, size: int | tuple[int, int] | None) -> tuple[int, int]:
        """(height, width) of what is shown, if `size` is the short side, both, or None for the size as it is."""
        if size is None:
            return self.height, self.width
        if isinstance(size, int):
            scale = size / min(self.height, self.width)
            size = round(self.height * scale), round(self.width * scale)
        if min(size) < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}; write None for the video's own size")
        return size

    def rgb(self, frame: VideoFrame, *, height: int, width: int) -> Tensor:
        """(3, height, width) uint8, upright."""
        coded_height, coded_width = self._orientation.size(height, width)  # scaled before turning
        image = self._reformatter.reformat(
            frame, width=coded_width, height=coded_height, format="gbrp", interpolation=_SCALING, threads=1
        )
        output = np.empty((3, height, width), dtype=np.uint8)
        for channel, plane in zip((1, 2, 0), image.planes, strict=True):  # they come as green, blue, red
            rows = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)  # padded at their ends
            output[channel] = self._orientation.apply(rows[:coded_height, :coded_width])
        return torch.from_numpy(output)
