"""The videos of a training set that turned out to be unusable, known to every loader worker."""

import torch

__all__ = ["BrokenVideos", "TooManyBrokenVideosError"]

_REASON_BYTES = 300


class TooManyBrokenVideosError(ValueError):
    """More of the training videos are broken than the configuration accepts."""


class BrokenVideos:
    """Which of a fixed list of videos are broken, and why.

    Lives in shared memory: what a worker finds, the main process can list.
    """

    def __init__(self, num_videos: int) -> None:
        self._reasons = torch.zeros(num_videos, _REASON_BYTES, dtype=torch.uint8).share_memory_()

    def add(self, index: int, reason: str) -> None:
        text = reason.encode(errors="backslashreplace")[:_REASON_BYTES]
        self._reasons[index, : len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)

    def count(self) -> int:
        return int(self._reasons[:, 0].count_nonzero())

    def reasons(self) -> dict[int, str]:
        """The reason by number of the video."""
        found = self._reasons[:, 0].nonzero().flatten().tolist()
        return {index: bytes(self._reasons[index].tolist()).rstrip(b"\0").decode(errors="ignore") for index in found}
