"""Frames written to a file come back from it."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from re2tal.video import available_encoder, open_video, probe, write_video
from re2tal.video import encode as encode_module

from .videos import moving_pattern


def patterns(number: int, *, height: int = 48, width: int = 64) -> list[NDArray[np.uint8]]:
    return [moving_pattern(i, height=height, width=width) for i in range(number)]


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63), (33, 64)])
@pytest.mark.parametrize("codec", ["auto", "mpeg4"])
def test_frames_come_back_nearly_equal(tmp_path: Path, height: int, width: int, codec: str) -> None:
    frames = patterns(12, height=height, width=width)
    used = write_video(tmp_path / "video.mp4", frames, fps=30, codec=codec)
    assert used == (available_encoder() if codec == "auto" else codec)
    with open_video(tmp_path / "video.mp4") as reader:
        assert (reader.num_frames, reader.fps, reader.height, reader.width) == (12, 30.0, height, width)
        error = np.abs(reader.frames(range(12)).numpy().astype(int) - np.stack(frames))
    assert np.median(error) <= 4


def test_the_first_encoder_of_the_installed_ffmpeg_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(encode_module, "_ENCODERS", ("no_such_encoder", "mpeg4"))
    assert write_video(tmp_path / "video.mp4", patterns(3), fps=25) == "mpeg4"
    monkeypatch.setattr(encode_module, "_ENCODERS", ("no_such_encoder",))
    with pytest.raises(ValueError, match="encodes none of no_such_encoder"):
        available_encoder()


def test_an_unknown_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot encode with 'h265x'; write codec='auto'"):
        write_video(tmp_path / "video.mp4", patterns(2), fps=25, codec="h265x")


def test_key_frames_lie_no_further_apart_than_asked(tmp_path: Path) -> None:
    write_video(tmp_path / "video.mp4", patterns(40), fps=25, key_interval=8)
    with av.open(str(tmp_path / "video.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert np.diff(np.flatnonzero([*keys, True])).max() <= 8


def test_fractional_rates_and_torch_frames_are_accepted(tmp_path: Path) -> None:
    frames: Iterator[torch.Tensor] = (torch.from_numpy(frame) for frame in patterns(30))
    write_video(tmp_path / "video.mp4", frames, fps=30000 / 1001)
    assert probe(tmp_path / "video.mp4").fps == pytest.approx(29.97003, abs=1e-4)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "at least one"),
        ([np.zeros((8, 8, 3), np.float32)], r"uint8.*got \(8, 8, 3\) float32"),
        ([np.zeros((8, 8), np.uint8)], r"got \(8, 8\) uint8"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)], r"\(8, 8, 3\) uint8.*got \(8, 10, 3\)"),
    ],
)
def test_bad_frames_are_refused_and_leave_no_file(
    tmp_path: Path, frames: list[NDArray[np.uint8]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "video.mp4", frames, fps=25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0, -25, float("nan"), float("inf")])
def test_a_rate_of_nothing_is_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be a number above 0"):
        write_video(tmp_path / "video.mp4", patterns(2), fps=fps)


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, patterns(4), fps=25)

    def failing() -> Iterator[NDArray[np.uint8]]:
        yield moving_pattern(0)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        write_video(path, failing(), fps=25)
    assert probe(path).num_frames == 4
    assert list(tmp_path.iterdir()) == [path]
