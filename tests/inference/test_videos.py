"""Videos shared out over processes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re2tal.inference import VideoFile
from re2tal.inference.progress import VideoProgress
from re2tal.inference.videos import for_every_video, share_out
from re2tal.training import Processes
from re2tal.video import VideoError


def _videos(sizes: list[int]) -> list[VideoFile]:
    return [
        VideoFile(video_id=str(number), path=Path(str(number)), num_bytes=size) for number, size in enumerate(sizes)
    ]


@given(st.lists(st.integers(0, 1000), max_size=30), st.integers(1, 5))
def test_every_video_is_done_once_and_nobody_has_much_more_than_another(sizes: list[int], count: int) -> None:
    videos = _videos(sizes)
    shares = share_out(videos, count)
    assert len(shares) == count
    assert sorted(video.video_id for share in shares for video in share) == sorted(video.video_id for video in videos)
    loads = [sum(max(video.num_bytes, 1) for video in share) for share in shares]
    assert max(loads) - min(loads) <= max([*sizes, 1])


def test_the_largest_come_first_so_that_the_end_is_even() -> None:
    assert [[video.num_bytes for video in share] for share in share_out(_videos([1, 8, 3, 4]), 2)] == [[8], [4, 3, 1]]


def test_of_many_broken_videos_the_first_are_told_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    def work(video: VideoFile, progress: VideoProgress) -> None:
        raise VideoError("broken")

    outcome = for_every_video(_videos([1] * 500), work, is_done=lambda video: False, processes=Processes())
    assert len(outcome.skipped) == 500 and len(caplog.records) == 21


def test_progress_weighs_videos_by_their_size() -> None:
    small, large = _videos([100, 300])
    told: list[tuple[float, str]] = []
    progress = VideoProgress([small, large], tell=lambda done, line: told.append((done, line)))
    progress.clip(small, 1, 2)
    progress.clip(small, 2, 2)
    progress.finish(small)
    progress.clip(large, 1, 3)
    assert [done for done, _ in told] == [0.125, 0.25, 0.5]
    assert told[-1][1].startswith("video 2 of 2, 1: 33 %") and told[-1][1].endswith(" left")
