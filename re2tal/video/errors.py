"""What can be wrong with a video file, one class per reason."""

__all__ = [
    "CorruptVideoError",
    "MissingVideoError",
    "NoVideoStreamError",
    "TruncatedVideoError",
    "UnreadableVideoError",
    "VideoError",
    "VideoTimeoutError",
]


class VideoError(ValueError):
    """A video file cannot be used; catch this to skip broken files of a data set."""


class MissingVideoError(VideoError):
    """There is no file of this name."""


class UnreadableVideoError(VideoError):
    """The file is empty, no video container, or nothing in it can be decoded."""


class NoVideoStreamError(VideoError):
    """The file is readable but holds no moving picture, only sound for example."""


class TruncatedVideoError(VideoError):
    """The file ends before the frames it announces."""


class CorruptVideoError(VideoError):
    """Part of the stream is damaged, so frames after it may be silently wrong."""


class VideoTimeoutError(VideoError):
    """Reading the file came to nothing for too long."""
