"""How a coded frame must be turned and mirrored to stand as it was filmed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

__all__ = ["UPRIGHT", "Orientation", "orientation_of"]


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """Rows and columns swapped first, then mirrored; the eight ways a camera can be held."""

    swapped: bool
    mirrored_x: bool
    mirrored_y: bool

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after turning; and before turning, given after: turning twice changes nothing."""
        return (width, height) if self.swapped else (height, width)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) coded -> (H, W) or (W, H) upright, a view."""
        if self.swapped:
            image = image.T
        return image[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1]


UPRIGHT = Orientation(swapped=False, mirrored_x=False, mirrored_y=False)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Read the display matrix that containers store for turned footage.

    It maps a coded place to a shown one: x' = a x + c y, y' = b x + d y. Angles that are no multiple of 90
    degrees are rounded to one.
    """
    side_data = cast(Mapping[str, Buffer], frame.side_data)
    if "DISPLAYMATRIX" not in side_data:
        return UPRIGHT
    matrix = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), dtype=np.int32).tolist()
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(a) >= abs(b):
        return Orientation(swapped=False, mirrored_x=a < 0, mirrored_y=d < 0)
    return Orientation(swapped=True, mirrored_x=c < 0, mirrored_y=b < 0)
