"""A file cannot make the reader open another one, take memory without end, or wait for ever."""

import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from re2tal.video import UnreadableVideoError, VideoTimeoutError, container, limits, open_video, probe
from re2tal.video.index import decode_packets

from .videos import decode_in_order, make_video


def make_still(path: Path, *, height: int, width: int) -> Path:
    """A small file of one large black picture."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("png")
        stream.height, stream.width, stream.pix_fmt = height, width, "gray"  # type: ignore[union-attr]
        frame = av.VideoFrame.from_ndarray(np.zeros((height, width), np.uint8), format="gray")
        file.mux(stream.encode(frame))  # type: ignore[union-attr, arg-type]
        file.mux(stream.encode(None))
    return path


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile {name}\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{name}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("ending", ["mp4", "m3u8"])
def test_a_text_that_names_other_files_opens_none(tmp_path: Path, kind: str, ending: str) -> None:
    os.mkfifo(tmp_path / "pipe.ts")  # who opens it waits for ever
    make_video(tmp_path / "target.ts")
    for name in ("pipe.ts", "target.ts"):
        path = tmp_path / f"list.{ending}"
        path.write_text(PLAYLISTS[kind].format(name=name))
        with pytest.raises(UnreadableVideoError, match="not a readable video file"):
            probe(path)


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", tmp_path / "link.mp4", Path("/dev/zero"), Path("/dev/stdin")):
        with pytest.raises(UnreadableVideoError, match=r"a pipe or a device, expected a video file|is not a readable"):
            probe(path)


def test_links_in_a_circle_and_names_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    for path in (tmp_path / "loop.mp4", tmp_path / f"{'x' * 300}.mp4"):
        with pytest.raises(UnreadableVideoError, match=r"cannot be opened \(.*\); check it"):
            probe(path)


@pytest.mark.parametrize("name", ["concat:video.mp4", "http://video.mp4", "data:video,mp4", "a%20b%03d.mp4"])
def test_names_that_look_like_addresses_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    source = make_video(tmp_path / "source.mp4", num_frames=3)
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(source.read_bytes())
    assert probe(path).num_frames == 3


def test_tags_in_any_encoding_are_no_hindrance(tmp_path: Path) -> None:
    path = make_video(tmp_path / "tagged.avi", codec="mpeg4", num_frames=3)
    with av.open(str(path)) as reading, av.open(str(tmp_path / "copy.avi"), "w") as writing:
        writing.metadata["title"] = "XXXX"
        stream = writing.add_stream_from_template(reading.streams.video[0])
        for packet in reading.demux(video=0):
            if packet.size:
                packet.stream = stream
                writing.mux(packet)
    content = (tmp_path / "copy.avi").read_bytes()
    assert content.count(b"XXXX") == 1
    path.write_bytes(content.replace(b"XXXX", "été?".encode("latin-1")))
    assert probe(path).num_frames == 3


@pytest.mark.parametrize(
    ("height", "width", "rule"),
    [(8_000, 8_000, r"more than (have )?35651584"), (16, 4_096, "16 times"), (300, 16, "16 times")],
)
def test_an_absurd_picture_is_refused(tmp_path: Path, height: int, width: int, rule: str) -> None:
    path = make_still(tmp_path / "huge.mov", height=height, width=width)
    with pytest.raises(ValueError, match=rule):
        probe(path)


def test_a_file_with_more_frames_than_an_index_may_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_FRAMES", 40)
    for name in ("announced.mp4", "not_announced.ts"):
        with pytest.raises(UnreadableVideoError, match=r"claims \d\d frames, more than 40"):
            probe(make_video(tmp_path / name, num_frames=50))
    assert probe(make_video(tmp_path / "short.mp4", num_frames=40)).num_frames == 40


class Silent:
    """A packet of which nothing comes, or an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def decode(self) -> list[av.VideoFrame]:
        if self.error is not None:
            raise self.error
        return []


def ticking(monkeypatch: pytest.MonkeyPatch, times: Iterator[float]) -> None:
    monkeypatch.setattr(limits, "monotonic", lambda: next(times))


def test_a_file_that_gives_no_frame_is_given_up_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, (5.0 * number for number in range(1000)))
    packets = (Silent() for _ in range(1000))
    with pytest.raises(VideoTimeoutError, match="slow.mp4 gave no frame within 60 seconds; replace the file"):
        list(decode_packets(packets, path=Path("slow.mp4")))  # type: ignore[arg-type]
    assert sum(1 for _ in packets) == 1000 - 13


def test_time_in_which_the_process_was_stopped_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, iter([0.0, 1.0, 1001.0, 1002.0]))
    patience = limits.Patience(Path("slow.mp4"))
    for _ in range(3):
        patience.check()


def test_a_frame_that_comes_renews_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, (5.0 * number for number in range(1000)))
    patience = limits.Patience(Path("slow.mp4"))
    for _ in range(30):
        for _ in range(10):
            patience.check()
        patience.renew()


def test_a_file_that_cannot_be_opened_in_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "video.mp4")
    monkeypatch.setattr(container, "STALL_SECONDS", 1e-9)
    with pytest.raises(VideoTimeoutError, match=r"video\.mp4 gave no frame within"):
        probe(path)


def test_reading_that_takes_too_long_is_given_up() -> None:
    waited = av.error.ExitError(0, "Immediate exit requested")
    with pytest.raises(VideoTimeoutError, match="slow.mp4 gave no frame within"):
        list(decode_packets(iter([Silent(waited)]), path=Path("slow.mp4")))  # type: ignore[list-item]


def test_a_large_picture_that_is_allowed_is_read(tmp_path: Path) -> None:
    path = make_still(tmp_path / "large.mov", height=1080, width=4000)
    with open_video(path, threads=1) as reader:
        assert torch.equal(reader.frames([0]), torch.from_numpy(decode_in_order(path)))
