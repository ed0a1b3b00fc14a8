"""The commands, as a user types them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_experiment import make_tiny_experiment

ROOT = Path(__file__).parents[1]


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def submission(tmp_path: Path) -> tuple[Path, Path]:
    """Ground truth of three videos and predictions: one right, one wrong, one for another subset."""

    def video(subset: str) -> dict[str, Any]:
        return {"subset": subset, "duration": 10.0, "annotations": [{"segment": [1.0, 3.0], "label": "run"}]}

    def found(start: float, end: float) -> list[dict[str, Any]]:
        return [{"segment": [start, end], "score": 0.5, "label": "run"}]

    truth = {"database": {"a": video("validation"), "b": video("validation"), "c": video("training")}}
    results = {"results": {"a": found(1.0, 3.0), "b": found(6.0, 8.0), "c": found(1.0, 3.0)}}
    return write_json(tmp_path / "truth.json", truth), write_json(tmp_path / "found.json", results)


def test_help_needs_no_torch() -> None:
    code = "import sys, re2tal.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_names_every_command(re2tal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert re2tal("--help") == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("demo", "train", "test", "evaluate"))


@pytest.mark.parametrize("tool", ["train", "test"])
def test_tools_take_the_options_of_the_published_commands(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / f"tools/{tool}.py", "--help"], capture_output=True, text=True, check=True
    )
    options = {"--seed", "--id", "--not_eval", "--cfg-options"}
    options |= {"--resume", "--disable_deterministic"} if tool == "train" else {"--checkpoint"}
    assert all(option in done.stdout for option in options)


def test_evaluate_prints_one_line_of_json_and_nothing_else(
    re2tal: Any, submission: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = submission
    status = re2tal(
        "evaluate", "--ground-truth", truth, "--predictions", found, "--subset", "validation",
        "--tious", "0.3,0.5", "--json",
    )  # fmt: skip
    assert status == 0
    shown = capsys.readouterr()
    (line,) = shown.out.splitlines()
    result = json.loads(line)
    # Two actions, two predictions of one score: the right one first or second.
    assert result["average_mAP"] == result["mAP@0.3"] == result["mAP@0.5"]
    assert 0 < result["average_mAP"] <= 0.5
    assert (result["num_videos"], result["num_predictions"], result["num_ignored_predictions"]) == (2, 2, 1)


def test_evaluate_prints_a_table(
    re2tal: Any, submission: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = submission
    assert re2tal("evaluate", "--ground-truth", truth, "--predictions", found, "--per-class") == 0
    shown = capsys.readouterr().out
    assert "0.7" in shown and "mean" in shown and "run" in shown


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--tious",
            "0.3;0.5",
            "--tious must be numbers in (0, 1] separated by commas, such as 0.3,0.5,0.7, got '0.3;0.5'",
        ),
        ("--tious", "0.3,1.5", "got '0.3,1.5'"),
        ("--subset", "testing", "testing"),
        ("--predictions", "gone.json", "gone.json"),
    ],
)
def test_wrong_input_is_answered_in_one_message(
    re2tal: Any, submission: tuple[Path, Path], option: str, value: str, message: str
) -> None:
    truth, found = submission
    arguments = {"--ground-truth": truth, "--predictions": found} | {option: value}
    status = re2tal("evaluate", *[part for pair in arguments.items() for part in pair])
    assert status.startswith("error: ") and message in status


def test_real_predictions_give_their_known_figures(re2tal: Any, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sit = data / "predictions/sit"
    status = re2tal(
        "evaluate", "--ground-truth", sit / "Sit_label.json", "--predictions", sit / "eval_results.npz",
        "--tious", "0.5,0.75,0.95", "--json",
    )  # fmt: skip
    assert status == 0
    result = json.loads(capsys.readouterr().out)
    assert [result[f"mAP@{tiou}"] for tiou in (0.5, 0.75, 0.95)] == pytest.approx([0.9955, 0.9082, 0.0], abs=5e-5)


def test_train_then_test(re2tal: Any, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert re2tal("train", tiny, "--id", 5, "--seed", 3, "--cfg-options", "training.epochs=1", "name=renamed") == 0
    folder = tiny.parent / "exps/gpu1_id5"
    config = json.loads(torch.load(folder / "checkpoint/best.pth", weights_only=True)["config"])
    assert (config["name"], config["training"]["epochs"], config["training"]["seed"]) == ("renamed", 1, 3)
    assert re2tal("test", tiny, "--id", 5) == 0
    assert "mean" in capsys.readouterr().out
    assert json.loads((folder / "metrics.json").read_text())["average_mAP"] >= 0


def test_without_evaluation_there_are_checkpoints_and_detections_only(re2tal: Any, tiny: Path) -> None:
    assert re2tal("train", tiny, "--id", 6, "--not_eval", "--disable_deterministic") == 0
    folder = tiny.parent / "exps/gpu1_id6"
    assert not (folder / "checkpoint/best.pth").exists()
    checkpoint = folder / "checkpoint/epoch_1.pth"
    assert re2tal("test", tiny, "--id", 6, "--checkpoint", checkpoint, "--not_eval") == 0
    assert (folder / "detections.json").exists() and not (folder / "metrics.json").exists()
    assert re2tal("train", tiny, "--id", 6, "--not_eval", "--resume", folder / "checkpoint/epoch_0.pth") == 0


def test_resuming_automatically_begins_or_goes_on(re2tal: Any, tiny: Path) -> None:
    arguments = ("train", tiny, "--id", 8, "--not_eval", "--resume", "auto", "--cfg-options")
    assert re2tal(*arguments, "training.epochs=1") == 0
    log = tiny.parent / "exps/gpu1_id8/log.txt"
    assert "the run begins" in log.read_text()
    assert re2tal(*arguments, "training.epochs=2") == 0
    assert "epoch_0.pth, next is epoch 1 of 2" in log.read_text()


def test_a_wrong_option_is_answered_in_one_message(re2tal: Any, tiny: Path) -> None:
    assert re2tal("train", tiny, "--cfg-options", "training.epoch=1").startswith(
        "error: there is no setting 'training.epoch'; did you mean 'training.epochs'"
    )
    assert re2tal("train", tiny.parent / "gone.py").startswith("error: there is no config file")


def test_an_error_of_the_program_keeps_its_traceback(re2tal: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("re2tal.experiments.experiment.train", lambda *_, **__: int("no number"))
    with pytest.raises(ValueError, match="invalid literal"):
        re2tal("train", tiny)


def test_check_data_tells_what_is_wrong_and_whether_a_run_would_stop(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_tiny_experiment(tmp_path)
    assert re2tal("check-data", config) == 0
    shown = capsys.readouterr()
    assert "nothing that stops a run" in shown.out
    assert "6 of 6 videos" in shown.err and "videos/s" in shown.err and "left" in shown.err
    (tmp_path / "videos/video1.mp4").write_bytes(b"no video")
    (tmp_path / "videos/video5.mp4").unlink()
    lists = {"--list": tmp_path / "findings.jsonl", "--missing": tmp_path / "missing_files.txt"}
    arguments = [part for pair in lists.items() for part in pair]
    assert re2tal("check-data", config, "--decode", "all", "--jobs", 1, *arguments) == 1
    shown = capsys.readouterr()
    assert "file absent" in shown.out and "unreadable" in shown.out and "a run would stop" in shown.out
    assert len(lists["--list"].read_text().splitlines()) == 2
    assert lists["--missing"].read_text() == "video1\nvideo5\n"
    assert re2tal("check-data", config, "--cfg-options", f"data.missing={lists['--missing']}") == 0


def test_check_data_prints_one_line_of_json_and_nothing_else(
    re2tal: Any, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re2tal("check-data", tiny, "--json", "--decode", "none") == 0
    (line,) = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert (result["stops_a_run"], result["num_errors"], result["decode"]) == (False, 0, "none")
    assert result["subsets"]["training"]["to_check"] == 4


def test_check_data_ends_with_2_if_it_cannot_begin(re2tal: Any, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert re2tal("check-data", tiny.parent / "gone.py") == 2
    assert "error: there is no config file" in capsys.readouterr().err
    assert re2tal("check-data", tiny, "--cfg-options", "data.video=x") == 2
    assert re2tal("check-data", tiny, "--decode", "some") == 2
    assert re2tal("check-data", tiny, "--jobs", "0") == 2


def test_the_log_says_where_a_run_stopped(re2tal: Any, tiny: Path) -> None:
    status = re2tal("train", tiny, "--id", 9, "--cfg-options", "training.batch_size=8")
    assert status.startswith("error: the training set has 4 clips, fewer than one batch of 8")
    assert "Traceback" in (tiny.parent / "exps/gpu1_id9/log.txt").read_text()


def test_torchrun_shares_training_and_testing(tiny: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc_per_node=2"]
    launch += ["--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0"]
    subprocess.run([*launch, ROOT / "tools/train.py", tiny, "--seed", "3"], check=True, cwd=tiny.parent)
    folder = tiny.parent / "exps/gpu2_id0"
    assert (folder / "checkpoint/best.pth").exists()
    done = subprocess.run(
        [*launch, ROOT / "tools/test.py", tiny], check=True, cwd=tiny.parent, capture_output=True, text=True
    )
    assert done.stdout.count("tIoU") == 1
    assert list(json.loads((folder / "detections.json").read_text())["results"]) == ["video4", "video5"]


def test_an_interrupted_command_says_so(re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.py"
    config.write_text("raise KeyboardInterrupt")
    assert re2tal("show", config) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_of_tied_scores_the_last_of_the_file_counts_first_and_help_says_so(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"segment": [start, start + 2], "score": 0.5, "label": "run"} for start in (1.0, 6.0)]
    video = {"subset": "validation", "annotations": [{"segment": [1.0, 3.0], "label": "run"}]}
    truth = write_json(tmp_path / "truth.json", {"database": {"a": video}})
    means = []
    for name, listed in (("right_first", rows), ("right_last", rows[::-1])):
        found = write_json(tmp_path / f"{name}.json", {"results": {"a": listed}})
        assert re2tal("evaluate", "--ground-truth", truth, "--predictions", found, "--json") == 0
        means.append(json.loads(capsys.readouterr().out)["average_mAP"])
    assert means == [0.5, 1.0]
    assert re2tal("evaluate", "--help") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "tied scores, the one that stands last in the file counts first" in told


def test_the_demo_runs_from_nothing_to_a_table(re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    options = ["training.epochs=1", "training.warmup_epochs=0", "training.batch_size=2", "training.eval_from=0"]
    assert re2tal("demo", "--out", out, "--seed", 1, "--num-train", 2, "--num-test", 1, "--cfg-options", *options) == 0
    assert "mean" in capsys.readouterr().out
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics) == {"average_mAP", "mAP@0.3", "mAP@0.4", "mAP@0.5", "mAP@0.6", "mAP@0.7", "per_class"}
    for name in ("detections.json", "checkpoint/best.pth", "log.txt", "metrics.jsonl", "report.html"):
        assert (out / name).exists()
    assert f"open {out / 'report.html'}" in (out / "log.txt").read_text()
