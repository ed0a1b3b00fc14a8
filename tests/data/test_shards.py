"""Testing in runs of neighbouring clips: the clips of the map-style set, and no frame decoded twice within a run."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from re2tal.common.types import Batch
from re2tal.data import ClipShard, ResizeSampling, TestingSet
from re2tal.training import Processes
from re2tal.video import VideoError, reader
from tests.data.conftest import SMALL, SmallSet

OVERLAPPING = SMALL.model_copy(update={"test_overlap": 0.75})
"""Windows of 32 frames, every 8."""
LENGTHS = {"short": 20, "long": 64, "exact": 32, "odd": 61}


@pytest.fixture
def videos(small_set: SmallSet) -> SmallSet:
    for name, num_frames in LENGTHS.items():
        small_set.add(name, num_frames=num_frames, subset="validation")
    return small_set


@pytest.fixture
def decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """How often each frame has been decoded, in loader processes as well."""
    note = tmp_path / "decoded.txt"
    note.touch()
    decode_packets = reader.decode_packets

    def counting(*args: Any, path: Path, **kwargs: Any) -> Any:
        for frame in decode_packets(*args, path=path, **kwargs):
            with note.open("a") as file:
                file.write(f"{path.stem} {frame.pts}\n")
            yield frame

    monkeypatch.setattr(reader, "decode_packets", counting)
    return lambda: Counter(note.read_text().splitlines())


def load(clips: TestingSet, *, num_workers: int, batch_size: int = 2, numbers: range | None = None) -> list[Batch]:
    """The batches, put into order by their numbers."""
    runs = ClipShard(clips, numbers=range(len(clips)) if numbers is None else numbers, batch_size=batch_size)
    found = dict(DataLoader(runs, batch_size=None, collate_fn=lambda item: item, num_workers=num_workers))
    return [found[number] for number in sorted(found)]


def assert_are_clips(batches: list[Batch], clips: TestingSet, numbers: range) -> None:
    assert [name for batch in batches for name in batch.video_ids] == [clips.video_ids[number] for number in numbers]
    frames = [clip for batch in batches for clip in batch.frames]
    masks = [mask for batch in batches for mask in batch.mask]
    grids = [grid for batch in batches for grid in batch.grids]
    for number, clip, mask, grid in zip(numbers, frames, masks, grids, strict=True):
        wanted = clips[number]
        assert torch.equal(clip, wanted.frames) and torch.equal(mask, wanted.mask) and grid == wanted.grid


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("cache_mib", [0, 1])
def test_the_clips_are_those_of_the_map_style_set(videos: SmallSet, num_workers: int, cache_mib: int) -> None:
    clips = TestingSet(videos.config(sampling=OVERLAPPING, cache_mib=cache_mib))
    assert_are_clips(load(clips, num_workers=num_workers), clips, range(len(clips)))


def test_whole_videos_are_clips_as_well(videos: SmallSet) -> None:
    clips = TestingSet(videos.config(sampling=ResizeSampling(num_steps=16, frames_per_step=2)))
    assert_are_clips(load(clips, num_workers=2), clips, range(4))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_do_not_depend_on_the_number_of_loader_processes(videos: SmallSet, batch_size: int) -> None:
    clips = TestingSet(videos.config(sampling=OVERLAPPING))
    sizes = [
        [len(batch) for batch in load(clips, num_workers=num_workers, batch_size=batch_size)]
        for num_workers in (0, 1, 2, 3)
    ]
    assert sizes[0] == sizes[1] == sizes[2] == sizes[3]
    assert set(sizes[0][:-1]) <= {batch_size} and sum(sizes[0]) == len(clips)


@pytest.mark.parametrize("world_size", [1, 2, 3, 20])
def test_the_parts_of_several_processes_are_the_whole(videos: SmallSet, world_size: int) -> None:
    clips = TestingSet(videos.config(sampling=OVERLAPPING))
    batches = []
    for rank in range(world_size):
        own = Processes(rank=rank, world_size=world_size).share(len(clips))
        batches += load(clips, num_workers=2, numbers=own)
    assert_are_clips(batches, clips, range(len(clips)))


def test_one_process_decodes_no_frame_twice(videos: SmallSet, decoded: Callable[[], Counter[str]]) -> None:
    clips = TestingSet(videos.config(sampling=OVERLAPPING))
    load(clips, num_workers=0)
    assert set(decoded().values()) == {1}
    assert sum(decoded().values()) >= sum(LENGTHS.values()) // 2 - len(LENGTHS)  # every second, up to the last
    for number in range(len(clips)):
        clips[number]
    assert max(decoded().values()) > 3  # that is what was saved


def test_loader_processes_decode_twice_at_their_seams_alone(
    videos: SmallSet, decoded: Callable[[], Counter[str]]
) -> None:
    clips = TestingSet(videos.config(sampling=OVERLAPPING))
    assert clips.video_ids == ("short", *["long"] * 5, "exact", *["odd"] * 5)
    load(clips, num_workers=3, batch_size=1)  # 4 clips each: the first seam lies in "long", the second in "odd"
    twice = {frame for frame, times in decoded().items() if times > 1}
    assert max(decoded().values()) == 2
    assert {frame.split()[0] for frame in twice} == {"long", "odd"}


def test_there_is_no_such_frame_where_seams_lie_between_videos(
    videos: SmallSet, decoded: Callable[[], Counter[str]]
) -> None:
    clips = TestingSet(videos.config(sampling=OVERLAPPING))
    load(clips, num_workers=2, batch_size=1)  # 6 clips each: "short" and "long"; "exact" and "odd"
    assert set(decoded().values()) == {1}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_video_is_an_error_that_names_it(videos: SmallSet, num_workers: int) -> None:
    videos.add("worse", subset="validation").write_bytes(b"no video")
    clips = TestingSet(videos.config())
    with pytest.raises(VideoError, match=r"worse\.mp4"):
        load(clips, num_workers=num_workers)


def test_clips_with_gaps_are_refused(videos: SmallSet) -> None:
    clips = TestingSet(videos.config())
    with pytest.raises(ValueError, match=r"got range\(0, 4, 2\) in batches of 2; give a range without a step"):
        ClipShard(clips, numbers=range(0, 4, 2), batch_size=2)
