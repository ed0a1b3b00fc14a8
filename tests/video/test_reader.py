"""Every frame by number, equal to what a plain sequential decode gives at that place."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.container import InputContainer
from av.video.stream import VideoStream
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from re2tal.video import index, open_video, probe
from re2tal.video import reader as reader_module

from .videos import SCALING, decode_in_order, make_video, moving_pattern

OPEN_GROUPS = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:log-level=none"}
FORMATS = {
    "h264.mp4": {},
    "h264_fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h264_open_groups.mp4": {"codec_options": OPEN_GROUPS},
    "h264_open_groups.ts": {"codec_options": OPEN_GROUPS},
    "h264_intra_refresh.mp4": {"codec_options": {"x264-params": "intra-refresh=1:keyint=10:log-level=none"}},
    "h264_intra_refresh.ts": {"codec_options": {"x264-params": "intra-refresh=1:keyint=10:log-level=none"}},
    "h264.mkv": {},
    "h264.ts": {},
    "h264.flv": {},
    "without_times.h264": {},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4.mov": {"codec": "mpeg4"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "vp9.webm": {"codec": "libvpx-vp9"},
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("threads", [1, 3])
def test_random_access_equals_sequential_decode(tmp_path: Path, name: str, threads: int) -> None:
    path = make_video(tmp_path / name, **FORMATS[name])  # type: ignore[arg-type]
    expected = torch.from_numpy(decode_in_order(path))
    with open_video(path, threads=threads) as reader:
        assert reader.num_frames == len(expected) == 50
        assert (reader.fps, reader.duration_seconds) == (25.0, 2.0)
        for index in np.random.default_rng(0).permutation(50).tolist():
            assert torch.equal(reader.frames([index])[0], expected[index]), index
        assert torch.equal(reader.frames(range(50)), expected)


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_frame_rate_is_indexed_by_presentation_order(tmp_path: Path, name: str) -> None:
    times = np.cumsum(np.random.default_rng(0).integers(10, 400, size=50)).tolist()
    path = make_video(tmp_path / name, times_ms=times)
    expected = torch.from_numpy(decode_in_order(path))
    with open_video(path) as reader:
        indices = np.random.default_rng(1).integers(50, size=30).tolist()
        assert torch.equal(reader.frames(indices), expected[indices])
        assert reader.num_frames == 50
        assert reader.duration_seconds == pytest.approx((times[-1] - times[0]) / 1000, abs=0.4)
        assert reader.fps == pytest.approx(50 / reader.duration_seconds)


def test_indices_may_repeat_and_come_in_any_order(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4")
    expected = torch.from_numpy(decode_in_order(path))
    with open_video(path) as reader:
        for indices in ([7, 7, 3, 49, 0, 3], [2], [], [49] * 4, np.arange(30, 10, -2)):
            assert torch.equal(reader.frames(indices), expected[np.asarray(indices, dtype=np.int64)])


def test_streamed_frames_are_those_read_at_once_and_repeats_are_made_once(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4")
    with open_video(path) as reader:
        indices = [3, 5, 5, 5, 9, 2]
        streamed = list(reader.stream(indices, size=24))
        assert torch.equal(torch.stack(streamed).permute(0, 2, 3, 1), reader.frames(indices, size=24))
        assert streamed[1] is streamed[2] is streamed[3]
        with pytest.raises(ValueError, match="got 50"):  # before the first frame is asked for
            reader.stream([0, 50])


def test_colours_are_those_of_the_standard(tmp_path: Path) -> None:
    """ITU-R BT.601 in floating point, of the chroma that the scaler interpolates."""
    path = make_video(tmp_path / "video.mp4")
    with av.open(str(path)) as container:
        planes = next(container.decode(video=0)).to_ndarray(format="yuv444p", interpolation=SCALING).astype(float)
    luma, blue, red = (
        (planes - np.array([16, 128, 128])[:, None, None]) * 255 / np.array([219, 224, 224])[:, None, None]
    )
    expected = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1)
    with open_video(path) as reader:
        difference = reader.frames([0])[0].numpy() - expected.clip(0, 255)
    assert abs(difference.mean()) < 0.5 and abs(difference).max() < 3


@pytest.mark.parametrize("index", [-1, 50, 10**9])
def test_an_index_outside_the_video_is_refused(tmp_path: Path, index: int) -> None:
    with (
        open_video(make_video(tmp_path / "video.mp4")) as reader,
        pytest.raises(ValueError, match=rf"indices must be in \[0, 49\], got {index}"),
    ):
        reader.frames([3, index])


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_metadata_is_applied(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    path = make_video(tmp_path / "turned.mp4", num_frames=3, rotation=(degrees, mirrored))
    expected = np.rot90(decode_in_order(path), degrees // 90, axes=(1, 2))
    expected = expected[:, :, ::-1] if mirrored else expected
    with open_video(path) as reader:
        assert np.array_equal(reader.frames(range(3)).numpy(), expected)
        assert (reader.height, reader.width) == expected.shape[1:3]
        small = reader.frames([0], size=24)[0]
        assert small.shape == ((32, 24, 3) if degrees % 180 else (24, 32, 3))
    info = probe(path)
    assert (info.height, info.width) == expected.shape[1:3]


@pytest.mark.parametrize(("height", "width"), [(47, 63), (48, 61), (2, 2), (16, 200)])
def test_any_size_of_frame_is_read_whole(tmp_path: Path, height: int, width: int) -> None:
    path = make_video(tmp_path / "video.avi", height=height, width=width, codec="mpeg4", num_frames=5)
    with open_video(path) as reader:
        frames = reader.frames(range(5)).numpy()
    assert frames.shape == (5, height, width, 3)
    assert np.array_equal(frames, decode_in_order(path))


@pytest.mark.parametrize(("size", "shape"), [(24, (24, 32)), (30, (30, 40)), ((20, 50), (20, 50)), (None, (48, 64))])
def test_size_is_the_short_side_or_height_and_width(
    tmp_path: Path, size: int | tuple[int, int] | None, shape: tuple[int, int]
) -> None:
    path = make_video(tmp_path / "video.mp4", num_frames=12)
    with av.open(str(path)) as container:
        frame = next(islice(container.decode(video=0), 7, None))
        expected = frame.to_ndarray(format="gbrp", width=shape[1], height=shape[0], interpolation=SCALING)
    with open_video(path) as reader:
        assert np.array_equal(reader.frames([7], size=size)[0].numpy(), expected)


@pytest.mark.parametrize("size", [0, -3, (0, 10)])
def test_a_size_below_one_pixel_is_refused(tmp_path: Path, size: int | tuple[int, int]) -> None:
    with (
        open_video(make_video(tmp_path / "video.mp4", num_frames=2)) as reader,
        pytest.raises(ValueError, match="at least 1 pixel"),
    ):
        reader.frames([0], size=size)


def test_colours_come_out_as_they_went_in(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", num_frames=3, codec_options={"crf": "1", "x264-params": "log-level=none"})
    with open_video(path) as reader:
        error = reader.frames([2])[0].numpy().astype(int) - moving_pattern(2)
    assert np.median(np.abs(error)) <= 3


def test_a_video_of_one_frame_lasts_one_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "still.mp4", num_frames=1)
    info = probe(path)
    assert (info.num_frames, info.fps, info.duration_seconds) == (1, 25.0, 0.04)
    with open_video(path) as reader:
        assert reader.frames([0, 0]).shape == (2, 48, 64, 3)


def test_a_video_that_starts_late_begins_at_frame_zero(tmp_path: Path) -> None:
    path = make_video(tmp_path / "late.mkv", num_frames=10, times_ms=range(5000, 5400, 40))
    with open_video(path) as reader:
        assert reader.duration_seconds == pytest.approx(0.4)
        assert np.array_equal(reader.frames(range(10)).numpy(), decode_in_order(path))


def test_a_file_replaced_under_the_same_name_is_indexed_anew(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", num_frames=10)
    assert probe(path).num_frames == 10
    make_video(path, num_frames=20)
    assert probe(path).num_frames == 20


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith(("h264", "vp9"))])
def test_near_frames_are_decoded_once_and_far_frames_from_their_key_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = make_video(tmp_path / name, **FORMATS[name])  # type: ignore[arg-type]
    decode, decoded = reader_module.decode_packets, []

    def counting(packets: Iterator[av.Packet], *, path: Path) -> Iterator[av.VideoFrame]:
        for frame in decode(packets, path=path):
            decoded.append(frame.pts)
            yield frame

    with open_video(path, threads=1) as reader:
        monkeypatch.setattr(reader_module, "decode_packets", counting)
        reader.frames([0, 1, 2])
        reader.frames([3, 4, 5, 6])
        assert len(decoded) == 7
        decoded.clear()
        reader.frames([45])
        assert len(decoded) <= 25, "fifty would be all; ten frames lie between key frames"


def test_where_seeking_fails_frames_are_read_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "video.mp4")
    expected = torch.from_numpy(decode_in_order(path))
    opened = reader_module.open_container

    class Unseekable:
        def __init__(self, container: InputContainer) -> None:
            self.demux, self.close = container.demux, container.close

        def seek(self, *_: object, **__: object) -> None:
            raise av.error.PermissionError(1, "Operation not permitted")

    def open_unseekable(path: Path, *, threads: int) -> tuple[Unseekable, VideoStream]:
        container, stream = opened(path, threads=threads)
        return Unseekable(container), stream

    monkeypatch.setattr(reader_module, "open_container", open_unseekable)
    with open_video(path) as reader:
        assert torch.equal(reader.frames([30, 48, 2]), expected[[30, 48, 2]])


class _ThreadsOfEachItem(Dataset[Tensor]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        with open_video(self.path) as reader:
            frames = reader.frames([index * 5])
            threads = reader._threads  # type: ignore[attr-defined]
        return torch.tensor([threads, int(frames.long().sum())])


def test_a_data_loader_worker_decodes_with_one_thread(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4")
    expected = decode_in_order(path)
    items = list(DataLoader(_ThreadsOfEachItem(path), batch_size=None, num_workers=2))
    assert [item.tolist() for item in items] == [[1, int(expected[i * 5].astype(int).sum())] for i in range(4)]
    with open_video(path) as reader:
        assert reader._threads == 0  # type: ignore[attr-defined]


def test_a_closed_reader_may_be_closed_again_and_read_again(tmp_path: Path) -> None:
    reader = open_video(make_video(tmp_path / "video.mp4"))
    before = reader.frames([4])
    reader.close()
    reader.close()
    assert torch.equal(reader.frames([4]), before)
    reader.close()


def test_real_clips_are_read_frame_for_frame(data: Path) -> None:
    for path in sorted((data / "videos" / "clips").iterdir()):
        if path.name == "mmaction2_demo_skeleton.mp4":
            continue  # 72 frames of 1920 x 1080: slow to compare
        expected = decode_in_order(path)
        picked = np.random.default_rng(0).choice(len(expected), size=6, replace=False)
        with open_video(path) as reader:
            assert reader.num_frames == len(expected), path.name
            assert np.array_equal(reader.frames(picked.tolist()).numpy(), expected[picked]), path.name


def test_indices_are_remembered_up_to_a_number_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_cached", {})
    monkeypatch.setattr(index, "_MAX_CACHED_FRAMES", 45)
    for number in range(3):
        index.index_of(make_video(tmp_path / f"{number}.mp4", num_frames=20))
    assert [key[0].name for key in index._cached] == ["1.mp4", "2.mp4"]
    index.index_of(make_video(tmp_path / "long.mp4", num_frames=50))
    assert [key[0].name for key in index._cached] == ["long.mp4"]
