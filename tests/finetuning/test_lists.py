"""Videos in folders of classes, and lists of Kinetics' layout."""

from pathlib import Path

import pytest

from re2tal.experiments.finetuning import ClipListError, ClipSource, list_clips

HEADER = "label,youtube_id,time_start,time_end,split\n"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_folders_are_classes(tmp_path: Path) -> None:
    for name in ("run/b.mp4", "run/a.MKV", "jump/c.webm", "jump/notes.txt", "stray.mp4"):
        touch(tmp_path / name)
    found = list_clips(ClipSource(videos=tmp_path))
    assert [(video.label, video.path.name) for video in found.videos] == [
        ("jump", "c.webm"),
        ("run", "a.MKV"),
        ("run", "b.mp4"),
    ]
    assert found.class_names == ("jump", "run") and not found.absent


def test_files_of_kinetics_are_found_under_their_names(tmp_path: Path) -> None:
    csv = tmp_path / "list.csv"
    rows = [
        "air drumming,-0a_x,3,13,train",
        "abseiling,zz,7,17,train",
        "abseiling,yy,0,10,val",
        "abseiling,gone,1,11,train",
    ]
    csv.write_text("\ufeff" + HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    touch(tmp_path / "videos/-0a_x_000003_000013.mp4")
    touch(tmp_path / "videos/abseiling/zz.mp4")
    touch(tmp_path / "videos/abseiling/yy_000000_000010.mp4")
    found = list_clips(ClipSource(videos=tmp_path / "videos", labels=csv, split="train"))
    assert [(video.label, video.path.name, video.seconds) for video in found.videos] == [
        ("air drumming", "-0a_x_000003_000013.mp4", (3, 13)),
        ("abseiling", "zz.mp4", (7, 17)),
    ]
    assert found.absent == ("gone_000001_000011.mp4",)
    assert len(list_clips(ClipSource(videos=tmp_path / "videos", labels=csv)).videos) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,id\nrun,a\n", "lacks the column 'youtube_id', it has label, id"),
        ("", "lacks the column 'label', it has none"),
        (
            HEADER + "run,a,0,10,train\nrun,b,5,5,train\n",
            "line 3: time_start and time_end must be seconds.* '5' and '5'",
        ),
        (HEADER + "run,a,zero,10,train\n", "line 2: .*got 'zero' and '10'"),
        (HEADER + "run,a,0,nan,train\n", "line 2: .*got '0' and 'nan'"),
        (HEADER + "run,../a,0,10,train\n", "line 2: label and youtube_id must be names without slashes"),
        (HEADER + "run,a,,,train\n", "line 2: .*got '' and ''"),
        (HEADER + "run,a,0,10,val\n", "split 'train', has no video; put videos"),
        (HEADER + "run,a,0,10,train\n", "none of 1 listed files is there, such as a_000000_000010.mp4"),
    ],
)
def test_lists_that_cannot_be_used_say_where_and_why(tmp_path: Path, text: str, message: str) -> None:
    csv = tmp_path / "list.csv"
    csv.write_text(text, encoding="utf-8")
    with pytest.raises(ClipListError, match=message):
        list_clips(ClipSource(videos=tmp_path, labels=csv, split="train"))


def test_what_is_no_text_and_what_is_not_there(tmp_path: Path) -> None:
    csv = tmp_path / "list.csv"
    csv.write_bytes(b"\xff\xfe\x00label")
    for source, message in (
        (ClipSource(videos=tmp_path, labels=csv), "cannot be read"),
        (ClipSource(videos=tmp_path, labels=tmp_path / "none.csv"), "cannot be read"),
        (ClipSource(videos=tmp_path / "none"), "there is no folder"),
    ):
        with pytest.raises(ClipListError, match=message):
            list_clips(source)
    with pytest.raises(ValueError, match="split chooses rows of a list"):
        ClipSource(videos=tmp_path, split="val")
