"""Of several video streams in a file, the one that a player shows is read, by everything that reads the file."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.stream import VideoStream

from re2tal.labels import ImportOptions, ReadOptions, import_annotations, read_sources
from re2tal.video import open_video, probe

Stream = tuple[str, int, int, Disposition]
"""Codec, side in pixels, frames, disposition."""
NONE, DEFAULT = Disposition(0), Disposition.default


def make_streams(path: Path, *streams: Stream) -> Path:
    """Squares of one grey, which is the side of the picture."""
    with av.open(str(path), "w") as container:
        added = []
        for codec, side, _, disposition in streams:
            stream = container.add_stream(codec, rate=25)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.disposition = side, side, disposition
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            added.append(stream)
        for stream, (_, side, num_frames, _) in zip(added, streams, strict=True):
            for _ in range(num_frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((side, side, 3), side, np.uint8))))
            container.mux(stream.encode(None))
    return path


ORDERS: dict[str, tuple[str, Stream, Stream]] = {
    "the default stands second": ("mkv", ("libx264", 64, 40, NONE), ("libx264", 32, 20, DEFAULT)),
    "the default stands second in MP4": ("mp4", ("libx264", 64, 40, NONE), ("libx264", 32, 20, DEFAULT)),
    "a picture without a mark": ("mkv", ("mjpeg", 64, 1, NONE), ("libx264", 32, 20, NONE)),
    "a picture that calls itself the default": ("mp4", ("mjpeg", 64, 1, DEFAULT), ("libx264", 32, 20, NONE)),
}


@pytest.mark.parametrize("case", ORDERS)
def test_the_stream_that_a_player_shows_is_read_by_all(case: str, tmp_path: Path) -> None:
    ending, *streams = ORDERS[case]
    path = make_streams(tmp_path / f"one.{ending}", *streams)
    info = probe(path)
    assert (info.width, info.num_frames, round(info.duration_seconds, 3)) == (32, 20, 0.8)
    with open_video(path) as reader:
        frames = reader.frames([0, 7, 19], size=32)
    assert frames.shape[0] == 3 and abs(int(frames.float().mean()) - 32) <= 3
    (tmp_path / "labels.csv").write_text("video,start,end,label\none,0,0.5,a\n")
    readings = read_sources([tmp_path / "labels.csv"], format_=None, options=ReadOptions())
    imported = import_annotations(readings, videos=tmp_path, options=ImportOptions(), tell=lambda *_: None)
    assert imported.database["one"]["duration"] == 0.8
    assert imported.database["one"]["resolution"] == "32x32"
