"""Thousands of videos: what is held in memory, and what a call with nothing new does."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from re2tal.inference import PredictionFolder, VideoFile
from re2tal.inference.written import WrittenFiles
from re2tal.report import Excerpt, Sources, write_report


def _videos(folder: Path, count: int) -> list[VideoFile]:
    folder.mkdir()
    paths = [folder / f"{number:04d}.mp4" for number in range(count)]
    for path in paths:
        path.touch()
    return [VideoFile(video_id=path.stem, path=path, num_bytes=0) for path in paths]


def _predicted(folder: Path, videos: list[VideoFile], *, each: int = 3) -> PredictionFolder:
    """As `predict` leaves a folder before it writes the files on all videos."""
    found = PredictionFolder(path=folder, fingerprint="f", min_score=None)
    for video in videos:
        rows = [{"segment": [0.5 * n, 0.5 * n + 1], "label": "run", "score": (n % 7) / 7} for n in range(each)]
        found.keep(video, rows, duration_seconds=60.0)
    return found


def _must_not_be_called(*_: object, **__: object) -> None:
    raise AssertionError("called")


def test_a_call_with_nothing_new_reads_no_detection_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = _videos(tmp_path / "videos", 200)
    folder = _predicted(tmp_path / "out", videos)
    first = folder.write_all(videos)
    assert (first.num_kept, first.num_shown, first.is_new) == (600, 0, True)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    monkeypatch.setattr(PredictionFolder, "found_in", _must_not_be_called)
    assert all(map(folder.is_done, videos))
    again = folder.write_all(videos)
    assert again == WrittenFiles(num_kept=600, num_shown=0, best_score=first.best_score, is_new=False)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def _without_subtitles(out: Path) -> None:
    (out / "videos/0001.vtt").unlink()


def _with_another_table(out: Path) -> None:
    (out / "detections.csv").write_text("edited")


def _with_a_broken_note(out: Path) -> None:
    (out / ".written.json").write_text('{"fingerprint": 3')


@pytest.mark.parametrize("change", [_without_subtitles, _with_another_table, _with_a_broken_note])
def test_what_has_been_changed_is_written_again(tmp_path: Path, change: Callable[[Path], None]) -> None:
    videos = _videos(tmp_path / "videos", 3)
    folder = _predicted(tmp_path / "out", videos)
    folder.write_all(videos)

    def contents() -> dict[Path, bytes]:
        files = (tmp_path / "out").rglob("*.*")
        return {path: path.read_bytes() for path in files if path.name != ".written.json"}

    wanted = contents()
    change(tmp_path / "out")
    assert folder.write_all(videos).is_new
    assert contents() == wanted
    assert not folder.write_all(videos).is_new


def test_other_videos_or_another_lowest_score_are_new(tmp_path: Path) -> None:
    videos = _videos(tmp_path / "videos", 3)
    folder = _predicted(tmp_path / "out", videos)
    folder.write_all(videos)
    assert folder.write_all(videos[:2]).num_kept == 6
    other = PredictionFolder(path=folder.path, fingerprint="f", min_score=0.1)
    assert other.write_all(videos[:2]).num_kept == 4
    os.utime(videos[0].path, (1, 1))
    assert not folder.is_done(videos[0]) and folder.is_done(videos[1])


@pytest.mark.parametrize("name", ["plain", 'x", "detections": ["', "日本語" * 20])
def test_the_head_of_a_result_tells_whose_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / "video.mp4"
    path.touch()
    video = VideoFile(video_id=name, path=path, num_bytes=0)
    folder = _predicted(tmp_path / "out", [video])
    assert folder.is_done(video) and folder.found_in(video) is not None
    other = PredictionFolder(path=folder.path, fingerprint="other", min_score=None)
    assert not other.is_done(video)


def test_damaged_results_are_made_again(tmp_path: Path) -> None:
    videos = _videos(tmp_path / "videos", 3)
    folder = _predicted(tmp_path / "out", videos)
    cut, torn = (tmp_path / f"out/finished/{video.video_id}.json" for video in videos[:2])
    cut.write_text(cut.read_text()[:-1])
    assert not folder.is_done(videos[0])
    torn.write_text(torn.read_text().replace('"label"', "label", 1))
    written = folder.write_all(videos[1:])  # a head and an end that are whole: only a reader finds out
    assert written.elsewhere == ("0001",) and set(_results(folder.submission)) == {"0002"}
    assert not folder.is_done(videos[1]) and folder.is_done(videos[2])
    assert folder.write_all(videos[2:]).is_new  # nothing was noted


def test_memory_does_not_grow_with_the_videos(tmp_path: Path) -> None:
    peaks = []
    for count in (10, 60):
        videos = _videos(tmp_path / f"videos{count}", count)
        folder = _predicted(tmp_path / f"out{count}", videos, each=100)
        tracemalloc.start()
        written = folder.write_all(videos)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert written.num_kept == 100 * count
    one_video = 100 * 400  # bytes: a detection as Python holds it
    assert peaks[1] - peaks[0] < one_video  # 50 videos more


def test_a_page_of_many_videos_shows_the_best_and_tells_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("re2tal.inference.folder._NUM_IN_EXCERPT", 20)
    videos = _videos(tmp_path / "videos", 5)
    folder = _predicted(tmp_path / "out", videos, each=14)
    written = folder.write_all(videos)
    excerpt = _results(folder.excerpt)
    assert [len(rows) for rows in excerpt.values()] == [4] * 5
    for video_id, rows in _results(folder.submission).items():
        best = sorted((row["score"] for row in rows), reverse=True)[:4]
        assert [row["score"] for row in excerpt[video_id]] == best
    page = tmp_path / "report.html"
    told = Excerpt(path=folder.excerpt, num_detections=written.num_kept)
    done = write_report(Sources(title="x", detections=folder.submission, excerpt=told), out=page)
    assert done.notes == ("The page has 20 of 70 detections, the best ones of each video.",)
    assert "<dd>70</dd>" in page.read_text()


def _results(path: Path) -> dict[str, list[dict[str, Any]]]:
    return json.loads(path.read_text())["results"]
