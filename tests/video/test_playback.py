"""What a browser plays is told from a file's head, and copies have the times of the original."""

from pathlib import Path

import numpy as np
import pytest

from re2tal.video import VideoError, look_at, open_video, probe, write_playable, write_video
from tests.video.videos import make_video


def frames(count: int = 30, *, height: int = 32, width: int = 48) -> np.ndarray:
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None] * 8, (count, height, width, 3))


@pytest.mark.parametrize(
    ("name", "codec", "plays"), [("a.mp4", "libx264", True), ("a.mov", "libx264", True), ("a.avi", "mpeg4", False)]
)
def test_the_head_tells_whether_browsers_play_it(tmp_path: Path, name: str, codec: str, plays: bool) -> None:
    write_video(tmp_path / name, frames(), fps=10, codec=codec)
    info = look_at(tmp_path / name)
    assert info.plays_everywhere == plays
    assert (info.fps, info.duration_seconds) == (pytest.approx(10), pytest.approx(3, abs=0.01))


def test_odd_sides_are_of_a_format_that_not_every_browser_plays(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames(height=33), fps=10)
    assert look_at(tmp_path / "a.mp4").pixel_format == "yuv444p"
    assert not look_at(tmp_path / "a.mp4").plays_everywhere
    write_playable(tmp_path / "a.mp4", tmp_path / "copy.mp4")
    assert look_at(tmp_path / "copy.mp4").plays_everywhere


def test_a_copy_shows_the_same_at_the_same_time(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", frames(), fps=12.5, codec="mpeg4")
    told: list[tuple[int, int]] = []
    write_playable(tmp_path / "a.avi", tmp_path / "copy.mp4", tell=lambda done, count: told.append((done, count)))
    assert look_at(tmp_path / "copy.mp4").plays_everywhere
    one, other = probe(tmp_path / "a.avi"), probe(tmp_path / "copy.mp4")
    assert (one.num_frames, one.fps) == (other.num_frames, pytest.approx(other.fps)) and told[-1] == (30, 30)
    with open_video(tmp_path / "a.avi") as reader, open_video(tmp_path / "copy.mp4") as copy:
        difference = reader.frames(range(30)).float() - copy.frames(range(30)).float()
    assert difference.abs().max() < 4  # a frame differs from the next by 8


def test_at_a_varying_rate_there_is_no_copy(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).integers(10, 400, size=50)).tolist()
    make_video(tmp_path / "a.mkv", times_ms=times)
    with pytest.raises(VideoError, match="its frame rate varies"):
        write_playable(tmp_path / "a.mkv", tmp_path / "copy.mp4")
    assert not (tmp_path / "copy.mp4").exists()


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    with pytest.raises(VideoError, match="not a readable video"):
        look_at(tmp_path / "a.mp4")
