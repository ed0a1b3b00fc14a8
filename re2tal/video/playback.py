"""Whether a browser plays a file, told from its head alone, and copies of those that it does not play."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from re2tal.video.container import open_container
from re2tal.video.encode import write_video
from re2tal.video.errors import VideoError
from re2tal.video.index import index_of
from re2tal.video.reader import open_video

__all__ = ["PlaybackInfo", "look_at", "write_playable"]

# What every current browser plays: codecs by container, as FFmpeg names them, and the pixel formats.
_PLAYED = {
    "mov,mp4,m4a,3gp,3g2,mj2": {"h264", "vp9", "av1"},
    "matroska,webm": {"vp8", "vp9", "av1"},
}
_PLAYED_PIXELS = {"yuv420p", "yuvj420p"}


@dataclass(frozen=True, kw_only=True)
class PlaybackInfo:
    """What the head of a video file says; nothing is decoded."""

    duration_seconds: float | None
    """None where the file does not tell."""
    fps: float
    container: str
    codec: str
    pixel_format: str | None

    @property
    def plays_everywhere(self) -> bool:
        """Whether every current browser plays it; some play more."""
        return self.codec in _PLAYED.get(self.container, ()) and self.pixel_format in _PLAYED_PIXELS


def look_at(path: Path) -> PlaybackInfo:
    """What the head of a file says.

    Raises:
        VideoError: the file is missing, empty, unreadable or holds no video.
    """
    container, stream = open_container(path, threads=1)
    with container:
        seconds = None
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1e6
        rate = stream.average_rate or stream.guessed_rate
        return PlaybackInfo(
            duration_seconds=seconds if seconds and seconds > 0 else None,
            fps=float(rate) if rate else 25.0,
            container=container.format.name,
            codec=stream.codec_context.name,
            pixel_format=stream.codec_context.pix_fmt,
        )


def write_playable(path: Path, copy: Path, *, tell: Callable[[int, int], None] = lambda done, count: None) -> None:
    """Write a copy, H.264 in MP4, without sound, that every browser plays and whose times are those of the file.

    Args:
        path: of the video.
        copy: to write; it appears when it is whole.
        tell: is told how many frames of how many are done.

    Raises:
        VideoError: the file cannot be read, or its frame rate varies, so that a copy at an even rate would be off.
    """
    drift = index_of(path).drift_seconds
    with open_video(path) as reader:
        if drift > 1.5 / reader.fps:
            raise VideoError(
                f"{path}: its frame rate varies (frames are up to {drift:.2f} s from where an even rate shows them), "
                "and a copy at an even rate would have other times; convert it with a program that keeps them, such as "
                "ffmpeg -i FILE -c:v libx264 -pix_fmt yuv420p COPY.mp4"
            )
        count = reader.num_frames

        def frames() -> Iterator[NDArray[np.uint8]]:
            for done, frame in enumerate(reader.stream(range(count)), start=1):
                # Even sides, without which H.264 has no format that browsers play.
                yield frame[:, : frame.shape[1] // 2 * 2, : frame.shape[2] // 2 * 2].permute(1, 2, 0).numpy()
                tell(done, count)

        write_video(copy, frames(), fps=reader.fps, codec="libx264")
