"""Which file an annotation means."""

import unicodedata
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re2tal.labels import SourceError
from re2tal.labels.splitting import split_groups
from re2tal.labels.videos import VideoFolder, common_pattern


def folder(root: Path, *names: str) -> VideoFolder:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return VideoFolder(root)


@pytest.mark.parametrize(
    "name",
    [
        "cage 1/Maus größer.MP4", "Maus größer.MP4", "Maus größer", "maus grösser.mp4".replace("ss", "ß"),
        "C:\\Users\\me\\cage 1\\Maus größer.MP4", "file:///C:/videos/Maus%20gr%C3%B6%C3%9Fer.MP4",
        "https://example.org/Maus%20gr%C3%B6%C3%9Fer.MP4", "./Maus größer.MP4", "Maus größer.avi",
        unicodedata.normalize("NFD", "Maus größer.MP4"), " Maus größer ",
    ],
)  # fmt: skip
def test_names_that_mean_a_file(tmp_path: Path, name: str) -> None:
    videos = folder(tmp_path, "cage 1/Maus größer.MP4", "other.mp4", "notes.txt", ".hidden.mp4")
    assert videos.find(name) == PurePosixPath("cage 1/Maus größer.MP4")
    assert len(videos.files) == 2


@pytest.mark.parametrize("name", ["", "/", "Maus", "cage 1", "größer.MP4", "notes.txt", "unknown.mp4"])
def test_names_that_mean_none(tmp_path: Path, name: str) -> None:
    assert folder(tmp_path, "cage 1/Maus größer.MP4", "notes.txt").find(name) is None


def test_a_dot_in_a_name_is_no_ending(tmp_path: Path) -> None:
    videos = folder(tmp_path, "trial.1.mp4", "trial.2.mp4")
    assert videos.find("trial.1") == PurePosixPath("trial.1.mp4")
    assert videos.find("trial") is None


def test_ids_of_youtube_may_have_their_prefix_on_the_file_alone(tmp_path: Path) -> None:
    assert folder(tmp_path, "v_QOlSCBRmfWY.mp4").find("QOlSCBRmfWY") == PurePosixPath("v_QOlSCBRmfWY.mp4")


def test_of_files_with_one_name_the_folder_and_the_ending_tell(tmp_path: Path) -> None:
    videos = folder(tmp_path, "one/a.mp4", "two/a.mp4", "two/b.avi", "two/b.mp4", "c.mp4", "C.mp4")
    assert videos.find("two/a") == PurePosixPath("two/a.mp4")
    assert videos.find("D:\\old\\one\\a.avi") == PurePosixPath("one/a.mp4")
    assert videos.find("b.avi") == PurePosixPath("two/b.avi")
    assert (videos.find("c"), videos.find("C")) == (PurePosixPath("c.mp4"), PurePosixPath("C.mp4"))


@pytest.mark.parametrize("name", ["a", "a.mp4", "elsewhere/a.mp4", "b"])
def test_what_may_be_two_files_is_an_error_that_names_both(tmp_path: Path, name: str) -> None:
    videos = folder(tmp_path, "one/a.mp4", "two/a.mp4", "b.mp4", "b.avi")
    with pytest.raises(SourceError, match=r"(one/a.mp4 and .*two/a.mp4|b.avi and .*b.mp4); write the folder"):
        videos.find(name)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder .*gone"):
        VideoFolder(tmp_path / "gone")
    with pytest.raises(SourceError, match="holds no video files; passed over in "):
        folder(tmp_path, "notes.txt")


@pytest.mark.parametrize(
    ("files", "pattern", "ids"),
    [
        (["a.mp4", "b c.mp4"], "{id}.mp4", ["a", "b c"]),
        (["x/a.mp4", "y/a.mp4"], "{id}.mp4", ["x/a", "y/a"]),
        (["a.mp4", "b.MP4"], "{id}", ["a.mp4", "b.MP4"]),
        (["v_QOlSCBRmfWY.mkv"], "v_{id}.mkv", ["QOlSCBRmfWY"]),
        (["v_QOlSCBRmfWY.mkv", "v_1.mkv"], "{id}.mkv", ["v_QOlSCBRmfWY", "v_1"]),
        ([], "{id}", []),
    ],
)
def test_ids_and_pattern_lead_to_the_files(files: list[str], pattern: str, ids: list[str]) -> None:
    found, of = common_pattern([PurePosixPath(file) for file in files])
    assert (found, list(of.values())) == (pattern, ids)
    assert [found.replace("{id}", name) for name in ids] == files


groups = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.dictionaries(st.sampled_from("xyz"), st.integers(1, 20)).map(Counter),
    max_size=30,
)


@given(groups, st.floats(0, 0.9), st.integers(0, 3))
def test_a_split_is_repeatable_and_leaves_both_sides_something(
    counts: dict[str, Counter[str]], share: float, seed: int
) -> None:
    chosen = split_groups(counts, share=share, seed=seed)
    assert chosen <= counts.keys()
    assert chosen == split_groups(dict(reversed(counts.items())), share=share, seed=seed)
    if share > 0 and len(counts) > 1:
        assert 0 < len(chosen) < len(counts)
    else:
        assert not chosen


def test_classes_are_split_in_like_shares() -> None:
    counts = {
        f"v{number}": Counter({"often": 5, **({"seldom": 1} if number % 10 == 0 else {})}) for number in range(100)
    }
    chosen = split_groups(counts, share=0.2, seed=0)
    assert len(chosen) == 20
    assert sum(counts[name]["seldom"] for name in chosen) == 2
    assert split_groups(counts, share=0.2, seed=1) != chosen


def test_a_class_of_one_group_is_trained_on() -> None:
    counts = {"a": Counter({"rare": 9}), "b": Counter({"x": 1}), "c": Counter({"x": 1}), "d": Counter({"x": 1})}
    for seed in range(5):
        assert "a" not in split_groups(counts, share=0.3, seed=seed)


def test_both_sides_show_every_class_that_they_can() -> None:
    groups = {"a": Counter(run=11), "b": Counter(run=3, jump=2), "c": Counter()}
    for seed in range(20):
        assert "a" in split_groups(groups, share=0.2, seed=seed)  # not b, which alone shows jumps
    alone = {"a": Counter(run=4), "b": Counter(jump=4)}
    assert all(len(split_groups(alone, share=0.2, seed=seed)) == 1 for seed in range(20))
