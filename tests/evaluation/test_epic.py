"""Verbs, nouns and actions of EPIC-KITCHENS: each task's mAP is that of files with its labels alone."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.cli import app
from re2tal.evaluation import EPIC_TASKS, EvaluationError, epic_precision, evaluate_files

TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5)
Row = tuple[str, float, float, int, int]
"""Video, start, end, verb and noun."""
Scored = tuple[str, float, float, int, int, float]


def write_csv(path: Path, rows: list[Row]) -> Path:
    """With the columns of EPIC_100_validation.csv that matter, and some that do not."""

    def stamp(seconds: float) -> str:
        return f"{int(seconds // 3600):02d}:{int(seconds // 60 % 60):02d}:{seconds % 60:05.2f}"

    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            ["video_id", "start_timestamp", "stop_timestamp", "verb", "verb_class", "noun", "noun_class", "all_nouns"]
        )
        for video, start, end, verb, noun in rows:
            table.writerow([video, stamp(start), stamp(end), "wash", verb, "pan", noun, "['pan']"])
    return path


def write_json(path: Path, rows: list[Row]) -> Path:
    database: dict[str, Any] = {}
    for video, start, end, verb, noun in rows:
        row = {"segment": [start, end], "verb_label": f"id_{verb:03d}", "noun_label": f"id_{noun:03d}"}
        database.setdefault(video, {"subset": "validation", "annotations": []})["annotations"].append(row)
    path.write_text(json.dumps({"database": database}))
    return path


def write_submission(path: Path, rows: list[Scored]) -> Path:
    results: dict[str, Any] = {}
    for video, start, end, verb, noun, score in rows:
        row = {"segment": [start, end], "verb": verb, "noun": noun, "action": f"{verb},{noun}", "score": score}
        results.setdefault(video, []).append(row)
    path.write_text(json.dumps({"version": "0.2", "challenge": "action_detection", "results": results}))
    return path


def labelled(rows: list[Row] | list[Scored], task: str) -> list[tuple[Any, ...]]:
    def label(row: Any) -> str:
        return {"verb": f"verb {row[3]}", "noun": f"noun {row[4]}", "action": f"{row[3]} of {row[4]}"}[task]

    return [(row[0], label(row), *row[1:3], *row[5:]) for row in rows]


def random_rows(seed: int) -> tuple[list[Row], list[Scored]]:
    rng = np.random.default_rng(seed)

    def row() -> Row:
        start = float(rng.integers(0, 4000))
        return (
            f"P{rng.integers(3):02d}_01",
            start,
            start + float(rng.integers(1, 40)),
            *map(int, rng.integers(3, size=2)),
        )

    truth = [row() for _ in range(60)]
    near = [(v, s + float(rng.integers(0, 8)), e + 9.0, verb, noun) for v, s, e, verb, noun in truth]
    return truth, [
        (*item, float(score)) for item, score in zip([*near, *truth], rng.permutation(120) / 120, strict=True)
    ]


@pytest.mark.parametrize("write", [write_csv, write_json])
def test_each_task_is_measured_by_its_own_labels(write: Any, tmp_path: Path) -> None:
    truth, found = random_rows(0)
    found = sorted(found, key=lambda row: row[0])
    results = epic_precision(
        write(tmp_path / ("truth.csv" if write is write_csv else "truth.json"), truth),
        write_submission(tmp_path / "found.json", found),
        recall_multiples=(1,),
    )
    assert list(results) == list(EPIC_TASKS)
    for task in EPIC_TASKS:
        plain = tmp_path / "plain_truth.json", tmp_path / "plain_found.json"
        database: dict[str, Any] = {}
        for video, label, start, end in labelled(truth, task):
            entry = database.setdefault(video, {"subset": "validation", "annotations": []})
            entry["annotations"].append({"segment": [start, end], "label": label})
        rows: dict[str, Any] = {}
        for video, label, start, end, score in labelled(found, task):
            rows.setdefault(video, []).append({"segment": [start, end], "label": label, "score": score})
        plain[0].write_text(json.dumps({"database": database}))
        plain[1].write_text(json.dumps({"results": rows}))
        expected = evaluate_files(*plain, subset="validation", tious=TIOUS, recall_multiples=(1,))
        assert results[task].metrics == pytest.approx(expected.metrics)
        assert np.allclose(sorted(results[task].per_class.values()), sorted(expected.per_class.values()))


def test_verb_noun_and_action_counted_by_hand(tmp_path: Path) -> None:
    """Two actions; one prediction has the verb right and the noun wrong, the other all."""
    truth = write_csv(tmp_path / "truth.csv", [("P01_01", 3661.5, 3665.5, 2, 7), ("P01_01", 10, 14, 3, 8)])
    found = write_submission(
        tmp_path / "found.json", [("P01_01", 3661.5, 3665.5, 2, 9, 0.9), ("P01_01", 10, 14, 3, 8, 0.8)]
    )
    results = epic_precision(truth, found)
    assert {task: result.average for task, result in results.items()} == {"verb": 1.0, "noun": 0.5, "action": 0.5}
    assert results["action"].per_class == {"2,7": (0.0,) * 5, "3,8": (1.0,) * 5}


def test_the_command_prints_the_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = random_rows(1)
    call = ["evaluate", "--epic", "--tious", "0.1,0.5", "--ground-truth", str(write_csv(tmp_path / "t.csv", truth))]
    call += ["--predictions", str(write_submission(tmp_path / "f.json", found))]
    app(call, exit_on_error=False, result_action="return_value")
    shown = capsys.readouterr().out
    assert all(f"{task}: mAP (%)" in shown for task in EPIC_TASKS)
    app([*call, "--json", "--per-class"], exit_on_error=False, result_action="return_value")
    line = json.loads(capsys.readouterr().out)
    assert set(line["noun"]["per_class"]) == {"0", "1", "2"} and 0 < line["action"]["average_mAP"] < 1


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"verb": "wash", "noun": 3}, "must have the number of its verb"),
        ({"verb": 3}, "must have the number of its noun"),
        ({"verb": 1, "noun": True}, "must have the number of its noun"),
        ("row", "must be an object"),
    ],
)
def test_odd_predictions_are_refused_by_name(row: Any, told: str, tmp_path: Path) -> None:
    truth = write_csv(tmp_path / "truth.csv", [("P01_01", 0, 4, 2, 7)])
    path = tmp_path / "found.json"
    full = {"segment": [0, 1], "score": 0.5, **row} if isinstance(row, dict) else row
    path.write_text(json.dumps({"results": {"P01_01": [full]}}))
    with pytest.raises(EvaluationError, match=told):
        epic_precision(truth, path)


def test_odd_ground_truth_is_refused_by_row(tmp_path: Path) -> None:
    found = write_submission(tmp_path / "found.json", [])
    path = write_csv(tmp_path / "truth.csv", [("P01_01", 0, 4, 2, 7)])
    path.write_text(path.read_text().replace("00:00:04.00", "four"))
    with pytest.raises(EvaluationError, match="row 2: a time is written hh:mm:ss.ss, got 'four'"):
        epic_precision(path, found)
    path.write_text("video_id,start_timestamp\n")
    with pytest.raises(EvaluationError, match="has no columns stop_timestamp, verb_class, noun_class"):
        epic_precision(path, found)
    with pytest.raises(EvaluationError, match="no ground truth at"):
        epic_precision(tmp_path / "nowhere.csv", found)
