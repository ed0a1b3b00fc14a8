"""What lies in folders of videos and is none, or pretends to be one."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np

from video_corpus.damage import Case
from video_corpus.sound import noise

__all__ = ["strange_cases"]

FAMILY = "no video"


def strange_cases(folder: Path, *, sound: Path, seed: int) -> Iterator[Case]:
    """Write them into `folder`.

    Args:
        folder: where they are to lie.
        sound: an MP4 of H.264 with its table of contents first, to be patched.
        seed: of what is noise.
    """
    makers = (_texts, _other_media, _no_files, _playlists)
    for maker in makers:
        for path in maker(folder, sound=sound, rng=Random(seed)):
            yield Case(name=path.name, family=FAMILY, path=path)
    for path in _absurd_headers(folder, sound=sound):
        yield Case(name=path.name, family="absurd header", path=path)


def _texts(folder: Path, *, sound: Path, rng: Random) -> Iterator[Path]:
    contents = {
        "empty.mp4": b"",
        "zeros.mp4": bytes(10_000),
        "noise.mp4": rng.randbytes(10_000),
        "noise.mkv": b"\x1a\x45\xdf\xa3" + rng.randbytes(10_000),
        "noise.avi": b"RIFF\xff\xff\xff\x7fAVI LIST" + rng.randbytes(10_000),
        "noise.ts": b"".join(b"\x47" + rng.randbytes(187) for _ in range(60)),
        "noise.flv": b"FLV\x01\x05\0\0\0\x09" + rng.randbytes(10_000),
        "noise.h264": b"".join(b"\0\0\0\x01" + rng.randbytes(90) for _ in range(60)),
        "text.mp4": b"start,end\n" * 100,
        "page.mp4": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "one_byte.mp4": b"\0",
        "first_64_bytes.mp4": sound.read_bytes()[:64],
        "text.txt": b"a list of videos\n",
        "subtitles.srt": b"1\n00:00:01,000 --> 00:00:02,000\nhello\n",
        "subtitles.mp4": b"1\n00:00:01,000 --> 00:00:02,000\nhello\n",
    }
    for name, content in contents.items():
        path = folder / name
        path.write_bytes(content)
        yield path


def _other_media(folder: Path, *, sound: Path, rng: Random) -> Iterator[Path]:
    for name in ("sound.mp4", "sound.mkv"):
        with av.open(str(folder / name), "w") as container:
            stream: Any = container.add_stream("aac", rate=8000)
            for number in range(8):
                container.mux(stream.encode(noise(number)))
            container.mux(stream.encode(None))
        yield folder / name
    for name, codec, pix_fmt in (("picture.png", "png", "rgb24"), ("picture.jpg", "mjpeg", "yuvj420p")):
        with av.open(str(folder / name), "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream(codec)
            stream.width, stream.height, stream.pix_fmt = 16, 16, pix_fmt
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
            container.mux(stream.encode(None))
        yield folder / name
        shutil.copy(folder / name, folder / f"{name}.mp4")
        yield folder / f"{name}.mp4"


def _no_files(folder: Path, *, sound: Path, rng: Random) -> Iterator[Path]:
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    links = {
        "loop.mp4": "loop.mp4",
        "link_to_nothing.mp4": "nowhere.mp4",
        "zero_device.mp4": "/dev/zero",
        "random_device.mp4": "/dev/urandom",
        "terminal.mp4": "/dev/tty",
        "input.mp4": "/dev/stdin",
        "link_to_pipe.mp4": "pipe.mp4",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    yield from (folder / name for name in ("folder.mp4", "pipe.mp4", "nowhere_at_all.mp4", *links))
    yield folder / ("long_name" * 40 + ".mp4")
    (folder / "unreadable.mp4").write_bytes(sound.read_bytes())
    (folder / "unreadable.mp4").chmod(0)
    if not os.access(folder / "unreadable.mp4", os.R_OK):  # the superuser reads everything
        yield folder / "unreadable.mp4"


def _playlists(folder: Path, *, sound: Path, rng: Random) -> Iterator[Path]:
    """Texts by which FFmpeg would open other files, or wait for a network."""
    shutil.copy(sound, folder / "target.mp4")
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    contents = {
        "concat.mp4": "ffconcat version 1.0\nfile target.mp4\n",
        "concat_pipe.mp4": "ffconcat version 1.0\nfile pipe.mp4\n",
        "hls.m3u8": hls.format("target.mp4"),
        "hls.mp4": hls.format(folder / "target.mp4"),
        "hls_pipe.m3u8": hls.format("pipe.mp4"),
        "hls_web.m3u8": hls.format("http://127.0.0.1:9/a.ts"),
        "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "numbered_%03d.png": "no picture",
    }
    for name, content in contents.items():
        path = folder / name
        path.write_text(content)
        yield path


def _absurd_headers(folder: Path, *, sound: Path) -> Iterator[Path]:
    """Sizes, counts and rates that no file of some kilobytes can hold."""
    content = sound.read_bytes()
    sizes = content.index(b"stsz") + 4
    frames = content.index(b"stts") + 8
    scale = content.index(b"mdhd") + 16
    count = (100_000_000).to_bytes(4, "big")
    # stsz: version and flags, then one size for all samples (0: each its own), then their number.
    patches = {
        "frames_claimed.mp4": (sizes + 8, count),
        "frames_of_one_size.mp4": (sizes + 4, (1).to_bytes(4, "big") + count),
        "length_claimed.mp4": (frames + 4, b"\x7f\xff\xff\xff"),
        "length_zero.mp4": (frames + 4, bytes(4)),
        "scale_zero.mp4": (scale, bytes(4)),
        "scale_huge.mp4": (scale, b"\x7f\xff\xff\xff"),
    }
    for name, (place, new) in patches.items():
        path = folder / name
        path.write_bytes(content[:place] + new + content[place + len(new) :])
        yield path
    for width, height in ((16_384, 16_384), (65_535, 65_535), (16_384, 16)):
        yield _claim(folder / f"claims_{width}x{height}.avi", width=width, height=height)
        yield _claim(folder / f"claims_{width}x{height}.mov", width=width, height=height)
    for width, height in ((12_000, 12_000), (16, 16_384)):
        path = folder / f"bomb_{width}x{height}.mov"
        path.write_bytes(_still(path, "png", "gray", size=(height, width), num_frames=2))
        yield path


def _claim(path: Path, *, width: int, height: int) -> Path:
    """A small file whose pictures claim to be huge: JPEG in AVI, PNG in QuickTime."""
    if path.suffix == ".avi":
        content, tag, skip = _still(path, "mjpeg", "yuvj420p"), b"\xff\xc0", 3
        size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    else:
        content, tag, skip = _still(path, "png", "gray"), b"IHDR", 0
        size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    first, *pictures = content.split(tag)
    path.write_bytes(tag.join([first, *(rest[:skip] + size + rest[skip + len(size) :] for rest in pictures)]))
    return path


def _still(path: Path, codec: str, pix_fmt: str, *, size: tuple[int, int] = (64, 64), num_frames: int = 12) -> bytes:
    """The content of a file in which nothing is to be seen, which packs well."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        (stream.height, stream.width), stream.pix_fmt = size, pix_fmt
        for _ in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros(size, np.uint8), format="gray")))
        container.mux(stream.encode(None))
    return path.read_bytes()
