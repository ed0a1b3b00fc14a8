"""Frames kept in memory: the same ones, decoded once, within the limit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from re2tal.data import TrainingSet, frames
from re2tal.data.frames import FrameStore
from re2tal.video import AugmentConfig, FrameReader, VideoError, open_video
from tests.data.conftest import SmallSet


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened."""
    names: list[str] = []

    def counting(path: Path) -> FrameReader:
        names.append(path.stem)
        return open_video(path)

    monkeypatch.setattr(frames, "open_video", counting)
    return names


def _every_second(num_frames: int) -> np.ndarray:
    return np.arange(0, num_frames, 2)


def test_training_with_frames_kept_in_memory_is_the_same_and_decodes_once(
    small_set: SmallSet, opened: list[str]
) -> None:
    for name in ("a", "b"):
        small_set.add(name, actions=[(1.0, 2.5, "run")])
    plain = TrainingSet(small_set.config(), AugmentConfig())
    kept = TrainingSet(small_set.config(cache_mib=1), AugmentConfig())
    for epoch in range(3):
        plain.set_epoch(epoch)
        kept.set_epoch(epoch)
        expected = [plain[index] for index in range(2)]
        opened.clear()
        found = [kept[index] for index in range(2)]
        assert opened == (["a", "b"] if epoch == 0 else [])
        assert all(torch.equal(a.frames, b.frames) for a, b in zip(expected, found, strict=True))


def test_videos_beyond_the_limit_are_decoded_every_time(small_set: SmallSet, opened: list[str]) -> None:
    paths = [small_set.add(name, num_frames=20) for name in ("a", "b")]
    # 10 frames of 256 x 384 x 3 bytes are 2.8 MiB.
    store = FrameStore(short_side=256, grid=_every_second, limit_mib=5)
    for _ in range(3):
        for path in paths:
            with store.open(path) as video:
                assert video.num_frames == 20
                assert video.frames(np.array([4, 4, 18])).shape == (3, 256, 384, 3)
    assert opened == ["a", "b", "b", "b"]
    assert store.kept_bytes == 10 * 256 * 384 * 3


def test_without_a_limit_nothing_is_kept(small_set: SmallSet, opened: list[str]) -> None:
    path = small_set.add("a", num_frames=10)
    store = FrameStore(short_side=16, grid=_every_second, limit_mib=0)
    for _ in range(2):
        with store.open(path) as video:
            assert video.frames(np.array([0, 8])).shape == (2, 16, 24, 3)
    assert opened == ["a", "a"] and store.kept_bytes == 0


def test_a_broken_video_is_not_kept(small_set: SmallSet) -> None:
    path = small_set.add("a", num_frames=10)
    path.write_bytes(b"no video")
    store = FrameStore(short_side=16, grid=_every_second, limit_mib=1)
    for _ in range(2):
        with pytest.raises(VideoError), store.open(path):
            pass
    assert store.kept_bytes == 0
