"""Annotations of data sets whose videos are not at hand: lengths come from the files, or from a table."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from re2tal.data import read_annotations

Command = Callable[..., int]
EPIC_HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)


def ego4d(split: str, *, clip: str, annotated: bool = True) -> dict[str, Any]:
    """One video with a clip from second 100 to 160, at 30 frames per second."""
    labels = [
        {"label": "cut", "primary": True, "video_start_time": 110.0, "video_end_time": 115.5, "start_time": 10.0},
        {"label": "cut", "primary": False, "video_start_time": 120.0, "video_end_time": 125.0},
        {"label": "wash", "primary": True, "video_start_time": 158.0, "video_end_time": 170.0},
    ]
    row: dict[str, Any] = {
        "clip_uid": clip,
        "video_start_sec": 100.0,
        "video_end_sec": 160.0,
        "video_start_frame": 3000,
        "video_end_frame": 4800,
    }
    if annotated:
        row["annotations"] = [{"annotator_uid": "a1", "labels": labels}]
    return {"video_uid": f"video of {clip}", "split": split, "clips": [row]}


def write_ego4d(path: Path, *videos: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"version": "1.0", "date": "220429", "description": "x", "videos": videos}))
    return path


def test_ego4d_is_read_by_clips_in_their_own_time(tmp_path: Path, re2tal: Command) -> None:
    train = write_ego4d(tmp_path / "moments_train.json", ego4d("train", clip="c-1"), ego4d("train", clip="c-2"))
    val = write_ego4d(tmp_path / "moments_val.json", ego4d("val", clip="c-3"))
    test = write_ego4d(tmp_path / "moments_test_unannotated.json", ego4d("test", clip="c-4", annotated=False))
    out = tmp_path / "ego4d.json"
    assert re2tal("import", train, val, test, "--out", out) == 0
    database = json.loads(out.read_text())["database"]
    assert {name: entry["subset"] for name, entry in database.items()} == {
        "c-1": "training", "c-2": "training", "c-3": "validation", "c-4": "testing",
    }  # fmt: skip
    entry = database["c-3"]
    assert (entry["duration"], entry["frame"], entry["fps"]) == (60.0, 1800, 30.0)
    assert [(row["segment"], row["label"]) for row in entry["annotations"]] == [
        ([10.0, 15.5], "cut"),
        ([58.0, 60.0], "wash"),
    ]
    assert "videos" not in json.loads(out.read_text()) and database["c-4"]["annotations"] == []
    (video,) = (video for video in read_annotations(out).videos if video.video_id == "c-3")
    assert video.num_frames == 1800


def test_clips_whose_frames_and_seconds_disagree_are_told(
    tmp_path: Path, re2tal: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ego4d("train", clip="odd")
    odd["clips"][0]["video_end_frame"] = 3100
    broken = ego4d("train", clip="broken")
    del broken["clips"][0]["video_end_sec"]
    path = write_ego4d(tmp_path / "moments_train.json", ego4d("train", clip="c-1"), odd, broken)
    problems = tmp_path / "problems.jsonl"
    assert re2tal("import", path, "--out", tmp_path / "out.json", "--list", problems) == 0
    details = [json.loads(line)["detail"] for line in problems.read_text().splitlines()]
    assert any("1.667 frames per second" in detail for detail in details)
    assert any("a clip has a clip_uid" in detail for detail in details)


def test_epic_kitchens_with_its_table_of_lengths(tmp_path: Path, re2tal: Command) -> None:
    for name, video in (("EPIC_100_train", "P01_01"), ("EPIC_100_validation", "P02_01")):
        row = f"{video}_0,P01,{video},00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,['door'],[3]\n"
        (tmp_path / f"{name}.csv").write_text(EPIC_HEADER + row)
    lengths = tmp_path / "EPIC_100_video_info.csv"
    lengths.write_text("video_id,duration,fps,resolution\nP01_01,1652.15,59.94,1920x1080\nP02_01,300,50,1920x1080\n")
    out = tmp_path / "verbs.json"
    sources = [tmp_path / "EPIC_100_train.csv", tmp_path / "EPIC_100_validation.csv"]
    assert re2tal("import", *sources, "--lengths", lengths, "--label", "verb_class", "--out", out) == 0
    database = json.loads(out.read_text())["database"]
    assert database["P01_01"]["duration"] == 1652.15 and database["P01_01"]["fps"] == 59.94
    assert database["P02_01"]["annotations"] == [{"segment": [0.14, 3.37], "label": "3"}]
    assert {entry["subset"] for entry in database.values()} == {"training", "validation"}


def test_charades_tells_its_lengths(tmp_path: Path, re2tal: Command) -> None:
    header = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
    for part in ("train", "test"):
        row = f"{part}1,A,Kitchen,6,7,Yes,x,y,z,c092 11.90 21.20;c147 0.00 12.60,24.83\n"
        (tmp_path / f"Charades_v1_{part}.csv").write_text(header + row)
    out = tmp_path / "out.json"
    assert re2tal("import", tmp_path / "Charades_v1_train.csv", tmp_path / "Charades_v1_test.csv", "--out", out) == 0
    entry = json.loads(out.read_text())["database"]["test1"]
    assert (entry["duration"], entry["subset"], len(entry["annotations"])) == (24.83, "testing", 2)
    assert "fps" not in entry and "frame" not in entry and "resolution" not in entry


def test_multithumos_with_the_lengths_of_other_annotations(tmp_path: Path, re2tal: Command) -> None:
    labels = tmp_path / "annotations"
    labels.mkdir()
    (labels / "Run.txt").write_text("video_validation_0000001 1.0 3.0\nvideo_test_0000004 2 5\n")
    lengths = tmp_path / "thumos_14_anno.json"
    names = ("video_validation_0000001", "video_test_0000004")
    database = {name: {"subset": "x", "duration": 50.0, "frame": 1500, "annotations": []} for name in names}
    lengths.write_text(json.dumps({"database": database}))
    out = tmp_path / "out.json"
    assert re2tal("import", labels, "--lengths", lengths, "--out", out) == 0
    entry = json.loads(out.read_text())["database"]["video_test_0000004"]
    assert (entry["duration"], entry["frame"], entry["annotations"][0]["label"]) == (50.0, 1500, "Run")


def test_hacs_and_fineaction_are_read_as_they_are(tmp_path: Path) -> None:
    """Both are in ActivityNet's layout; HACS has annotations without length, which are left out."""
    rows = [{"segment": [1.0, 3.0], "label": "Surfing"}, {"segment": [4.0, 4.0], "label": "Surfing"}]
    entry = {"subset": "training", "duration": 60.5, "url": "x", "annotations": rows}
    path = tmp_path / "HACS_segments_v1.1.1.json"
    path.write_text(json.dumps({"database": {"1D9CmqdOy28": entry}}))
    (video,) = read_annotations(path).videos
    assert len(video.actions) == 1 and video.duration_seconds == 60.5


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("a,b\n1,2\n", "must have a column of videos"),
        ("video_id,duration\nx,long\n", "no row tells a video and its length"),
        (None, "nothing tells how long the videos are"),
    ],
)
def test_without_lengths_the_fix_is_told(
    table: str | None, told: str, tmp_path: Path, re2tal: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("video,start,end,label\nx,1,2,run\n")
    more = []
    if table is not None:
        (tmp_path / "lengths.csv").write_text(table)
        more = ["--lengths", tmp_path / "lengths.csv"]
    assert re2tal("import", labels, *more, "--out", tmp_path / "out.json") == 2
    assert told in capsys.readouterr().err


def test_frame_numbers_need_a_rate(tmp_path: Path, re2tal: Command, capsys: pytest.CaptureFixture[str]) -> None:
    labels, lengths = tmp_path / "labels.csv", tmp_path / "lengths.csv"
    labels.write_text("video,start_frame,end_frame,label\nx,10,20,run\ny,5,30,sit\n")
    lengths.write_text("video_id,duration\nx,10\ny,10\n")
    call = ["import", labels, "--lengths", lengths, "--out", tmp_path / "out.json"]
    assert re2tal(*call) == 2
    assert "give it with --fps" in capsys.readouterr().err
    assert re2tal(*call, "--fps", "10") == 0
    assert json.loads((tmp_path / "out.json").read_text())["database"]["x"]["annotations"][0]["segment"] == [1, 2]
