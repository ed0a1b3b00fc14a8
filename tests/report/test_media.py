"""Finding video files by ids that nobody has checked, and naming them in a page."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from re2tal.report import ReportError
from re2tal.report.media import find_videos, link_to


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_files_are_found_by_name_suffix_prefix_and_path(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.AVI", "v_c.webm", "deep/d.mkv", "e.txt", "deep/er/f.mp4")
    found = find_videos(["a", "b", "c", "d", "e", "deep/er/f", "g"], folder=tmp_path).files
    assert {name: path.name for name, path in found.items()} == {
        "a": "a.mp4",
        "b": "b.AVI",
        "c": "v_c.webm",
        "d": "d.mkv",
        "deep/er/f": "f.mp4",
    }


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "x/../../secret", "\0", "a" * 5000, ""])
@pytest.mark.parametrize("searched", [True, False])
def test_ids_do_not_lead_out_of_the_folder(tmp_path: Path, name: str, searched: bool) -> None:
    make(tmp_path, "secret.mp4", "videos/inside.mp4")
    folder = tmp_path / "videos"
    path_of = None if searched else (lambda video_id: folder / f"{video_id}.mp4")
    assert find_videos([name, "inside"], folder=folder, path_of=path_of).files.keys() == {"inside"}


def test_a_folder_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no folder of videos .*--videos"):
        find_videos(["a"], folder=tmp_path / "gone")


@pytest.mark.parametrize(
    "name", ["plain.mp4", "with space.mp4", "javascript:alert(1).mp4", "a?b#c%20.mp4", "日本.mp4", '"<>&.mp4']
)
def test_links_are_relative_and_quoted(tmp_path: Path, name: str) -> None:
    link = link_to(tmp_path / "videos" / name, page=tmp_path / "pages" / "report.html")
    assert unquote(link) == f"../videos/{name}"
    beside = link_to(tmp_path / name, page=tmp_path / "report.html")
    assert unquote(beside) == name and ":" not in beside and not set(beside) & set('"<>&?# ')
