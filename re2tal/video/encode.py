"""Frames to a video file."""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from torch import Tensor

from re2tal.common.atomic import atomic_path

__all__ = ["available_encoder", "write_video"]

# Preferred first; FFmpeg builds without GPL parts have no libx264.
_ENCODERS = ("libx264", "libopenh264", "mpeg4")


def available_encoder() -> str:
    """The first of libx264, libopenh264 and mpeg4 that the installed FFmpeg can encode with."""
    for name in _ENCODERS:
        if _can_encode(name):
            return name
    raise ValueError(f"the installed FFmpeg encodes none of {', '.join(_ENCODERS)}; reinstall `av` from its wheel")


def write_video(
    path: str | Path,
    frames: Iterable[NDArray[np.uint8] | Tensor],
    *,
    fps: float | Fraction,
    codec: str = "auto",
    crf: int = 18,
    key_interval: int = 50,
    threads: int = 0,
) -> str:
    """Encode frames to `path` and return the name of the encoder that was used.

    The file appears only when it is complete.

    Args:
        path: its ending chooses the container (.mp4, .mkv, .avi ...).
        frames: (H, W, 3) uint8 RGB each, all of one size.
        fps: frames per second.
        codec: an FFmpeg encoder; "auto" takes `available_encoder()`.
        crf: quality of H.264, 0 (lossless) to 51; ignored by other encoders.
        key_interval: most frames between two key frames; short intervals make random access fast.
        threads: encoder threads, 0 for one per core.
    """
    path = Path(path)
    if not 0 < fps < math.inf:
        raise ValueError(f"fps must be a number above 0, got {fps}")
    encoder = available_encoder() if codec == "auto" else codec
    if not _can_encode(encoder):
        raise ValueError(f"the installed FFmpeg cannot encode with {encoder!r}; write codec='auto'")
    checked = _same_size(frames)
    first = next(checked, None)
    if first is None:
        raise ValueError(f"no frames to write to {path}; a video needs at least one")
    with atomic_path(path, suffix=path.suffix) as unfinished, av.open(str(unfinished), "w") as container:
        stream = container.add_stream(encoder, rate=Fraction(fps).limit_denominator(100_000))
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = first.shape[:2]
        # 4:2:0 halves the colour planes, which H.264 allows for even sides only.
        is_even = stream.height % 2 == 0 and stream.width % 2 == 0
        stream.pix_fmt = "yuv420p" if is_even or encoder == "mpeg4" else "yuv444p"
        stream.gop_size = key_interval
        stream.thread_count = threads
        if encoder == "libx264":
            # With macroblock trees, small frames are not encoded to the same bytes every time.
            stream.options = {"crf": str(crf), "preset": "veryfast", "x264-params": "log-level=none:mbtree=0"}
        elif encoder == "mpeg4":
            stream.codec_context.qmin, stream.codec_context.qmax = 2, 4
        for image in chain([first], checked):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return encoder


def _same_size(frames: Iterable[NDArray[np.uint8] | Tensor]) -> Iterator[NDArray[np.uint8]]:
    """The frames as arrays, each checked against the first."""
    shape: tuple[int, ...] | None = None
    for frame in frames:
        image = np.ascontiguousarray(frame)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.shape != (shape or image.shape):
            expected = f"{shape} uint8 like the first" if shape else "(H, W, 3) uint8"
            raise ValueError(f"every frame must be {expected}, got {image.shape} {image.dtype}")
        shape = image.shape
        yield image


def _can_encode(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except ValueError:
        return False
    return True
