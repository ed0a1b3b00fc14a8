"""Frames that are neither wanted nor referenced are not decoded, and those that are wanted are the same bit for bit."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from re2tal.video import open_video
from re2tal.video import reader as reader_module
from re2tal.video.index import index_of

from .videos import decode_in_order, make_video

X264, X265 = "log-level=none", "log-level=none:keyint=12:min-keyint=12"
SKIPPED = {
    "h264.mp4": {"codec_options": {"x264-params": f"bframes=3:b-pyramid=normal:b-adapt=0:{X264}"}},
    "h264_open_groups.ts": {"codec_options": {"x264-params": f"open-gop=1:bframes=3:b-adapt=0:{X264}"}},
    "h264_slices_and_fields.mkv": {
        "height": 96,
        "codec_options": {"x264-params": f"interlaced=1:slices=2:bframes=2:b-adapt=0:{X264}"},
    },
    "h264_intra_refresh.ts": {"codec_options": {"x264-params": f"intra-refresh=1:keyint=10:bframes=2:{X264}"}},
    "h264_strict_pyramid.mp4": {
        "codec_options": {"x264-params": f"b-pyramid=strict:bframes=5:b-adapt=0:direct=temporal:ref=4:{X264}"}
    },
    "h264_variable_rate.mp4": {"times_ms": np.cumsum([7, 91, 40, 13, 260] * 10).tolist()},
    "hevc.mp4": {"codec": "libx265", "codec_options": {"x265-params": f"bframes=4:b-adapt=0:{X265}"}},
    "hevc_closed_groups.mkv": {"codec": "libx265", "codec_options": {"x265-params": f"open-gop=0:bframes=3:{X265}"}},
}
NOT_SKIPPED = {
    # Frames that are unreferenced in their own layer are referred to by the next one.
    "hevc_temporal_layers.mp4": {
        "codec": "libx265",
        "codec_options": {"x265-params": f"temporal-layers=3:bframes=3:b-adapt=0:{X265}"},
    },
    "mpeg4.mov": {"codec": "mpeg4"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx"},
    "without_times.avi": {"codec": "mpeg4"},
}
FORMATS = SKIPPED | NOT_SKIPPED


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Presentation times of the frames that leave decoders of readers, as they do."""
    decode = reader_module.decode_packets
    times: list[int | None] = []

    def counting(packets: Iterator[av.Packet], *, path: Path) -> Iterator[av.VideoFrame]:
        for frame in decode(packets, path=path):
            times.append(frame.pts)
            yield frame

    monkeypatch.setattr(reader_module, "decode_packets", counting)
    return times


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("threads", [1, 3])
def test_any_choice_of_frames_equals_a_decode_of_all(tmp_path: Path, name: str, threads: int) -> None:
    path = make_video(tmp_path / name, **FORMATS[name])  # type: ignore[arg-type]
    expected = torch.from_numpy(decode_in_order(path))
    rng = np.random.default_rng(0)
    choices: list[Sequence[int]] = [range(start, 50, stride) for stride in (2, 3, 8) for start in range(stride)]
    choices += [sorted(rng.choice(50, size=7, replace=False).tolist()) for _ in range(8)]
    with open_video(path, threads=threads) as reader:
        assert reader.num_frames == len(expected) == 50
        for choice in choices:
            assert torch.equal(reader.frames(choice), expected[list(choice)]), choice
        for window in range(0, 40, 5):  # read on from where the decoder stands
            choice = range(window, window + 10, 2)
            assert torch.equal(reader.frames(choice), expected[list(choice)]), choice


@pytest.mark.parametrize("name", FORMATS)
def test_fewer_frames_are_decoded_where_the_codec_says_which_are_referenced(
    tmp_path: Path, name: str, decoded: list[int | None]
) -> None:
    path = make_video(tmp_path / name, **FORMATS[name])  # type: ignore[arg-type]
    with open_video(path, threads=1) as reader:
        reader.frames(range(50))
        assert len(decoded) == 50
        counts = []
        for start in range(10):
            decoded.clear()
            reader.frames([start, 49])
            counts.append(len(decoded))
    assert (index_of(path).headers is not None) == (name in SKIPPED)
    if name in SKIPPED and "intra_refresh" not in name:  # whose reference frames all have to be decoded
        assert max(counts) < 50 - 12, counts


@pytest.mark.parametrize("name", SKIPPED)
def test_a_wanted_frame_that_was_skipped_is_decoded_after_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = make_video(tmp_path / name, **SKIPPED[name])  # type: ignore[arg-type]
    expected = torch.from_numpy(decode_in_order(path))
    monkeypatch.setattr(
        reader_module._PyAVReader, "_can_skip", lambda _, packet: not packet.is_keyframe and packet.size > 0
    )
    with open_video(path, threads=1) as reader:
        assert torch.equal(reader.frames(range(0, 50, 7)), expected[::7])


def test_streams_of_one_reader_may_take_turns(tmp_path: Path) -> None:
    path = make_video(tmp_path / "h264.mp4", **SKIPPED["h264.mp4"])  # type: ignore[arg-type]
    expected = torch.from_numpy(decode_in_order(path)).permute(0, 3, 1, 2)
    with open_video(path, threads=1) as reader:
        pairs = list(zip(reader.stream(range(0, 50, 5)), reader.stream(range(3, 50, 5)), strict=True))
    for number, pair in enumerate(pairs):
        assert torch.equal(torch.stack(pair), expected[[5 * number, 5 * number + 3]])


def frame_of(path: Path, index: int, *, skip: bool) -> Tensor | None:
    """(H, W, 3), or None where the file is refused."""
    try:
        with open_video(path, threads=1) as reader:
            if not skip:
                reader._index = replace(reader._index, headers=None)  # type: ignore[attr-defined]
            return reader.frames([index])[0]
    except ValueError:  # also of fewer frames than there were
        return None


@pytest.mark.parametrize("name", ["h264.mp4", "h264_open_groups.ts", "hevc.mp4"])
@pytest.mark.parametrize("damage", ["noise", "zeros", "bit"])
def test_a_frame_that_depends_on_damage_is_no_likelier_given_out(tmp_path: Path, name: str, damage: str) -> None:
    path = make_video(tmp_path / name, **SKIPPED[name])  # type: ignore[arg-type]
    expected = torch.from_numpy(decode_in_order(path))
    with av.open(str(path)) as container:
        packets = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    good, rng = path.read_bytes(), random.Random(0)
    given = refused = 0
    for offset, size in packets[1:30:2]:
        damaged = bytearray(good)
        if damage == "bit":
            damaged[offset + rng.randrange(4, size)] ^= 1 << rng.randrange(8)
        else:
            damaged[offset + 8 : offset + size] = rng.randbytes(size - 8) if damage == "noise" else bytes(size - 8)
        path.write_bytes(damaged)
        for index in (0, 9, 30, 49, 25, 17):
            frame = frame_of(path, index, skip=True)
            refused += frame is None
            if frame is not None and not torch.equal(frame, expected[index]):
                plain = frame_of(path, index, skip=False)
                assert plain is not None and not torch.equal(plain, expected[index]), (offset, index)
            given += frame is not None
    assert given and refused
