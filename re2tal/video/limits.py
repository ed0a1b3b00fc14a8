"""What no video of this world needs, and a file that is damaged or meant to do harm may ask for."""

from pathlib import Path
from time import monotonic

from re2tal.video.errors import UnreadableVideoError, VideoTimeoutError

__all__ = ["MAX_FRAMES", "MAX_PIXELS", "STALL_SECONDS", "Patience", "require_frames", "require_size", "stalled"]

MAX_PIXELS = 8192 * 4352
"""Of one frame: the largest picture of the highest levels of H.264 and H.265 (6.2), somewhat above 8K."""

MAX_ASPECT = 16
"""Of the long side of a frame to its short one, since frames are resized by their short side."""

MAX_FRAMES = 10_000_000
"""Of one file: two days at 50 frames per second."""

STALL_SECONDS = 60.0
"""A file that gives nothing, not one frame, for so long is given up; it may take any time as long as frames come."""


def require_size(width: int, height: int, *, path: Path | str) -> None:
    """Refuse a picture that would take gigabytes to decode, or to resize; (0, 0) is not known yet."""
    if width * height > MAX_PIXELS:
        rule = f"more than {MAX_PIXELS}"
    elif max(width, height) > MAX_ASPECT * min(width, height):
        rule = f"one side more than {MAX_ASPECT} times the other"
    else:
        return
    raise UnreadableVideoError(f"{path} has frames of {width} x {height} pixels, {rule}; crop or replace the file")


def require_frames(count: int, *, path: Path) -> None:
    """Refuse a file whose index alone would take gigabytes, and minutes to read."""
    if count > MAX_FRAMES:
        raise UnreadableVideoError(f"{path} claims {count} frames, more than {MAX_FRAMES}; cut or replace the file")


def stalled(path: Path) -> VideoTimeoutError:
    """The error that says so."""
    return VideoTimeoutError(f"{path} gave no frame within {STALL_SECONDS:g} seconds; replace the file or leave it out")


class Patience:
    """Looks at the clock between the packets that are decoded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.renew()

    def renew(self) -> None:
        """A frame has come."""
        self._spent, self._last = 0.0, monotonic()

    def check(self) -> None:
        """A packet gave no frame; raises a `VideoTimeoutError` if that has gone on for `STALL_SECONDS`."""
        now = monotonic()
        # One packet counts for a sixth at most: a process that was suspended meanwhile has not tried.
        self._spent += min(now - self._last, STALL_SECONDS / 6)
        self._last = now
        if self._spent > STALL_SECONDS:
            raise stalled(self._path)
