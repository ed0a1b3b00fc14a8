"""`re2tal diagnose`, as a user types it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from re2tal.evaluation.diagnosis import ERROR_TYPES, diagnose, table
from tests.diagnosis.plain import Row, predictions_of, truth_of


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    """Options that name a ground truth and predictions for it."""
    actions = [{"segment": [1.0, 3.0], "label": "run"}, {"segment": [6.0, 9.0], "label": "[jump]"}]
    truth = {"database": {"a": {"subset": "validation", "duration": 10.0, "annotations": actions}}}
    found = [
        {"segment": [1.0, 3.0], "score": 0.9, "label": "run"},
        {"segment": [6.0, 9.0], "score": 0.8, "label": "run"},
        {"segment": [7.0, 8.5], "score": 0.7, "label": "[jump]"},
    ]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps({"results": {"a": found}}))
    return ["--ground-truth", tmp_path / "truth.json", "--predictions", tmp_path / "found.json"]


def test_json_is_one_line_and_nothing_else(
    re2tal: Any, files: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert re2tal("diagnose", *files, "--tious", "0.4,0.6", "--bins", "anet", "--json") == 0
    shown = capsys.readouterr()
    (line,) = shown.out.splitlines()
    result = json.loads(line, parse_constant=pytest.fail)  # no NaN, no Infinity
    assert shown.err == ""
    assert (result["subset"], result["num_actions"], result["num_predictions"]) == ("validation", 2, 3)
    profile = result["false_positives"]
    assert tuple(profile["counts"]) == ERROR_TYPES
    assert profile["counts"]["wrong_label"]["0.4"] == [0, 1] + [0] * 8
    assert profile["counts"]["localization"] == {"0.4": [0] * 10, "0.6": [1] + [0] * 9}
    assert profile["share"]["true_positive"] == pytest.approx(1.5 / 3)
    assert set(profile["gain"]) == set(ERROR_TYPES) - {"true_positive"}
    assert set(result["characteristics"]) == {"coverage", "length", "num_instances"}
    assert result["characteristics"]["length"]["bins"][-1]["high"] is None


def test_the_map_is_that_of_evaluate(re2tal: Any, files: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert re2tal("diagnose", *files, "--json") == 0
    diagnosed = json.loads(capsys.readouterr().out)
    assert re2tal("evaluate", *files, "--json") == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated.items() <= diagnosed.items()


def test_tables_in_a_pipe(re2tal: Any, files: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert re2tal("diagnose", *files, "--tious", "0.4,0.6", "--bins", "anet") == 0
    shown = capsys.readouterr().out.splitlines()
    assert "mAP              100.00  50.00  75.00" in shown
    assert "wrong label        0  100   0   0   0   0   0   0   0    0  33.3" in shown
    assert any(line.startswith("coverage S ") and line.split()[1:4] == ["S", "<=", "0.4"] for line in shown)
    assert max(map(len, shown)) <= 120


def test_tables_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = truth_of([Row("a", 0, 10, "run")], durations={"a": 40.0})
    diagnosis = diagnose(truth, predictions_of([Row("a", 0, 10, "run", 0.9)]), tious=(0.5,))
    console = Console(force_terminal=True, width=80, markup=False, record=True)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    table.print_diagnosis(diagnosis)
    shown = console.export_text()
    assert "double detection" in shown and "false negatives" in shown and "10G" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tious", "0.5,2"], "--tious must be numbers in (0, 1]"),
        (["--subset", "testing"], "no video of"),
    ],
)
def test_wrong_input_is_answered_in_one_message(
    re2tal: Any, files: list[object], options: list[str], message: str
) -> None:
    status = re2tal("diagnose", *files, *options)
    assert status.startswith("error: ") and message in status


def test_the_documented_code_runs(
    files: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs/diagnosis.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "truth.json").rename(tmp_path / "annotations.json")
    (tmp_path / "found.json").rename(tmp_path / "detections.json")
    monkeypatch.chdir(tmp_path)
    values: dict[str, Any] = {}
    exec(compile(code, "diagnosis.md", "exec"), values)
    assert capsys.readouterr().out == "(0.0, 0.0, 0.0)\n"
    assert [ERROR_TYPES[code] for code in values["codes"]] == ["true_positive", "wrong_label", "true_positive"]


def test_no_predictions_at_all_are_a_diagnosis_too(re2tal: Any, files: list[object], tmp_path: Path) -> None:
    (tmp_path / "found.json").write_text('{"results": {}}')
    assert re2tal("diagnose", *files) == 0
    assert re2tal("diagnose", *files, "--bins", "quantiles") == 0


def test_real_predictions(re2tal: Any, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sit = data / "predictions/sit"
    files = ["--ground-truth", sit / "Sit_label.json", "--predictions", sit / "eval_results.npz"]
    assert re2tal("diagnose", *files, "--tious", "0.5,0.75,0.95", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [result[f"mAP@{tiou}"] for tiou in (0.5, 0.75, 0.95)] == pytest.approx([0.9955, 0.9082, 0.0], abs=5e-5)
    profile = result["false_positives"]
    assert profile["group_sizes"] == [56] * 10
    for tiou in ("0.5", "0.75", "0.95"):
        assert np.sum([counts[tiou] for counts in profile["counts"].values()], axis=0).tolist() == [56] * 10
    # One class: nothing can be taken for another.
    assert profile["share"]["wrong_label"] == profile["share"]["confusion"] == 0
