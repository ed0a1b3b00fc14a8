"""The programs that measure post-processing, the metric, and the testing of a whole set."""

import json
from pathlib import Path
from typing import Any

import detector_outputs
import metric
import numpy as np
import postprocessing
import pytest
import test_set


def _json_of(program: Any, *arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr("sys.argv", [Path(program.__file__).name, *arguments, "--json"])
    # Programs set the number of torch's threads, which is the tests' matter here.
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    program.main()
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def test_what_a_detector_says_is_clustered_around_the_actions_with_a_long_tail() -> None:
    rng = np.random.default_rng(0)
    video = detector_outputs.random_video(150.0, num_classes=20, rng=rng)
    windows = list(detector_outputs.windows_of(video, num_classes=20, rng=rng))
    assert [grid.start_seconds for _, grid in windows] == pytest.approx([0, 34.1, 68.3, 81.7], abs=0.1)
    scores = np.concatenate([proposals.scores.numpy().ravel() for proposals, _ in windows])
    assert len(windows[0][0].segments) == 1008
    assert 2000 < (scores > 0.001).sum() / len(windows) < 20_000
    assert np.median(scores) < 0.01 < 0.5 < scores.max()
    found = 0
    for proposals, grid in windows:
        best = proposals.scores.max(1).values.argsort(descending=True)[:5]
        for start, end in grid.to_seconds(proposals.segments[best]).tolist():
            overlap = (video.segments[:, 1].clip(max=end) - video.segments[:, 0].clip(min=start)).clip(min=0)
            union = np.maximum(video.segments[:, 1], end) - np.minimum(video.segments[:, 0], start)
            found += (overlap / union).max() > 0.5
    assert found >= 15


def test_postprocessing_is_measured_against_one_pick_after_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _json_of(postprocessing, "--cases", "1", "2", "9", "--repeats", "1", monkeypatch=monkeypatch, capsys=capsys)
    assert [row["candidates"] for row in rows] == [2000, 2000, 2000]
    assert rows[1]["kept"] == 100
    assert all(row["difference"] < 1e-6 and row["ms"] > 0 and row["sequential_ms"] > 0 for row in rows)


def test_the_metric_is_measured_in_fresh_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("--predictions", "6000", "--videos", "200", "--classes", "10")
    rows = _json_of(metric, *sizes, monkeypatch=monkeypatch, capsys=capsys)
    assert [row["part"] for row in rows] == ["tables", "npz", "json", "plain"]
    assert rows[0]["predictions"] == 6000 and rows[0]["average_mAP"] == rows[1]["average_mAP"] == rows[2]["average_mAP"]
    assert rows[3]["difference"] < 1e-9 and 0 < rows[3]["predictions"] < 200
    assert all(0 < row["libraries_mib"] <= row["peak_mib"] and row["rate"] > 0 for row in rows)


def test_a_test_set_is_measured_through_the_code_of_testing(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data / "annotations/thumos14/thumos14.json"
    if not path.is_file():
        pytest.skip(f"no file {path}")
    arguments = ("--annotations", str(path), "--videos", "3")
    row = _json_of(test_set, *arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert row["videos"] == 3 and row["windows"] >= 3 and row["candidates"] == 2000 * row["windows"]
    assert 0 < row["detections"] <= 6000 and row["all_s"] > 0 and row["average_mAP"] > 0


def test_a_missing_annotation_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["test_set.py", "--annotations", "nowhere.json"])
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    with pytest.raises(SystemExit, match=r"no file nowhere.json; give --annotations"):
        test_set.main()
