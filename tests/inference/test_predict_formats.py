"""`predict --format`: what other programs read, beside the detections."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.inference.test_predict import _must_not_be_called


def test_other_formats_are_written_beside_the_detections_and_never_replaced(
    re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tiny.parent / "videos"
    predict = ["predict", videos, "--checkpoint", checkpoint, "--out", tmp_path, "--min-score", 0.012]
    predict += ["--format", "boris", "elan"]
    assert re2tal(*predict, "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["exported"]["boris"]["num_labels"] == told["exported"]["elan"]["num_labels"] == told["num_detections"]
    project = tmp_path / "boris/labels.boris"
    observations = json.loads(project.read_text())["observations"]
    assert len(observations) == len(list((tmp_path / "elan").glob("*.eaf"))) == 6
    for name, observation in observations.items():
        (media,) = observation["file"]["1"]
        assert (project.parent / media).resolve() == (videos / f"{name}.mp4").resolve()
        assert observation["media_info"]["length"][media] > 0
    assert sum(len(item["events"]) for item in observations.values()) == 2 * told["num_detections"]

    project.write_text("corrected by hand")
    monkeypatch.setattr("re2tal.inference.prediction.detect_in_video", _must_not_be_called)
    assert re2tal(*predict) == 0
    out = capsys.readouterr().out
    assert "boris: nothing was written: 1 files are there already with other content" in out
    assert "elan: wrote" in out and project.read_text() == "corrected by hand"


def test_an_unknown_format_is_told_before_anything_is_computed(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["--checkpoint", checkpoint, "--out", tmp_path / "out", "--format", "boriss"]
    assert "there is no format 'boriss'" in re2tal("predict", tmp_path, *arguments)
    assert not (tmp_path / "out").exists()
