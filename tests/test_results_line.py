"""Every command that writes something says where in its last line, as a shell takes it."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_experiment import make_tiny_experiment


def test_the_last_line_says_where_the_results_are(
    tmp_path: Path, re2tal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = make_tiny_experiment(tmp_path / "a folder's name")
    here = tiny.parent
    run, found, own = here / "exps/gpu1_id0", here / "found", here / "own"
    best, videos = run / "checkpoint/best.pth", here / "videos"
    (here / "labels.csv").write_text("video,start,end,label\n" + "".join(f"video{n},1,2,a\n" for n in range(6)))
    options = ["--cfg-options", "training.epochs=1", "training.warmup_epochs=0"]
    weights = here / "weights.safetensors"
    calls: list[tuple[list[object], list[Path]]] = [
        (["train", tiny, *options], [best, run]),
        (["test", tiny], [run / "detections.json", run / "metrics.json"]),
        (["test", tiny, "--not-eval"], [run / "detections.json"]),
        (["predict", videos, "--checkpoint", best, "--out", found], [found / "report.html", found / "videos"]),
        (["extract", videos, "--checkpoint", best, "--out", here / "features"], [here / "features"]),
        (["report", run], [run / "report.html"]),
        (["report", found / "detections.json", "--out", here / "page.html"], [here / "page.html"]),
        (["import", here / "labels.csv", "--videos", videos, "--out", here / "a.json"], [here / "a.json"]),
        (["init", own, "--annotations", here / "a.json"], [own / "config.py"]),
        (["check-data", tiny, "--list", here / "list", "--missing", here / "ids"], [here / "list", here / "ids"]),
        (["import-weights", best, weights, "--config", tiny], [weights]),
    ]
    for call, paths in calls:
        assert re2tal(*call) == 0, call
        told = shlex.split(capsys.readouterr().out.splitlines()[-1])
        assert told[0] == "Results:" and {*map(str, paths)} <= {*told}, call
        assert all(Path(path).exists() for path in told[1:])
    assert re2tal("check-data", tiny) == 0
    assert "Results:" not in capsys.readouterr().out  # nothing was written
