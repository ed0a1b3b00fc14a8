"""`re2tal summarize`, as a user types it, and its files as programs read them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.common.csv_files import write_csv
from re2tal.video import write_video
from tests.evaluation.behaviour import write

VIDEOS = {"a": [(10, 20, "run"), (30, 35, "groom"), (40, 45, "run"), (50, 50, "peck")], "b": [(0, 50, "run")]}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_is_tidy_and_right(re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert re2tal("summarize", write(tmp_path / "a.json", VIDEOS), "--out", out, "--bin", 50) == 0
    shown = capsys.readouterr().out
    assert "2 videos, 200.0 s observed" in shown and "summary.html" in shown
    of_run = next(row for row in table(out / "by_class.csv") if row["label"] == "run")
    assert (of_run["bouts"], of_run["total_seconds"], of_run["share_of_time"]) == ("3", "65", "0.325")
    assert (of_run["latency_seconds"], of_run["median_seconds"], of_run["videos"]) == ("5", "10", "2")
    by_video = table(out / "by_video.csv")
    assert len(by_video) == 2 * 3
    absent = next(row for row in by_video if (row["video"], row["label"]) == ("b", "groom"))
    assert (absent["bouts"], absent["mean_seconds"], absent["latency_seconds"]) == ("0", "", "")
    assert [(row["video"], row["label"], row["seconds"]) for row in table(out / "bouts.csv")] == [
        ("a", "run", "10"),
        ("a", "groom", "5"),
        ("a", "run", "5"),
        ("a", "peck", "0"),
        ("b", "run", "50"),
    ]
    assert [row["seconds"] for row in table(out / "intervals.csv")] == ["20"]
    budget = table(out / "budget.csv")
    assert len(budget) == 2 * 2 * 4  # videos, bins, classes and what is left
    for bin_start in ("0", "50"):
        of_bin = [row for row in budget if (row["video"], row["bin_start_seconds"]) == ("a", bin_start)]
        assert sum(float(row["seconds"]) for row in of_bin) == 50.0
    follows = {(row["from"], row["to"]): (row["count"], row["probability"]) for row in table(out / "transitions.csv")}
    assert len(follows) == 9 and follows["run", "groom"] == ("1", "0.5") and follows["peck", "run"] == ("0", "")
    assert [tuple(row.values()) for row in table(out / "transitions_by_video.csv")] == [
        ("a", "groom", "run", "1", "1"),
        ("a", "run", "groom", "1", "0.5"),
        ("a", "run", "peck", "1", "0.5"),
    ]


def test_thousands_of_classes_make_no_millions_of_pairs(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.json", {"m": [(n / 20, n / 20 + 0.04, f"remark {n}") for n in range(1500)]})
    out = tmp_path / "out"
    assert re2tal("summarize", path, "--out", out) == 0
    assert re2tal("agreement", path, path, "--out", out) == 0
    told = capsys.readouterr().out
    assert "and 1200 more, see the files" in told and "Confusion matrix of 1501 categories" in told
    assert len(told.splitlines()) < 700
    assert len(table(out / "transitions.csv")) == len(table(out / "transitions_by_video.csv")) == 1499
    assert len(table(out / "confusion.csv")) <= 1501
    assert "1400 classes with fewer are left out" in (out / "summary.html").read_text()
    assert sum(file.stat().st_size for file in out.iterdir()) < 3e6


def test_json_is_one_line(re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.json", VIDEOS)
    assert re2tal("summarize", path, "--out", tmp_path / "out", "--json", "--min-bout", 6, "--merge-gap", 30) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    run = next(item for item in told["classes"] if item["label"] == "run")
    assert (run["num_bouts"], run["longest_seconds"], told["num_videos"]) == (2, 50.0, 2)
    assert "groom" not in {item["label"] for item in told["classes"]}  # of 5 s
    assert all((tmp_path / "out" / name).is_file() for name in told["files"])


def test_videos_tell_the_lengths_that_detections_do_not(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "videos/m 1.mp4", np.zeros((200, 16, 16, 3), np.uint8), fps=10)
    found = tmp_path / "detections.json"
    rows = [{"segment": [0, 5], "label": "run", "score": 0.6}]
    found.write_text(json.dumps({"results": {"m 1": rows, "other": rows}}))
    options = ("--out", tmp_path / "out", "--videos", tmp_path / "videos", "--threshold", 0.5, "--json")
    assert re2tal("summarize", found, *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["classes"][0]["observed_seconds"] == 25.0
    assert "'other'" in told["notes"][0] and "'m 1'" not in told["notes"][0]


def test_wrong_calls_are_told(re2tal: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", VIDEOS)
    out = ("--out", tmp_path / "out")
    assert "--threshold takes a score" in re2tal("summarize", path, *out, "--threshold", "run=high")
    assert "--threshold takes a score" in re2tal("summarize", path, *out, "--threshold", "0.3", "0.4")
    assert "no annotations at" in re2tal("summarize", tmp_path / "b.json", *out)
    assert "leave the choice out" in re2tal("summarize", detections(tmp_path), *out, "--annotator", "anna")
    (tmp_path / "c.json").write_text('{"database": {}}')
    assert "holds no video" in re2tal("summarize", tmp_path / "c.json", *out)
    (tmp_path / "d.json").write_text('{"a": 3}')
    assert "must hold" in re2tal("summarize", tmp_path / "d.json", *out)
    assert not (tmp_path / "out").exists()


def detections(folder: Path) -> Path:
    path = folder / "found.json"
    path.write_text('{"results": {"a": []}}')
    return path


def test_a_file_without_any_bout_is_summarized(re2tal: Any, tmp_path: Path) -> None:
    assert re2tal("summarize", write(tmp_path / "a.json", {"a": []}), "--out", tmp_path / "out") == 0
    assert re2tal("summarize", detections(tmp_path), "--out", tmp_path / "out") == 0
    assert table(tmp_path / "out/by_class.csv") == []


def test_csv_files_begin_with_a_byte_order_mark_if_a_spreadsheet_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, ("video", "n"), [("=1+1", 2), ("a,b\n", None), ("c", 1 / 3), ("d", float("nan")), ("e", 2.0)])
    assert path.read_bytes() == b'video,n\n\'=1+1,2\n"a,b ",\nc,0.333333\nd,\ne,2\n'
    write_csv(path, ("video",), [("Küken",)])
    assert path.read_bytes() == b"\xef\xbb\xbfvideo\nK\xc3\xbcken\n"
