"""Point events from labels to the metric."""

import json
from pathlib import Path
from typing import Any

import pytest

from re2tal.config import load_config
from tests.labels.conftest import make_videos
from tests.labels.support import bring_in, reasons, segments_of

TIMES = (1.0, 2.5, 4.0)


def write_table(folder: Path, rows: list[str]) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(["video,start,end,label", *rows]) + "\n")
    return path


def test_points_stay_points(clips: Path, tmp_path: Path) -> None:
    labels = write_table(tmp_path, ["a,3,,peck", "a,0,0,peck", "a,12.004,,peck", "a,12.5,,peck", "a,4,5,walk"])
    imported = bring_in(labels, videos=clips, point_seconds=0.0)
    assert segments_of(imported) == {
        "a": [(0.0, 0.0, "peck"), (3.0, 3.0, "peck"), (4.0, 5.0, "walk"), (12.0, 12.0, "peck")]
    }
    assert reasons(imported) == {"outside the video": 1}
    assert segments_of(bring_in(labels, videos=clips)) == {"a": [(4.0, 5.0, "walk")]}


def test_import_refuses_to_keep_and_to_widen(
    re2tal: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_table(tmp_path, ["a,3,,peck"])
    assert re2tal("import", labels, "--videos", clips, "--points", "--point-length", 1) == 2
    assert "leave one out" in capsys.readouterr().err


def test_points_are_trained_on_found_and_measured(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    videos = make_videos(tmp_path / "videos", {f"{name}.mp4": 6.0 for name in "abc"})
    labels = write_table(tmp_path, [f"{name},{time},,peck" for name in "abc" for time in TIMES])
    assert re2tal("import", labels, "--videos", videos, "--points", "--split", 0.34) == 0
    assert re2tal("init", "mine", "--size", "small", "--point-length", 0.5) == 0
    config = load_config(tmp_path / "mine/config.py")
    assert (config.data.point_seconds, config.postprocess.point_seconds) == (0.5, 0.5)
    reduced = ["training.epochs=1", "training.warmup_epochs=0", "training.batch_size=1", "training.eval_from=0"]
    assert re2tal("train", "mine/config.py", "--cfg-options", *reduced) == 0
    capsys.readouterr()
    assert re2tal("test", "mine/config.py") == 0
    tested = capsys.readouterr().out
    assert "tolerance     1s     2s     3s     4s     5s   mean" in tested
    run = tmp_path / "mine/exps/gpu1_id0"
    detections = json.loads((run / "detections.json").read_text())["results"]
    rows = [row for rows in detections.values() for row in rows]
    assert rows and all(row["segment"][0] == row["segment"][1] for row in rows)
    files = ("--ground-truth", "annotations.json", "--predictions", run / "detections.json")
    assert re2tal("evaluate", *files, "--points") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:3]] == [
        line.split() for line in tested.splitlines() if line.startswith(("tolerance", "mAP "))
    ]
    assert re2tal("report", run) == 0
    assert "re2tal evaluate --points" in (run / "report.html").read_text()


def test_init_tells_points_from_segments(
    re2tal: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside segments, points are left out, or trained on as segments if that is asked for."""
    rows = [f"{name},{time},,peck" for name in "abcd" for time in (1, 3)]
    rows += [f"{name},{time},{time + 2},walk" for name in "abcd" for time in (4, 8)]
    out = tmp_path / "annotations.json"
    assert re2tal("import", write_table(tmp_path, rows), "--videos", clips, "--points", "--out", out) == 0
    expected = {(): (None, None), ("--point-length", 2): (2.0, None)}
    for place, (options, settings) in enumerate(expected.items()):
        folder = tmp_path / str(place)
        assert re2tal("init", folder, "--annotations", out, "--size", "small", *options) == 0
        config = load_config(folder / "config.py")
        assert (config.data.point_seconds, config.postprocess.point_seconds) == settings
        assert ("8 point events are left out" in capsys.readouterr().out) == (not options)
