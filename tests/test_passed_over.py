"""Whatever lies in a folder that is named and is not taken is told, in one line of bounded length."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from re2tal.common.video_files import VIDEO_SUFFIXES, PassedOver, videos_passed_over
from re2tal.experiments.finetuning import ClipSource, list_clips
from re2tal.inference import VideoFile, find_videos
from re2tal.inference.inputs import InputError
from re2tal.inference.progress import VideoProgress
from re2tal.inference.videos import for_every_video
from re2tal.labels.videos import VideoFolder
from re2tal.report.media import find_videos as videos_of_report
from re2tal.training import Processes
from re2tal.video.container import open_container
from tests.labels.conftest import make_videos
from tests.labels.support import bring_in
from tests.labels.writers import write_csv


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_files_are_counted_by_ending_and_what_looks_like_a_video_comes_first(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "a.mp4",
        "b.MKV",
        "x.json",
        "y.JSON",
        "deep/z.json",
        "n.txt",
        "c.braw",
        "d.mp4.part",
        ".hidden",
        ".h/x.txt",
    )
    assert videos_passed_over(tmp_path) == (
        f"passed over in {tmp_path}: 1 x .braw (c.braw: raw film of a camera; convert it with its maker's program), "
        "1 x .part (d.mp4.part: not whole yet; finish copying it), 3 x .json (x.json), 1 x .txt (n.txt)"
    )


def test_nothing_is_told_where_nothing_is_passed_over(tmp_path: Path) -> None:
    assert (
        videos_passed_over(fill(tmp_path, *(f"{number}{ending}" for number, ending in enumerate(VIDEO_SUFFIXES)))) == ""
    )
    assert not PassedOver()


def test_the_line_has_a_bound(tmp_path: Path) -> None:
    names = [f"{'long' * 50}{number}.{'e' * 20}{number}" for number in range(40)]
    told = videos_passed_over(fill(tmp_path, *names, *(f"{number}.j{number}" for number in range(300))))
    assert len(told) < len(str(tmp_path)) + 600 and "other endings" in told


@pytest.mark.parametrize("ending", [".gif", ".y4m", ".mjpeg", ".dv", ".h264", ".h265", ".m2v", ".f4v", ".GIF", ".Mod"])
def test_every_place_takes_the_same_files_for_videos(ending: str, tmp_path: Path) -> None:
    fill(tmp_path, f"run/a{ending}", "run/a.txt")
    path = tmp_path / "run" / f"a{ending}"
    assert [video.path for video in find_videos([tmp_path])] == [path]
    assert [str(file) for file in VideoFolder(tmp_path).files] == [f"run/a{ending}"]
    assert [video.path for video in list_clips(ClipSource(videos=tmp_path)).videos] == [path]
    assert videos_of_report(["a"], folder=tmp_path).files == {"a": path}


def test_a_folder_without_videos_says_what_it_holds(tmp_path: Path) -> None:
    fill(tmp_path, "a.braw", "b.txt")
    with pytest.raises(
        InputError, match=r"no video files, such as .mp4 \(passed over in .*\.braw: raw film|no video files"
    ):
        find_videos([tmp_path])
    with pytest.raises(ValueError, match="holds no video files; passed over in .*1 x .braw"):
        VideoFolder(tmp_path)


def test_clips_that_lie_outside_of_a_class_are_told(tmp_path: Path) -> None:
    fill(tmp_path, "run/a.mp4", "run/deep/b.mp4", "c.mp4", "run/a.txt")
    found = list_clips(ClipSource(videos=tmp_path))
    assert len(found.videos) == 1
    assert found.passed_over == f"passed over in {tmp_path}: 2 x .mp4 (c.mp4), 1 x .txt (run/a.txt)"


def test_import_tells_what_it_passed_over(re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = make_videos(tmp_path / "v", {"a.mp4": 4.0})
    fill(videos, "b.braw")
    labels = tmp_path / "labels"
    labels.mkdir()
    write_csv(labels, {"a": [(1.0, 2.0, "run")]})
    fill(labels, "poses.h5", "more/project.odx", "~$labels.csv")
    shutil.copy(videos / "a.mp4", labels)
    assert re2tal("import", labels, "--videos", videos, "--out", tmp_path / "out.json") == 0
    shown = capsys.readouterr().out
    assert f"note: passed over in {videos}: 1 x .braw (b.braw: raw film of a camera" in shown
    assert "1 x .h5 (poses.h5: HDF5: write a table)" in shown and "1 x .mp4 (a.mp4)" in shown
    assert "1 x .odx (more/project.odx: a project of The Observer XT: export its events as text or Excel)" in shown


def test_predict_tells_what_it_passed_over(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from re2tal.cli.predicting import _tell_passed_over

    folder = fill(tmp_path / "v", "a.mp4", "b.braw")
    _tell_passed_over([folder, folder / "a.mp4", tmp_path / "gone*"])
    shown = capsys.readouterr().err
    assert shown.startswith(f"note: passed over in {folder}: 1 x .braw (b.braw") and len(shown.splitlines()) == 1
    assert "a file of another ending is tried if it is named itself" in shown


def test_the_report_tells_what_it_passed_over(tmp_path: Path) -> None:
    found = videos_of_report(["a"], folder=fill(tmp_path, "a.mp4", "b.braw"))
    assert "1 x .braw" in found.passed_over


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_names_that_are_no_text_and_links_to_nowhere_are_told_and_the_rest_is_done(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", {"a.mp4": 1.0})
    odd = os.fsdecode(os.fsencode(videos) + b"/\xff.mp4")
    try:
        shutil.copy(videos / "a.mp4", odd)
    except OSError:
        pytest.skip("this file system takes text alone")
    (videos / "gone.mp4").symlink_to(videos / "nowhere.mp4")
    done: list[str] = []

    def work(video: VideoFile, _: VideoProgress) -> None:
        container, _stream = open_container(video.path, threads=1)
        container.close()
        done.append(video.video_id)

    outcome = for_every_video(find_videos([videos]), work, is_done=lambda _: False, processes=Processes())
    assert done == ["a"] and len(outcome.skipped) == 2
    assert "no UTF-8; rename" in outcome.skipped["\udcff"] and "no video file" in outcome.skipped["gone"]
    outcome.write_skips(tmp_path)
    assert "gone" in (tmp_path / "skipped.json").read_text()
    labels = write_csv(tmp_path, {"a": [(0.1, 0.5, "run")]})
    imported = bring_in(labels, videos=videos, empty=("*",))
    assert "\udcff" not in imported.database
    assert any("names of 1 videos" in note and "rename" in note for note in imported.report.notes)


@pytest.mark.skipif(os.name != "posix", reason="systems tell what may be read in other ways")
def test_folders_that_may_not_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.mp4", "closed/b.mp4")
    scandir = os.scandir

    def guarded(path: str) -> Any:  # the tests may run as somebody who may read everything
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert videos_passed_over(tmp_path) == f"1 folders that you may not read, such as {tmp_path / 'closed'}"
