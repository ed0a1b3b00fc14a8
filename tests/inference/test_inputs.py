"""What is named on the command line becomes video files with ids of their own."""

from pathlib import Path

import pytest

from re2tal.inference import InputError, find_videos


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def _ids(*named: Path) -> list[str]:
    return [video.video_id for video in find_videos(named)]


def test_a_file_is_called_as_it_is_named(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "cow.mp4", "odd.name.of", "cam.1.mp4")
    assert _ids(folder / "cow.mp4") == ["cow"]
    assert _ids(folder / "odd.name.of") == ["odd.name"]
    assert _ids(folder / "cam.1.mp4") == ["cam.1"]


def test_a_folder_means_the_videos_below_it(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "b.MP4", "day1/a.avi", "day1/notes.txt", "._b.mp4", "day2/deep/c.webm")
    assert _ids(folder) == ["b", "day1/a", "day2/deep/c"]


def test_a_pattern_means_what_it_matches(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "day1/a.mp4", "day2/a.mp4", "day2/b.mp4")
    assert _ids(folder / "*" / "a.mp4") == ["day1/a", "day2/a"]
    assert _ids(folder / "**" / "*.mp4") == ["day1/a", "day2/a", "day2/b"]


def test_a_name_with_brackets_that_is_there_is_no_pattern(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "clip[1].mp4", "clip1.mp4")
    assert _ids(folder / "clip[1].mp4") == ["clip[1]"]


def test_files_that_differ_in_their_ending_keep_it(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "a.mp4", "a.avi", "b.mp4")
    assert _ids(folder) == ["a.avi", "a.mp4", "b"]


def test_a_video_named_twice_comes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _touch(tmp_path, "a.mp4")
    monkeypatch.chdir(folder)
    assert _ids(Path("a.mp4"), Path("./a.mp4"), folder / "a.mp4") == ["a"]


def test_several_folders_lend_their_names(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "x/day1/a.mp4", "x/day2/a.mp4", "y/day1/a.mp4")
    assert _ids(folder / "x/day1", folder / "x/day2") == ["day1/a", "day2/a"]
    with pytest.raises(InputError, match="both be called 'day1/a.mp4'; name the folder that holds both"):
        find_videos([folder / "x/day1", folder / "y/day1"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.mp4", "there is no video or folder .*gone.mp4"),
        ("gone*.mp4", "nothing matches the pattern"),
        ("empty", r"holds no video files, such as \.mp4 \(it is empty\)"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        find_videos([tmp_path / name])


def test_a_link_is_called_as_the_link(tmp_path: Path) -> None:
    folder = _touch(tmp_path, "store/0001.mp4")
    (folder / "shown").mkdir()
    (folder / "shown/cow.mp4").symlink_to(folder / "store/0001.mp4")
    assert _ids(folder / "shown") == ["cow"]
