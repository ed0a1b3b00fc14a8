"""`re2tal export`: what is told, refused, left out and never replaced."""

import json
from pathlib import Path
from typing import Any

import pytest

from re2tal.inference.suggesting import read_labelled_stretches
from re2tal.labels.exporting import WRITERS
from tests.labels.exporting.support import export, write_annotations, write_detections


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    rows = {"a": [(1.0, 2.0, "run", 0.9), (3.0, 4.0, "run", 0.29)], "../up": [], "b": [(-0.2, 5.0, "jump", 0.1)]}
    return write_detections(tmp_path / "detections.json", rows)


def test_it_says_what_is_written_and_what_is_left_out(
    re2tal: Any, detections: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re2tal("export", detections, "--format", "boris", "--out", tmp_path / "x.boris") == 0
    out = capsys.readouterr().out
    assert "wrote 1 labels of 3 videos; 2 detections with a score below 0.3 are left out (--min-score 0 writes" in out
    assert str(tmp_path / "x.boris") in out
    assert re2tal("export", detections, "--format", "boris", "--out", tmp_path / "y.boris", "--min-score", 0) == 0
    out = capsys.readouterr().out
    assert "wrote 3 labels" in out and "below" not in out and "note: labels that were clipped to their video (1" in out
    assert re2tal("export", detections, "--format", "csv", "--out", tmp_path, "--min-score", 0.95) == 0
    assert "wrote 0 labels" in (out := capsys.readouterr().out) and "the best has 0.900" in out


def test_an_id_that_is_no_file_name_is_skipped(
    re2tal: Any, detections: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re2tal("export", detections, "--format", "srt", "--out", tmp_path / "srt", "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert list(told["skipped"]) == ["../up"] and "leads out" in told["skipped"]["../up"]
    assert (told["num_videos"], told["num_labels"], told["num_below_min_score"]) == (2, 1, 2)
    assert sorted(path.name for path in (tmp_path / "srt").iterdir()) == ["a.srt", "b.srt"]


def test_two_ids_of_one_file_do_not_replace_each_other(tmp_path: Path) -> None:
    source = write_annotations(tmp_path / "labels.json", {"x/a": [(1, 2, "run")], "x//a": [(1, 2, "jump")]})
    report = export(source, "srt", tmp_path / "srt")
    assert report.num_labels == 1 and "is the file of video 'x/a', too" in report.skipped["x//a"]
    assert "run" in (tmp_path / "srt/x/a.srt").read_text()


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_there_is_not_replaced_unless_it_is_the_same(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source = write_annotations(tmp_path / "labels.json", {"a": [(1.0, 2.0, "run")]})
    call = ["export", source, "--format", name, "--out", tmp_path / "out", "--fps", 25]
    assert re2tal(*call) == 0
    first = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in first}
    assert re2tal(*call) == 0  # the same again
    assert {path: path.stat().st_mtime_ns for path in first} == times
    changed = next(iter(first))
    changed.write_text("somebody's work")
    assert "are there already with other content" in (message := re2tal(*call)) and "--overwrite" in message
    assert changed.read_text() == "somebody's work"
    assert re2tal(*call, "--overwrite") == 0 and changed.read_bytes() == first[changed]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "eaf", "--out", "x"], "there is no format 'eaf'; known are boris, elan"),
        (["--format", "elan", "--out", "x.eaf"], "is one file, and the labels make 3"),
        (["--format", "boris", "--out", "x.json"], "a file of the format ends with .boris, got x.json"),
        (["--format", "boris", "--out", "detections.json"], "a file of the format ends with .boris"),
        (["--format", "nothing.py:Writer", "--out", "x"], "there is no file 'nothing.py'"),
        (["--format", "csv", "--out", "x", "--videos", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_a_wrong_call_says_what_to_do(
    re2tal: Any, detections: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(detections.parent)
    before = sorted(detections.parent.iterdir())
    assert message in str(re2tal("export", detections, *arguments))
    assert sorted(detections.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no labels at"),
        ("{", "not a readable JSON file"),
        ("[]", "must hold"),
        ('{"results": {}}', "lists no videos"),
        ('{"results": {"' + "../" * 200 + '": []}}', "no file can be written"),
        ('{"results": {"' + "long" * 200 + '": []}}', "no file can be written"),
    ],
)
def test_a_wrong_source_is_told(re2tal: Any, tmp_path: Path, content: str | None, message: str) -> None:
    source = tmp_path / "source.json"
    if content is not None:
        source.write_text(content)
    answer = str(re2tal("export", source, "--format", "elan", "--out", tmp_path / "out"))
    assert message in answer and len(answer) < 1000 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "high", None])
def test_scores_that_are_none_are_refused_by_every_command_alike(
    score: Any, re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"segment": [1, 2], "label": "run", "score": value} for value in (0.9, score)]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"results": {"a": rows}}))
    for command in (["export", "--format", "csv"], ["import", "--videos", tmp_path], ["summarize"]):
        status = re2tal(command[0], path, *command[1:], "--out", tmp_path / "out")
        told = capsys.readouterr().err if status == 2 else status
        assert told.strip() == f"error: {path}, video 'a': score must be a finite number, got {score!r}"
        assert not (tmp_path / "out").exists()


def test_annotations_without_subsets_are_read_where_none_is_needed(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": {"duration": 9, "annotations": [{"segment": [1, 2], "label": "run"}]}}))
    assert re2tal("export", path, "--format", "csv", "--out", tmp_path / "out") == 0
    assert re2tal("summarize", path, "--out", tmp_path / "figures") == 0
    assert re2tal("agreement", path, path) == 0 and "kappa 1.000" in capsys.readouterr().out
    assert read_labelled_stretches(path) == {"a": None}
    told = re2tal("evaluate", "--ground-truth", path, "--predictions", path)
    assert "give the subsets in a CSV file" in told


def test_scores_that_are_text_count(tmp_path: Path) -> None:
    rows = [{"segment": [1, 2], "label": "run", "score": score} for score in ("0.1", "0.9")]
    (tmp_path / "x.json").write_text(json.dumps({"results": {"a": rows}}))
    assert export(tmp_path / "x.json", "csv", tmp_path / "out").num_labels == 1


def test_entries_that_cannot_be_used_are_told_and_the_others_kept(tmp_path: Path) -> None:
    good = {"segment": [1, 2], "label": "run", "score": 0.5}
    rows = [good, {}, 5, {**good, "label": 3}, {**good, "segment": [2, 1]}, {**good, "segment": [1, None]}]
    rows += [{**good, "segment": [float("inf"), 2]}, {**good, "segment": [1, 1e12]}]
    (tmp_path / "x.json").write_text(json.dumps({"results": {"a": rows, "b": 7}}))
    report = export(tmp_path / "x.json", "csv", tmp_path / "out")
    assert report.num_labels == 1
    assert report.notes.as_json() == {
        "left out: entries without a label": 3,
        "left out: entries that end before they start": 1,
        "left out: entries whose segment is not [start, end] in seconds": 3,
        "videos without a list of labels, which are exported without any": 1,
        "videos whose file is not known, so that they are named by their id; --videos FOLDER finds them": 2,
    }


def test_labels_that_look_alike_without_their_control_characters_stay_apart(tmp_path: Path) -> None:
    labels = ["run", "ru\x00n", "run\x0b", "\ud800", " \t", "run\u2028away"]
    source = write_annotations(tmp_path / "x.json", {"a": [(number, number + 1, label) for number, label in
                                                           enumerate(labels)]})  # fmt: skip
    for name in WRITERS:
        report = export(source, name, tmp_path / name, fps=25.0)
        for path in report.files:
            assert not set("\x00\x0b\u2028") & set(path.read_text(encoding="utf-8"))
    table = (tmp_path / "csv/labels.csv").read_text().splitlines()[1:]
    assert [line.split(",")[3] for line in table] == [
        "run",
        "ru n",
        "run (2)",
        "unlabelled (2)",
        "unlabelled",
        "run away",
    ]
    assert any("characters that files of text cannot hold" in line for line in report.notes.lines())


def test_times_beyond_a_video_are_cut_off(tmp_path: Path, videos: Path) -> None:
    segments = [
        (-2.0, -1.0, "before"),
        (-1.0, 1.0, "in"),
        (11.0, 12.005, "rounded"),
        (11.0, 14.0, "out"),
        (13.0, 14.0, "x"),
    ]
    source = write_annotations(tmp_path / "x.json", {"a": segments})
    report = export(source, "csv", tmp_path / "out", videos=videos)
    rows = [line.split(",")[1:4] for line in (tmp_path / "out/labels.csv").read_text().splitlines()[1:]]
    assert rows == [["0.000", "1.000", "in"], ["11.000", "12.000", "out"], ["11.000", "12.000", "rounded"]]
    assert report.notes.as_json() == {
        "left out: labels that lie outside of their video": 2, "labels that were clipped to their video": 2
    }  # fmt: skip


def test_annotations_of_the_import_lead_to_their_videos(re2tal: Any, tmp_path: Path, videos: Path) -> None:
    write_annotations(tmp_path / "given.json", {"a": [(1, 2, "run")], "day 1/b": [(1, 2, "run")], "ü & c": []})
    labels = tmp_path / "labels/annotations.json"
    assert re2tal("import", tmp_path / "given.json", "--videos", videos, "--out", labels, "--resplit") == 0
    assert re2tal("export", labels, "--format", "boris", "--out", tmp_path / "x.boris") == 0
    observations = json.loads((tmp_path / "x.boris").read_text())["observations"]
    assert {Path(item["file"]["1"][0]).name for item in observations.values()} == {"a.mp4", "b.mp4", "ü & c.mp4"}
    assert all(item["media_info"]["length"] for item in observations.values())


def test_a_name_that_fits_several_files_is_told_and_not_guessed(tmp_path: Path, videos: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.mp4").write_bytes((videos / "a.mp4").read_bytes())
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    source = write_annotations(tmp_path / "x.json", {"m": [(1, 2, "run")], "one/m": [], "broken": []})
    report = export(source, "boris", tmp_path / "x.boris", videos=tmp_path)
    observations = json.loads((tmp_path / "x.boris").read_text())["observations"]
    assert [item["file"]["1"][0] for item in observations.values()] == ["m", "one/m.mp4", "broken.mp4"]
    assert report.notes.as_json()["videos that may be one of several files"] == 1
    assert report.notes.as_json()["videos that cannot be read"] == 1


def test_thousands_of_overlapping_detections_are_written(tmp_path: Path) -> None:
    rows = [(number / 100, number / 100 + 3, f"class {number % 5}", 0.5) for number in range(2000)]
    source = write_detections(tmp_path / "x.json", {"a": rows})
    for name in WRITERS:
        assert export(source, name, tmp_path / name, fps=25.0).num_labels == 2000
