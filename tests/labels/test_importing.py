"""What is left out, changed, split and told."""

import json
from pathlib import Path
from typing import Any

import pytest

from re2tal.data import read_annotations
from re2tal.labels import (
    ImportOptions,
    ReadOptions,
    SourceError,
    import_annotations,
    read_sources,
    write_annotations,
)
from tests.labels.conftest import make_videos
from tests.labels.support import bring_in, reasons, segments_of


def table(folder: Path, *rows: str, header: str = "video,start,end,label", name: str = "x.csv") -> Path:
    path = folder / name
    path.write_text("".join(f"{row}\n" for row in (header, *rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "reason", "told"),
    [
        ("z,1,2,run", "unknown video", "no file in the folder of the videos for 'z'"),
        ("a,2,1,run", "end not after start", "'run' from 2 to 1 s"),
        ("a,2,2,run", "end not after start", "--point-length gives it a length"),
        ("a,12,13,run", "outside the video", "of a video of 12.00 s"),
        ("a,-3,-1,run", "outside the video", "'run' from -3 to -1 s"),
        ("a,one,2,run", "unparsable time", "got 'one'"),
        ("a,,2,run", "unparsable time", "got nothing"),
        ("a,nan,2,run", "unparsable time", "got 'nan'"),
        ("a,5.0004,6,run", "duplicate", "is there already"),
        ("a,1,2,", "empty label", "nothing in 'label'"),
        ('a,1,2," "', "empty label", "nothing in 'label'"),
        ("a,1,,run", "point event", "at 1 s, without an end"),
        ("a,1,NA,run", "point event", "at 1 s, without an end"),
        (",1,2,run", "incomplete entry", "names no video"),
    ],
)
def test_each_reason_to_leave_an_annotation_out(clips: Path, tmp_path: Path, row: str, reason: str, told: str) -> None:
    imported = bring_in(table(tmp_path, "a,5,6,run", row), videos=clips)
    assert segments_of(imported) == {"a": [(5.0, 6.0, "run")]}
    (problem,) = imported.report.problems
    assert (problem.reason, problem.where) == (reason, f"{tmp_path}/x.csv, line 3")
    assert told in problem.detail
    assert (imported.report.num_read, imported.report.num_segments, imported.report.num_dropped) == (2, 1, 1)


def test_overhanging_annotations_are_clipped_and_told_beyond_rounding(clips: Path, tmp_path: Path) -> None:
    imported = bring_in(table(tmp_path, "a,11,13,run", "a,-1,2,run", "b,11,12.005,run"), videos=clips)
    assert segments_of(imported) == {"a": [(0.0, 2.0, "run"), (11.0, 12.0, "run")], "b": [(11.0, 12.0, "run")]}
    assert reasons(imported) == {"clipped to the video": 2}
    assert imported.report.num_dropped == 0


def test_frames_are_counted_at_the_rate_of_each_video_or_the_one_given(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "v", {"fast.mp4": 4.0}, fps=20)
    make_videos(tmp_path / "v", {"slow.mp4": 4.0}, fps=10)
    path = table(tmp_path, "fast,10,30,run", "slow,10,30,run", header="video,start_frame,end_frame,label")
    assert segments_of(bring_in(path, videos=videos)) == {"fast": [(0.5, 1.5, "run")], "slow": [(1.0, 3.0, "run")]}
    at_20 = bring_in(path, videos=videos, fps=20.0)
    assert segments_of(at_20) == {"fast": [(0.5, 1.5, "run")], "slow": [(0.5, 1.5, "run")]}
    timecode = table(tmp_path, "fast,00:00:01:10,00:00:02:00,run")
    assert segments_of(bring_in(timecode, videos=videos)) == {"fast": [(1.5, 2.0, "run")]}


def test_frames_taken_for_seconds_are_noticed(clips: Path, tmp_path: Path) -> None:
    imported = bring_in(table(tmp_path, "a,40,60,run", "b,50,90,run", "b,5,9,run"), videos=clips)
    assert any("--unit frames" in hint for hint in imported.report.hints)
    path = table(tmp_path, "a,400,600,run", "b,500,900,run")  # longer than the video in frames, too
    assert any(hint.endswith("try --unit milliseconds") for hint in bring_in(path, videos=clips).report.hints)
    path = table(tmp_path, "a,14000,16000,run", "b,50000,90000,run")
    assert not any("--unit" in hint for hint in bring_in(path, videos=clips).report.hints)


@pytest.mark.parametrize("rows", [("a,1:30,1:40,run", "b,0:01:50,0:02:00,run"), ("a,40 s,60 s,run", "b,50s,90s,run")])
def test_no_unit_is_advised_where_times_tell_their_own(rows: tuple[str, ...], clips: Path, tmp_path: Path) -> None:
    imported = bring_in(table(tmp_path, *rows), videos=clips)
    assert reasons(imported) == {"outside the video": 2} and not any("--unit" in hint for hint in imported.report.hints)


def test_remarks_taken_for_classes_are_noticed(clips: Path, tmp_path: Path) -> None:
    def hints(number: int) -> list[str]:
        rows = [f"{'abcd'[n % 4]},{n % 9},{n % 9 + 1},remark {n}" for n in range(number)]
        return [hint for hint in bring_in(table(tmp_path, *rows), videos=clips).report.hints if "remarks" in hint]

    assert hints(20) == []
    (told,) = hints(30)
    assert told.startswith("30 of 30 classes have one annotation each, such as 'remark 0'; if these are remarks")


def test_broken_videos_are_told_and_the_others_kept(clips: Path, tmp_path: Path) -> None:
    videos = tmp_path / "v"
    videos.mkdir()
    (videos / "a.mp4").write_bytes((clips / "a.mp4").read_bytes())
    (videos / "b.mp4").write_bytes(b"no video")
    imported = bring_in(table(tmp_path, "a,1,2,run", "b,1,2,run", "b,3,4,run"), videos=videos)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run")]}
    assert reasons(imported) == {"unreadable video": 2}
    assert "not a readable video file" in imported.report.problems[0].detail


def test_one_unreadable_file_of_a_folder_does_not_stop_the_others(clips: Path, tmp_path: Path) -> None:
    table(tmp_path, "a,1,2,run", name="one.csv")
    table(tmp_path, "b,1,2,run", name="two.csv")
    (tmp_path / "three.eaf").write_text("<?xml version='1.0'?><!DOCTYPE x><x/>")
    imported = bring_in(tmp_path, videos=clips)
    assert segments_of(imported).keys() == {"a", "b"}
    assert reasons(imported) == {"unreadable file": 1} and imported.report.num_dropped == 0


def test_several_sources_are_one_data_set(clips: Path, tmp_path: Path) -> None:
    sources = [
        table(tmp_path, "a,1,2,run", name="train.csv", header="video,start,end,label"),
        table(tmp_path, "b.mp4;1,0;2,0;run", name="val.csv", header="video;start;end;label"),
    ]
    readings = read_sources(sources, format_=None, options=ReadOptions())
    imported = import_annotations(readings, videos=clips, options=ImportOptions(), tell=lambda *_: None)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run")], "b": [(1.0, 2.0, "run")]}


def test_labels_that_look_alike_are_one_and_those_that_differ_in_capitals_are_told(clips: Path, tmp_path: Path) -> None:
    imported = bring_in(
        table(tmp_path, "a,1,2,go  far", "a,3,4, go far ", "b,1,2,Go far", "b,3,4,e\u0301", "b,5,6,\u00e9"),
        videos=clips,
    )
    assert set(imported.report.classes) == {"go far", "Go far", "\u00e9"}
    assert any("differ in capitals only" in hint for hint in imported.report.hints)


def rows(*subsets: str) -> list[str]:
    return [f"{video},1,2,run,{subset},{group}" for video, subset, group in zip("abcd", subsets, "uuvv", strict=True)]


def test_subsets_that_the_file_tells_are_kept(clips: Path, tmp_path: Path) -> None:
    header = "video,start,end,label,split,mouse"
    path = table(tmp_path, *rows("train", "TRAIN", "val", "Validation"), header=header)
    assert bring_in(path, videos=clips).report.videos == {"training": 2, "validation": 2}
    split = bring_in(path, videos=clips, resplit=True, split=0.25)
    assert split.report.videos == {"training": 3, "validation": 1}
    path = table(tmp_path, *rows("train", "train", "", "val"), header=header)
    with pytest.raises(SourceError, match=r"the subset of 3 of 4 videos, not of 'c.mp4'; .*--resplit"):
        bring_in(path, videos=clips)
    path = table(tmp_path, *rows("train", "train", "val", "val"), "a,3,4,run,val,u", header=header)
    with pytest.raises(SourceError, match=r"1 videos are in several subsets, such as 'a.mp4'"):
        bring_in(path, videos=clips)


@pytest.mark.parametrize("group", ["mouse", "[abcd]", "^(a|b)|^(.)"])
def test_groups_do_not_cross_the_split(clips: Path, tmp_path: Path, group: str) -> None:
    path = table(tmp_path, *rows("", "", "", ""), header="video,start,end,label,split,mouse")
    options: dict[str, Any] = {"group": group, "split": 0.5}
    imported = bring_in(path, videos=clips, **options)
    side = {video: entry["subset"] for video, entry in imported.database.items()}
    groups = {video: entry["group"] for video, entry in imported.database.items()}
    for video, other in ((video, other) for video in side for other in side):
        assert groups[video] != groups[other] or side[video] == side[other]
    assert set(side.values()) == {"training", "validation"}
    if group == "mouse":
        assert groups == {"a": "u", "b": "u", "c": "v", "d": "v"} and side["a"] != side["c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "cage"}, r"no field of the annotations .they have .*mouse.* does not match the video 'a.mp4'"),
        ({"group": "("}, "neither a field nor a regular expression"),
        ({"label": ("kind",)}, "no annotation has a field 'kind'; there are 'end', 'label', 'mouse'"),
        ({"only": {"tier": frozenset({"x"})}}, "no annotation has a field 'tier'"),
    ],
)
def test_options_that_name_nothing(clips: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = table(tmp_path, *rows("", "", "", ""), header="video,start,end,label,split,mouse")
    with pytest.raises(SourceError, match=message):
        bring_in(path, videos=clips, **options)


def test_a_video_of_two_groups_is_an_error(clips: Path, tmp_path: Path) -> None:
    path = table(tmp_path, "a,1,2,run,m1", "a,3,4,run,m2", header="video,start,end,label,mouse")
    with pytest.raises(SourceError, match="video 'a.mp4' has 2 values, 'm1', 'm2'"):
        bring_in(path, videos=clips, group="mouse")


def test_what_can_neither_be_trained_nor_validated_on_is_told(clips: Path, tmp_path: Path) -> None:
    header = "video,start,end,label,split"
    imported = bring_in(table(tmp_path, "a,1,2,run,train", "b,1,2,sit,val", header=header), videos=clips)
    assert imported.report.hints == ("no training video shows 'sit'",
                                     "only training videos show 'run', so their mAP will not be known")  # fmt: skip
    one = bring_in(table(tmp_path, "a,1,2,run"), videos=clips)
    assert any("none is left to validate on" in hint for hint in one.report.hints)


def test_stretches_that_are_labelled_come_along_and_are_counted(clips: Path, tmp_path: Path) -> None:
    database = {
        "a": {"annotations": [{"segment": [1.0, 2.0], "label": "run"}], "labelled": [[0.0, 1.5]]},
        "b": {"annotations": [], "labelled": [[0.0, 3.0], [2.0, 4.0]]},
        "c": {"annotations": [], "labelled": "no"},
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"database": database}))
    imported = bring_in(path, videos=clips)
    found = {name: entry.get("labelled") for name, entry in imported.database.items()}
    assert found == {"a": [[0.0, 2.0]], "b": [[0.0, 4.0]], "c": []}  # what cannot be read has not been looked at
    assert reasons(imported) == {"incomplete entry": 1}
    time = imported.report.time  # of three videos of 12 s
    assert (time.labelled, time.empty, time.unlabelled) == pytest.approx((2 + 4, 1 + 4, 10 + 8 + 12))
    write_annotations(imported, tmp_path / "out.json")
    videos = {video.video_id: video.labelled for video in read_annotations(tmp_path / "out.json").videos}
    assert videos == {"a": ((0.0, 2.0),), "b": ((0.0, 4.0),), "c": ()}


def test_videos_that_the_user_knows_to_be_empty_come_in_without_annotations(clips: Path, tmp_path: Path) -> None:
    labels = table(tmp_path, "a,0.5,2,run")
    assert set(bring_in(labels, videos=clips).database) == {"a"}
    imported = bring_in(labels, videos=clips, empty=("*",), split=0.0)
    counts = {name: len(entry["annotations"]) for name, entry in imported.database.items()}
    assert counts == {"a": 1, "b": 0, "c": 0, "d": 0}
    assert not any("labelled" in entry for entry in imported.database.values())
    with pytest.raises(SourceError, match=r"--empty 'none/\*' is the path of no video below .*; there are .*a.mp4"):
        bring_in(labels, videos=clips, empty=("none/*",))
