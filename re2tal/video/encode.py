"""Frames to a video file."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["available_encoder", "write_video"]

# Preferred first; FFmpeg builds without GPL parts have no libx264.
_ENCODERS = ("libx264", "libopenh264", "mpeg4")


def available_encoder() -> str:
    """The first of libx264, libopenh264 and mpeg4 that the installed FFmpeg can encode with."""
    for name in _ENCODERS:
        try:
            av.Codec(name, "w")
        except ValueError:
            continue
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
    encoder = available_encoder() if codec == "auto" else codec
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ValueError(f"no frames to write to {path}; a video needs at least one")
    first = np.asarray(first)
    height, width = first.shape[:2]
    partial = path.with_name(f".partial-{path.name}")
    try:
        with av.open(str(partial), "w") as container:
            stream = container.add_stream(encoder, rate=Fraction(fps).limit_denominator(100_000))
            assert isinstance(stream, VideoStream)
            stream.width, stream.height = width, height
            # 4:2:0 halves the colour planes, which needs even sides.
            stream.pix_fmt = "yuv420p" if width % 2 == 0 and height % 2 == 0 else "yuv444p"
            stream.gop_size = key_interval
            stream.thread_count = threads
            if encoder == "libx264":
                stream.options = {"crf": str(crf), "preset": "veryfast"}
            for frame in chain([first], iterator):
                image = np.ascontiguousarray(frame)
                if image.shape != (height, width, 3) or image.dtype != np.uint8:
                    raise ValueError(
                        f"every frame must be ({height}, {width}, 3) uint8 like the first, "
                        f"got {image.shape} {image.dtype}"
                    )
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return encoder
