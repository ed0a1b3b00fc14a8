"""Small videos that the tests encode themselves, with PyAV directly."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

MakeVideo = Callable[..., Path]


def moving_pattern(number: int, *, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3) gradients that move with the frame number, so that no two of 50 frames are alike."""
    y, x = np.mgrid[:height, :width]
    channels = (x * 2 + number * 5, y * 2 + number * 3, x + y + number * 7)
    return np.stack([channel % 256 for channel in channels], axis=-1).astype(np.uint8)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Encode `num_frames` of `moving_pattern`; `times` are presentation times in 1/1000 s."""

    def make(
        name: str,
        *,
        num_frames: int = 50,
        height: int = 48,
        width: int = 64,
        codec: str = "libx264",
        codec_options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
        key_interval: int = 10,
        b_frames: int = 2,
        times: Sequence[int] | None = None,
        rotation: int = 0,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.gop_size, stream.max_b_frames = key_interval, b_frames
            stream.options = codec_options or {}
            if times is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            if rotation:
                stream.set_display_rotation(rotation)
            for number in range(num_frames):
                image = moving_pattern(number, height=height, width=width)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                if times is not None:
                    frame.pts, frame.time_base = times[number], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


def decode_in_order(path: Path) -> NDArray[np.uint8]:
    """(T, H, W, 3): every frame that a plain sequential decode gives, in its order, without rotation."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames)
