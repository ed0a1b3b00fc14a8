"""`re2tal report`, as a user types it."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.report.report_data import read_page, write_found, write_three
from tests.tiny_experiment import make_tiny_experiment
from tests.training.test_tensorboard import events_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config whose run has been trained and tested."""
    from re2tal.config import load_config
    from re2tal.experiments import experiment
    from re2tal.training import Processes

    has_board = importlib.util.find_spec("tensorboard") is not None
    config = make_tiny_experiment(tmp_path_factory.mktemp("tiny"))
    settings = load_config(config, [f"training.tensorboard={has_board}"])
    folder = experiment.find_run(settings, processes=Processes())
    deterministic = torch.backends.cudnn.deterministic
    experiment.train(settings, processes=Processes(), folder=folder)
    experiment.test(settings, processes=Processes(), folder=folder)
    torch.backends.cudnn.deterministic = deterministic
    return folder.path


def test_a_run_becomes_a_page_that_knows_its_videos(
    re2tal: Any, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    assert re2tal("report", run, "--out", out, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics.pop("per_class")
    assert {name: told[name] for name in metrics} == metrics
    assert (told["num_videos"], told["num_video_files"], told["out"]) == (2, 2, str(out))
    page = read_page(out)
    assert set(page.payload["charts"]) >= {"loss", "map", "rate", "norm", "error"}
    link = page.payload["videos"][0]["file"]
    assert (tmp_path / link).resolve() == run.parents[1] / "videos/video4.mp4"


def test_tensorboard_shows_timelines_of_every_evaluation(run: Path) -> None:
    events = events_of(run / "tensorboard")
    assert events.Tags()["images"] == ["timeline/video4", "timeline/video5"]
    assert [event.step for event in events.Images("timeline/video4")] == [2, 4]  # two epochs of two steps


def test_the_figures_are_those_that_evaluate_prints(
    re2tal: Any, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = run.parents[1] / "annotations.json", run / "detections.json"
    assert re2tal("evaluate", "--ground-truth", truth, "--predictions", found, "--json") == 0
    expected = json.loads(capsys.readouterr().out)
    assert re2tal("report", found, "--ground-truth", truth, "--out", tmp_path / "p.html", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in told if "mAP" in name} == {
        name: expected[name] for name in told if "mAP" in name
    }
    assert "average_mAP" in told


def test_an_experiments_folder_stands_for_its_only_run(
    re2tal: Any, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re2tal("report", run.parent) == 0
    assert f"open {run / 'report.html'} (2 videos, 2 with their file" in capsys.readouterr().out
    other = run.parent / "gpu2_id0"
    other.mkdir()
    (other / "metrics.jsonl").write_text("")
    assert "holds 2 runs; choose one" in re2tal("report", run.parent)
    (other / "metrics.jsonl").unlink()
    other.rmdir()


def test_a_run_of_an_earlier_version_tells_its_config_in_the_checkpoint(re2tal: Any, run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    (old / "checkpoint").mkdir(parents=True)
    for name in ("metrics.jsonl", "detections.json", "checkpoint/best.pth"):
        (old / name).write_bytes((run / name).read_bytes())
    assert re2tal("report", old) == 0
    assert read_page(old / "report.html").by_id("quality") is not None


def test_a_run_that_is_not_tested_yet_has_its_curves(re2tal: Any, tmp_path: Path) -> None:
    record = {"kind": "step", "epoch": 0, "step": 1, "loss": 2.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    assert re2tal("report", tmp_path) == 0
    page = read_page(tmp_path / "report.html")
    assert page.by_id("training") and not page.by_id("videos")
    assert "`re2tal test` writes it" in " ".join(page.text)


def test_ground_truth_that_has_moved_is_told_and_can_be_given(
    re2tal: Any, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "run"
    moved.mkdir()
    (moved / "detections.json").write_bytes((run / "detections.json").read_bytes())
    config = (run / "config.json").read_text().replace("annotations.json", "gone.json")
    (moved / "config.json").write_text(config)
    assert re2tal("report", moved) == 0
    assert "note: There is no ground truth at" in capsys.readouterr().out
    assert re2tal("report", moved, "--ground-truth", run.parents[1] / "annotations.json") == 0
    assert read_page(moved / "report.html").by_id("quality") is not None


def test_detections_alone_are_shown_beside_their_file(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = write_three(tmp_path)
    assert re2tal("report", found) == 0
    assert f"open {tmp_path / 'report.html'} (3 videos, 0 with their file" in capsys.readouterr().out


def test_videos_can_be_embedded(re2tal: Any, run: Path, tmp_path: Path) -> None:
    options = ["--videos", run.parents[1] / "videos", "--embed", "--out", tmp_path / "p.html"]
    assert re2tal("report", run / "detections.json", *options) == 0
    page = read_page(tmp_path / "p.html")
    assert sum(attributes.get("type") == "text/plain" for attributes, _ in page.scripts) == 2


def test_wrong_input_is_answered_in_one_message(re2tal: Any, tmp_path: Path) -> None:
    truth, found = write_three(tmp_path)
    assert "give the folder of a run or a file of detections" in re2tal("report", tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    assert "is no folder of a run" in re2tal("report", tmp_path / "empty")
    assert "--ground-truth" in re2tal("report", found, "--subset", "test")
    assert "is in subset 'test'; it has 'validation'" in re2tal(
        "report", found, "--ground-truth", truth, "--subset", "test"
    )
    assert "no ground truth at" in re2tal("report", found, "--ground-truth", tmp_path / "gone.json")
    assert "no folder of videos" in re2tal("report", found, "--videos", tmp_path / "gone")
    assert "numbers in (0, 1]" in re2tal("report", found, "--ground-truth", truth, "--tious", "2")
    (tmp_path / "broken.json").write_text("{")
    assert "not a readable JSON file" in re2tal("report", tmp_path / "broken.json")
    found = write_found(tmp_path, {"first": [(3.0, 1.0, "run", 0.5)]})
    assert "start must not pass the end" in re2tal("report", found)


def test_a_config_of_another_version_is_as_good_as_none(re2tal: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "detections.json").write_bytes((run / "detections.json").read_bytes())
    (tmp_path / "config.json").write_text('{"name": "x", "unknown": 1}')
    assert re2tal("report", tmp_path) == 0
    assert "config is not known" in " ".join(read_page(tmp_path / "report.html").text)


def test_a_class_agnostic_run_is_measured_as_one_class(
    re2tal: Any, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((run / "config.json").read_text())
    config["data"]["class_agnostic"] = True
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_found(tmp_path, {"video4": [(0.5, 2.0, "action", 0.9), (3.0, 5.5, "action", 0.8)]})
    assert re2tal("report", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["mAP@0.7"] == pytest.approx(0.5)  # all of one video, none of the other
