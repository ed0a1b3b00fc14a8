"""Sound videos, encoded here or found, with the truth about them: a fingerprint of every frame, by a plain decode."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation

SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""How the package turns frames into RGB."""

Fingerprint = bytes
"""Of one frame's pixels."""


def fingerprint(image: np.ndarray) -> Fingerprint:
    """Of an (H, W, 3) uint8 picture."""
    return blake2b(np.ascontiguousarray(image), digest_size=8, key=str(image.shape).encode()).digest()


def plain_decode(path: Path) -> list[Fingerprint]:
    """Every frame as decoders give them, which is in the order of showing, scaled to the size of the first."""
    frames: list[Fingerprint] = []
    size: dict[str, int] = {}
    with av.open(str(path), metadata_errors="replace") as container:
        for frame in container.decode(video=0):
            size = size or {"width": frame.width, "height": frame.height}
            frames.append(fingerprint(frame.to_ndarray(format="gbrp", interpolation=SCALING, **size)))
    return frames


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One file to encode."""

    name: str
    """Its ending chooses the container."""
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (64, 96)
    """(height, width)."""
    num_frames: int = 60
    rate: Fraction = Fraction(25)
    options: tuple[tuple[str, str], ...] = ()
    """Of the encoder."""
    container: tuple[tuple[str, str], ...] = ()
    """Options of the container."""
    times_ms: tuple[int, ...] | None = None
    """When each frame is shown; None: evenly."""
    b_frames: int = 2
    with_sound: bool = False
    title: str | None = None


_QUIET = "log-level=none"
_OPEN = (("x264-params", f"open-gop=1:bframes=3:b-adapt=0:{_QUIET}"),)
_FAST = (("movflags", "faststart"),)
_FRAGMENTS = (("movflags", "frag_keyframe+empty_moov"),)
_PACES = tuple(np.cumsum(np.random.default_rng(0).integers(10, 400, size=60)).tolist())

TO_DAMAGE = (
    Recipe(name="h264.mp4", container=_FAST),
    Recipe(name="h264_table_last.mp4"),
    Recipe(name="h264_fragments.mp4", container=_FRAGMENTS),
    Recipe(name="h264_with_sound.mp4", container=_FAST, with_sound=True),
    Recipe(name="h264_without_b.mp4", container=_FAST, b_frames=0),
    Recipe(name="h264_cavlc.mp4", container=_FAST, options=(("x264-params", f"cabac=0:{_QUIET}"),)),
    Recipe(name="h264.mkv"),
    Recipe(name="h264.ts"),
    Recipe(name="h264.flv"),
    Recipe(name="h264.h264"),
    Recipe(name="h264_open_groups.ts", options=_OPEN),
    Recipe(name="h264_open_groups.mp4", options=_OPEN, container=_FAST),
    Recipe(name="h264_varying_pace.mkv", times_ms=_PACES),
    Recipe(name="hevc.mp4", codec="libx265", container=_FAST, options=(("x265-params", _QUIET),)),
    Recipe(name="hevc.mkv", codec="libx265", options=(("x265-params", _QUIET),)),
    Recipe(name="mpeg4.avi", codec="mpeg4"),
    Recipe(name="mpeg4.mp4", codec="mpeg4", container=_FAST),
    Recipe(name="mpeg2.mpg", codec="mpeg2video"),
    Recipe(name="mpeg2.ts", codec="mpeg2video"),
    Recipe(name="vp8.webm", codec="libvpx", b_frames=0),
    Recipe(name="vp9.webm", codec="libvpx-vp9", b_frames=0),
    Recipe(name="av1.mp4", codec="libsvtav1", container=_FAST, options=(("preset", "12"),)),
    Recipe(name="mjpeg.avi", codec="mjpeg", pix_fmt="yuvj420p", b_frames=0),
    Recipe(name="ffv1.mkv", codec="ffv1"),
    Recipe(name="prores.mov", codec="prores_ks", pix_fmt="yuv422p10le"),
    Recipe(name="wmv2.asf", codec="wmv2", b_frames=0),
)
"""One of every common kind, each of which is damaged in many ways."""

ODD = (
    Recipe(name="ten_bits.mp4", pix_fmt="yuv420p10le"),
    Recipe(name="ten_bits_hevc.mkv", codec="libx265", pix_fmt="yuv420p10le", options=(("x265-params", _QUIET),)),
    Recipe(name="grey.mp4", pix_fmt="gray"),
    Recipe(name="grey.mkv", codec="ffv1", pix_fmt="gray"),
    Recipe(name="grey_16_bits.mkv", codec="ffv1", pix_fmt="gray16le", num_frames=12),
    Recipe(name="with_alpha.mov", codec="prores_ks", pix_fmt="yuva444p10le", num_frames=12),
    Recipe(name="rgb.avi", codec="rawvideo", pix_fmt="bgr24", num_frames=12),
    Recipe(name="palette.gif", codec="gif", pix_fmt="rgb8", num_frames=12),
    Recipe(name="yuv444.mp4", pix_fmt="yuv444p"),
    Recipe(name="interlaced.ts", codec="mpeg2video", options=(("flags", "+ilme+ildct"),)),
    Recipe(name="one_frame.mp4", num_frames=1),
    Recipe(name="one_frame.avi", codec="mpeg4", num_frames=1),
    Recipe(name="two_frames.mkv", num_frames=2),
    Recipe(name="size_1x1.avi", codec="rawvideo", pix_fmt="bgr24", size=(1, 1)),
    Recipe(name="size_1x1.mp4", pix_fmt="yuv444p", size=(1, 1)),
    Recipe(name="size_2x3.mp4", pix_fmt="yuv444p", size=(2, 3)),
    Recipe(name="size_47x63.mkv", pix_fmt="yuv444p", size=(47, 63)),
    Recipe(name="size_4320x7680.mp4", size=(4320, 7680), num_frames=1, options=(("preset", "ultrafast"),)),
    Recipe(name="fps_1_in_1000.mkv", rate=Fraction(1, 1000), num_frames=20),
    Recipe(name="fps_1_in_1000.mp4", rate=Fraction(1, 1000), num_frames=20),
    Recipe(name="fps_million.nut", rate=Fraction(1_000_000)),
    Recipe(name="fps_59.94.mp4", rate=Fraction(60000, 1001)),
    Recipe(name="late_start.mkv", times_ms=tuple(range(5_000, 7_400, 40))),
    Recipe(name="early_start.mp4", times_ms=tuple(range(-400, 2_000, 40))),
    Recipe(name="long_pause.mp4", times_ms=(*range(0, 1_200, 40), *range(3_600_000, 3_601_200, 40))),
    Recipe(name="one_group.mp4", options=(("x264-params", f"keyint=infinite:{_QUIET}"),), num_frames=120),
    Recipe(
        name="intra_refresh.ts",
        options=(("x264-params", f"intra-refresh=1:keyint=12:{_QUIET}"),),
    ),
    Recipe(name="sixteen_references.mkv", options=(("x264-params", f"ref=16:bframes=8:b-adapt=0:{_QUIET}"),)),
    Recipe(name="latin_1_title.mkv", title="caf\u00e9 "),
)
"""Rare, but sound: every frame must come."""


def picture(number: int, *, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3): gradients that move and a grain that stays, so that no two frames are alike and packets hold much."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    grain = np.random.default_rng(1).integers(0, 40, size=(height, width))
    channels = (x * 2 + number * 5 + grain, y * 2 + number * 3, x + y + number * 7 + grain)
    return np.stack([np.abs(channel % 512 - 256).clip(0, 255) for channel in channels], axis=-1).astype(np.uint8)


def encode(folder: Path, recipe: Recipe) -> Path:
    """Write the file of a recipe; key frames are twelve frames apart."""
    path = folder / recipe.name
    with av.open(str(path), "w", options=dict(recipe.container)) as container:
        if recipe.title is not None:
            container.metadata["title"] = recipe.title
        stream: Any = container.add_stream(recipe.codec, rate=recipe.rate)
        stream.height, stream.width = recipe.size
        stream.pix_fmt, stream.gop_size, stream.options = recipe.pix_fmt, 12, dict(recipe.options)
        stream.codec_context.max_b_frames = recipe.b_frames
        stream.thread_count = 1
        sound: Any = container.add_stream("aac", rate=8000) if recipe.with_sound else None
        for number in range(recipe.num_frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size=recipe.size), format="rgb24")
            if recipe.times_ms is not None:
                stream.codec_context.time_base = frame.time_base = Fraction(1, 1000)
                frame.pts = recipe.times_ms[number]
            container.mux(stream.encode(frame))
            if sound is not None and number * 320 % 1024 < 320:
                container.mux(sound.encode(noise(number)))
        for each in (stream, sound):
            if each is not None:
                container.mux(each.encode(None))
    return path


def noise(number: int) -> av.AudioFrame:
    """A piece of sound."""
    samples = np.random.default_rng(number).random((1, 1024), dtype=np.float32) - 0.5
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate = 8000
    return frame


def found_videos(data: Path) -> Sequence[Path]:
    """The real footage in the folder of test data, small enough to be read many times."""
    folders = (data / "videos" / "clips", data / "videos" / "untrimmed_annotated", data / "ucf_mini" / "videos")
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return [path for path in files if path.suffix in (".mp4", ".avi") and path.stat().st_size < 700_000]
