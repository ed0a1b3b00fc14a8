"""What cannot be read is refused with the reason, never answered with wrong or repeated frames."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition

from re2tal.video import (
    CorruptVideoError,
    MissingVideoError,
    NoVideoStreamError,
    TruncatedVideoError,
    UnreadableVideoError,
    VideoError,
    open_video,
    probe,
)

from .videos import decode_in_order, make_sound, make_video

FAST_START = {"container_options": {"movflags": "faststart"}}


def cut(path: Path, share: float) -> Path:
    """Keep the first `share` of the file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def packets_of(path: Path) -> list[tuple[int, int]]:
    """(offset, size) of each packet in the file."""
    with av.open(str(path)) as container:
        return [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingVideoError, match=r"no video file .*nowhere\.mp4; check the folder"):
        open_video(tmp_path / "nowhere.mp4")


def write_text(path: Path) -> None:
    path.write_text("start,end\n" * 100)


def write_picture(path: Path) -> None:
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"  # type: ignore[union-attr]
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), dtype=np.uint8), format="rgb24")
        container.mux(stream.encode(frame))  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("empty.mp4", lambda path: path.touch()),
        ("folder.mp4", lambda path: path.mkdir()),
        ("zeros.mp4", lambda path: path.write_bytes(bytes(10_000))),
        ("noise.mp4", lambda path: path.write_bytes(random.Random(0).randbytes(10_000))),
        ("text.mp4", write_text),
        ("text.txt", write_text),
        ("picture.png", write_picture),
        ("cut_before_its_table_of_contents.mp4", lambda path: cut(make_video(path), 0.6)),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, name: str, write: Callable[[Path], object]) -> None:
    write(tmp_path / name)
    with pytest.raises(UnreadableVideoError, match=name):
        probe(tmp_path / name)


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoVideoStreamError, match=r"sound\.mp4 holds no video stream"):
        probe(make_sound(tmp_path / "sound.mp4"))


def test_a_cover_picture_is_not_taken_for_a_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"  # type: ignore[union-attr]
        cover.disposition = Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), dtype=np.uint8), format="rgb24")
        container.mux(cover.encode(frame))  # type: ignore[union-attr, arg-type]
        container.mux(cover.encode(None))
    with pytest.raises(NoVideoStreamError, match="no video stream but a cover picture"):
        probe(path)


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"none\.mkv"):
        probe(make_video(tmp_path / "none.mkv", num_frames=0))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cut.mp4", FAST_START),
        ("cut.mov", FAST_START),
        ("cut.mkv", {}),
        ("cut.webm", {"codec": "libvpx-vp9"}),
        ("cut.avi", {"codec": "mpeg4"}),
        ("cut.flv", {}),
        ("cut_fragments.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    ],
)
@pytest.mark.parametrize("share", [0.55, 0.8])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, options: dict[str, object], share: float) -> None:
    path = make_video(tmp_path / name, num_frames=100, **options)  # type: ignore[arg-type]
    assert probe(path).num_frames == 100
    with pytest.raises(TruncatedVideoError, match=r"ends after .*; copy or download it again"):
        probe(cut(path, share))


@pytest.mark.parametrize("name", ["cut.ts", "cut.h264"])
def test_a_stream_that_announces_no_length_gives_the_frames_it_has(tmp_path: Path, name: str) -> None:
    path = cut(make_video(tmp_path / name), 0.6)
    try:
        with open_video(path) as reader:
            assert 20 < reader.num_frames < 40
            frames = reader.frames(range(reader.num_frames))
    except CorruptVideoError:
        return  # the cut went through a frame
    assert np.array_equal(frames.numpy(), decode_in_order(path))


@pytest.mark.parametrize("damage", ["bit", "zeros", "noise"])
@pytest.mark.parametrize("threads", [1, 3])
def test_no_frame_after_a_damaged_packet_is_given_out(tmp_path: Path, damage: str, threads: int) -> None:
    path = make_video(tmp_path / "video.mp4", height=96, width=128)
    expected = torch.from_numpy(decode_in_order(path))
    good, rng = path.read_bytes(), random.Random(0)
    refused = 0
    for offset, size in packets_of(path)[12:40:3]:
        damaged = bytearray(good)
        if damage == "bit":
            damaged[offset + size // 2] ^= 1 << rng.randrange(8)
        else:
            replaced = size - 8
            damaged[offset + 8 : offset + size] = bytes(replaced) if damage == "zeros" else rng.randbytes(replaced)
        path.write_bytes(damaged)
        with open_video(path, threads=threads) as reader:
            for index in (0, 9, 30, 49, 25, 38):
                try:
                    frame = reader.frames([index])[0]
                except CorruptVideoError as error:
                    assert "video.mp4" in str(error) and "replace the file" in str(error)
                    refused += 1
                    continue
                if damage != "bit":  # a flipped bit may give another picture that is valid
                    assert torch.equal(frame, expected[index]), (offset, index)
    assert refused > 0


def test_frames_before_the_damage_can_still_be_read(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4")
    expected = torch.from_numpy(decode_in_order(path))
    good = bytearray(path.read_bytes())
    offset, size = packets_of(path)[35]
    good[offset + 8 : offset + size] = bytes(size - 8)
    path.write_bytes(good)
    with open_video(path) as reader:
        assert torch.equal(reader.frames(range(10)), expected[:10])
        with pytest.raises(CorruptVideoError, match=r"damaged near 1\.\d\d s"):
            reader.frames(range(50))
        assert torch.equal(reader.frames(range(10)), expected[:10])


def test_every_reason_is_a_video_error_and_a_value_error() -> None:
    for error in (CorruptVideoError, MissingVideoError, NoVideoStreamError, TruncatedVideoError, UnreadableVideoError):
        assert issubclass(error, VideoError) and issubclass(error, ValueError)


def retimed(source: Path, target: Path, *, number: int, shift: int) -> Path:
    """A copy in which the picture shown as `number` claims to be shown `shift` units later."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        packets = [packet for packet in reading.demux(video=0) if packet.size]
        moved = sorted(packet.pts or 0 for packet in packets)[number]
        stream = writing.add_stream_from_template(reading.streams.video[0])
        for place, packet in enumerate(packets):
            packet.stream, packet.dts = stream, place - 1000  # of their order alone
            if packet.pts == moved:
                packet.pts = moved + shift
            writing.mux(packet)
    return target


@pytest.mark.parametrize("shift", [500, 1030])
def test_a_damaged_time_that_crosses_a_key_frame_leaves_the_order_to_the_decoder(tmp_path: Path, shift: int) -> None:
    source = make_video(tmp_path / "video.mkv")
    path = retimed(source, tmp_path / "retimed.mkv", number=15, shift=shift)
    with av.open(str(path)) as container:
        assert len({packet.pts for packet in container.demux(video=0) if packet.size}) == 50
    expected = torch.from_numpy(decode_in_order(source))
    with open_video(path) as reader:
        assert reader.num_frames == 50
        for indices in (range(20, 35), [15], range(50)):
            assert torch.equal(reader.frames(indices), expected[list(indices)])


def test_a_damaged_time_among_its_neighbours_is_noticed(tmp_path: Path) -> None:
    source = make_video(tmp_path / "video.mkv")
    path = retimed(source, tmp_path / "retimed.mkv", number=23, shift=90)
    expected = torch.from_numpy(decode_in_order(source))
    with open_video(path) as reader:
        with pytest.raises(CorruptVideoError, match="announced but cannot be decoded"):
            reader.frames(range(20, 30))
        with pytest.raises(CorruptVideoError, match="frames come in another order than their times say"):
            reader.frames([25, 26])
        assert torch.equal(reader.frames(range(20)), expected[:20])
        assert torch.equal(reader.frames(range(30, 50)), expected[30:])


@pytest.mark.parametrize(("name", "codec"), [("video.mp4", "mpeg4"), ("video.ts", "mpeg2video")])
def test_a_video_cut_off_its_first_key_frame_begins_at_the_next(tmp_path: Path, name: str, codec: str) -> None:
    source = make_video(tmp_path / name, codec=codec)
    expected = torch.from_numpy(decode_in_order(source))
    path = tmp_path / f"cut_{name}"
    with av.open(str(source)) as reading, av.open(str(path), "w") as writing:
        stream = writing.add_stream_from_template(reading.streams.video[0])
        for packet in list(reading.demux(video=0))[1:]:
            if packet.size:
                packet.stream = stream
                writing.mux(packet)
    with open_video(path) as reader:
        frames = reader.frames(range(reader.num_frames))
    assert torch.equal(frames, expected[-len(frames) :]) and len(frames) >= 38


def test_streams_that_damage_makes_appear_on_the_way_are_passed_over(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.ts")
    good = path.read_bytes()
    for seed in range(60):  # a dozen of them damage the tables that tell of streams
        damaged, rng = bytearray(good), random.Random(seed)
        for _ in range(20):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(VideoError), open_video(path, threads=1) as reader:
            reader.frames(range(reader.num_frames))
