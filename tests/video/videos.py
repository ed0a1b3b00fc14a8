"""Small videos that the tests encode themselves, with PyAV directly, and a plain decode of them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def moving_pattern(number: int, *, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """(H, W, 3) gradients that move with the frame number, so that no two of 50 frames are alike."""
    y, x = np.mgrid[:height, :width]
    channels = (x * 2 + number * 5, y * 2 + number * 3, x + y + number * 7)
    return np.stack([channel % 256 for channel in channels], axis=-1).astype(np.uint8)


def make_video(
    path: Path,
    *,
    num_frames: int = 50,
    height: int = 48,
    width: int = 64,
    codec: str = "libx264",
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    times_ms: Sequence[int] | None = None,
    rotation: tuple[int, bool] = (0, False),
) -> Path:
    """Encode `moving_pattern` with two B-frames and a key frame every ten frames.

    Args:
        times_ms: when each frame is shown; None for 25 frames per second.
        rotation: counter-clockwise degrees, and whether mirrored after that.
    """
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size, stream.codec_context.max_b_frames = 10, 2
        stream.options = codec_options or {}
        if rotation != (0, False):
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(moving_pattern(number, height=height, width=width), format="rgb24")
            if times_ms is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_sound(path: Path) -> Path:
    """A file with sound and no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        for number in range(8):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 8000, number * 1024
            container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    return path


def decode_in_order(path: Path) -> NDArray[np.uint8]:
    """(T, H, W, 3): every frame that a plain sequential decode gives, in its order, never turned.

    Of the stream that FFmpeg calls the best: one of the clips of torchcodec's tests has two, both marked as default.
    """
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert stream is not None
        frames = [frame.to_ndarray(format="gbrp", interpolation=SCALING) for frame in container.decode(stream)]
    return np.stack(frames)
