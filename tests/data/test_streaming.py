"""A video read once from its beginning to its end gives the clips of testing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from re2tal.data import ClipStream, ResizeSampling, TestingSet, WindowSampling
from re2tal.data.frames import SlidingFrames
from re2tal.video import CorruptVideoError, FrameReader, VideoError, open_video, reader
from tests.data.conftest import SMALL, SmallSet
from tests.video.videos import make_video

SAMPLINGS = {
    "windows": SMALL,
    "much overlap": SMALL.model_copy(update={"test_overlap": 0.8}),
    "no overlap": SMALL.model_copy(update={"test_overlap": 0.0}),
    "long steps": WindowSampling(num_steps=4, frames_per_step=1, frame_stride=4),
    "whole video": ResizeSampling(num_steps=16, frames_per_step=2),
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("num_frames", [5, 33, 64])
def test_the_clips_are_those_of_testing(small_set: SmallSet, sampling: Any, num_frames: int) -> None:
    path = small_set.add("a", num_frames=num_frames, subset="validation")
    config = small_set.config(sampling=sampling)
    clips = list(ClipStream(path, video_id="a", config=config))
    tested = TestingSet(config)
    assert len(clips) == len(tested)
    for clip, other in zip(clips, tested, strict=True):
        assert torch.equal(clip.frames, other.frames) and torch.equal(clip.mask, other.mask)
        assert clip.grid == other.grid and clip.video_id == other.video_id and not len(clip.labels)


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_every_frame_is_decoded_at_most_once(
    small_set: SmallSet, sampling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_set.add("a", num_frames=64, subset="validation")
    stream = ClipStream(path, video_id="a", config=small_set.config(sampling=sampling))  # this looks at the first ones
    decoded: list[int] = []
    decode_packets = reader.decode_packets

    def counting(*args: Any, **kwargs: Any) -> Any:
        for frame in decode_packets(*args, **kwargs):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(reader, "decode_packets", counting)
    assert len(list(stream)) == len(stream)
    assert len(decoded) == len(set(decoded)) >= 32


def test_frames_behind_a_window_are_forgotten(small_set: SmallSet) -> None:
    path = small_set.add("a", num_frames=64)
    asked: list[list[int]] = []

    class Asked:
        """A reader that notes what it is asked for."""

        def __init__(self, real: FrameReader) -> None:
            self.real, self.num_frames = real, real.num_frames

        def stream(self, indices: Any, *, size: Any = None) -> Iterator[torch.Tensor]:
            asked.append(list(indices))
            return self.real.stream(indices, size=size)

    with open_video(path) as video, open_video(path) as other:
        frames = SlidingFrames(Asked(video), short_side=16)  # type: ignore[arg-type]
        for start in range(0, 64, 8):
            numbers = np.arange(start, min(start + 16, 64))
            assert torch.equal(frames.frames(numbers), other.frames(numbers.tolist(), size=16))
            assert len(frames._kept) <= 16
    assert sum(asked, []) == list(range(64))


def test_the_annotated_frame_count_decides_where_there_is_one(small_set: SmallSet) -> None:
    path = small_set.add("a", num_frames=64, subset="validation")
    small_set.database["a"]["frame"] = 60
    config = small_set.config()
    tested = TestingSet(config)
    video = tested._places[0].video
    clips = list(ClipStream(path, video_id="a", config=config, annotated=video))
    assert [clip.grid for clip in clips] == [clip.grid for clip in tested]
    assert [clip.grid for clip in clips] != [clip.grid for clip in ClipStream(path, video_id="a", config=config)]


def test_damage_behind_the_first_clip_is_told_when_it_is_reached(small_set: SmallSet, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", num_frames=300)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\xff" * 400
    path.write_bytes(content)
    stream = iter(ClipStream(path, video_id="a", config=small_set.config()))
    next(stream)
    with pytest.raises(CorruptVideoError, match=r"a\.mp4"):
        list(stream)


def test_a_crop_larger_than_the_frames_is_told_before_anything_is_decoded(small_set: SmallSet, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", num_frames=20, height=48, width=32)
    with pytest.raises(VideoError, match="resized to 24 x 16, which the crop of 16 x 30 does not fit into"):
        ClipStream(path, video_id="a", config=small_set.config(crop_size=(16, 30)))
