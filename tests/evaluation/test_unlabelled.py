"""Predictions where nobody has looked, and false alarms per hour: cases computed by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.evaluation import (
    GroundTruth,
    Predictions,
    count_false_alarms,
    evaluate_files,
    mean_average_precision,
    read_ground_truth,
    read_predictions,
)
from re2tal.evaluation.diagnosis import diagnose, prediction_errors

TIOUS = (0.5,)


def _files(
    folder: Path, database: dict[str, dict[str, Any]], found: dict[str, list[tuple[float, float, str, float]]]
) -> tuple[Path, Path]:
    """Videos of 100 s, unless they say otherwise; annotations and detections as (start, end, label[, score])."""
    entries = {
        name: {"subset": "validation", "duration": 100.0}
        | {key: value for key, value in entry.items() if key != "actions"}
        | {"annotations": [{"segment": [a, b], "label": label} for a, b, label in entry.get("actions", [])]}
        for name, entry in database.items()
    }
    rows = {
        name: [{"segment": [a, b], "label": label, "score": score} for a, b, label, score in rows]
        for name, rows in found.items()
    }
    truth, predictions = folder / "truth.json", folder / "found.json"
    truth.write_text(json.dumps({"database": entries}))
    predictions.write_text(json.dumps({"results": rows}))
    return truth, predictions


def _read(truth: Path, predictions: Path) -> tuple[GroundTruth, Predictions]:
    return read_ground_truth(truth, subset="validation"), read_predictions(predictions)


FOUND = {
    "v": [
        (10, 20, "run", 0.9),  # right
        (39, 49, "run", 0.8),  # 1 of 10 s labelled: left out
        (35, 45, "run", 0.7),  # 5 of 10 s labelled: counts, and is wrong
        (30, 34, "run", 0.6),  # right
        (60, 90, "run", 0.5),  # left out
    ]
}


def test_predictions_mostly_where_nobody_has_looked_are_neither_true_nor_false(tmp_path: Path) -> None:
    actions = [(10, 20, "run"), (30, 34, "run")]
    partly = _read(*_files(tmp_path, {"v": {"actions": actions, "labelled": [[0, 40]]}}, FOUND))
    result = mean_average_precision(*partly, tious=TIOUS)
    assert (result.num_predictions, result.num_unlabelled) == (3, 2)
    assert result.average == pytest.approx((1 / 1 + 2 / 3) / 2)  # right, wrong, right
    assert result.counts["num_ignored_predictions"] == 2
    assert prediction_errors(*partly, tiou=0.5).tolist() == [0, -1, 5, 0, -1]
    assert diagnose(*partly, tious=TIOUS).result.average == result.average
    whole = _read(*_files(tmp_path, {"v": {"actions": actions}}, FOUND))
    result = mean_average_precision(*whole, tious=TIOUS)
    assert (result.num_predictions, result.num_unlabelled) == (5, 0)
    assert result.average == pytest.approx((1 / 1 + 2 / 4) / 2)  # right, wrong, wrong, right


def test_what_is_annotated_has_been_looked_at(tmp_path: Path) -> None:
    """A list of nothing with an action: only predictions that lie mostly in the action count."""
    files = _files(tmp_path, {"v": {"actions": [(10, 20, "run")], "labelled": []}}, FOUND)
    result = mean_average_precision(*_read(*files), tious=TIOUS)
    assert (result.num_predictions, result.num_unlabelled, result.average) == (1, 4, 1.0)


def test_from_half_an_overlap_on_no_prediction_that_finds_an_action_is_left_out() -> None:
    rng = np.random.default_rng(0)
    action = np.array([[40.0, 50.0]])
    segments = np.sort(rng.uniform(20, 70, (2000, 2)))
    truth = GroundTruth(
        video_ids=("v",), class_names=("run",), video_index=np.zeros(1, np.int64), label_index=np.zeros(1, np.int64),
        segments=action, labelled={"v": ((40.0, 50.0),)},
    )  # fmt: skip
    for segment in segments:
        found = Predictions(
            video_ids=("v",), class_names=("run",), video_index=np.zeros(1, np.int64),
            label_index=np.zeros(1, np.int64), segments=segment[None], scores=np.ones(1),
        )  # fmt: skip
        whole = mean_average_precision(replace(truth, labelled={}), found, tious=TIOUS)
        assert mean_average_precision(truth, found, tious=TIOUS).average == whole.average


def test_a_wrong_field_is_told_with_the_video(tmp_path: Path) -> None:
    truth, predictions = _files(tmp_path, {"v": {"actions": [(1, 2, "run")], "labelled": [[3, 1]]}}, FOUND)
    with pytest.raises(ValueError, match=r"video 'v': \"labelled\" must be a list"):
        evaluate_files(truth, predictions, subset="validation", tious=TIOUS)


# One hour in all: 2,400 s with four actions and 1,200 s without; scores from the best down.
HOUR = {
    "v": {"duration": 2400.0, "actions": [(100, 110, "run"), (200, 210, "sit"), (300, 310, "run"), (400, 410, "run")]},
    "empty": {"duration": 1200.0},
}
ALARMS = {
    "v": [
        (100, 110, "run", 0.9),  # right: 1 of 4
        (100, 110, "run", 0.8),  # again: a false alarm
        (200, 210, "sit", 0.7),  # right: 2 of 4
        (300, 310, "sit", 0.6),  # the wrong class
        (301, 310, "run", 0.5),  # right: 3 of 4
        (400, 404, "run", 0.4),  # overlaps 0.4 only
        (400, 409, "run", 0.2),  # right: 4 of 4
    ],
    "empty": [(5, 6, "run", 0.85), (9, 12, "sit", 0.5), (20, 30, "run", 0.3), (50, 60, "run", 0.1)],
}


@pytest.mark.parametrize(
    ("recall", "score", "num", "num_in_empty"),
    [
        (0.25, 0.9, 0, 0),
        (0.5, 0.7, 2, 1),  # 0.8 and 0.85
        (0.51, 0.5, 4, 2),  # 0.6, and 0.5, which ties
        (0.75, 0.5, 4, 2),
        (0.9, 0.2, 6, 3),  # 0.4 and 0.3
        (1.0, 0.2, 6, 3),
    ],
)
def test_false_alarms_are_counted_down_to_the_score_that_finds_enough(
    tmp_path: Path, recall: float, score: float, num: int, num_in_empty: int
) -> None:
    counted = count_false_alarms(*_read(*_files(tmp_path, HOUR, ALARMS)), recall=recall)
    assert counted is not None
    assert (counted.score, counted.num, counted.num_in_empty) == (score, num, num_in_empty)
    assert counted.hours == 1.0 and counted.hours_empty == pytest.approx(1 / 3)
    assert counted.per_hour == num and counted.per_hour_empty == pytest.approx(3 * num_in_empty)


def test_a_recall_that_is_not_reached_has_no_false_alarms(tmp_path: Path) -> None:
    found = {**ALARMS, "v": ALARMS["v"][:5]}
    counted = count_false_alarms(*_read(*_files(tmp_path, HOUR, found)), recall=0.9)
    assert counted is not None
    assert (counted.reached, counted.score, counted.num, counted.per_hour) == (0.75, None, None, None)
    assert "at most 75.0 % of the actions are found" in counted.in_words()


def test_only_labelled_time_counts_and_only_alarms_in_it(tmp_path: Path) -> None:
    database = {**HOUR, "empty": {"duration": 1200.0, "labelled": [[0.0, 10.0], [40.0, 70.0]]}}
    counted = count_false_alarms(*_read(*_files(tmp_path, database, ALARMS)), recall=1.0)
    assert counted is not None
    assert counted.hours_empty == pytest.approx(40 / 3600) and counted.hours == pytest.approx(2440 / 3600)
    assert counted.num_in_empty == 1  # at 5 s; that from 9 to 12 s lies mostly elsewhere, that at 50 s scores too low


@pytest.mark.parametrize(
    "database",
    [
        {"v": HOUR["v"]},  # no video without actions
        {**HOUR, "empty": {"labelled": []}},  # none that anybody has looked at
        {**HOUR, "empty": {"duration": None}},  # of unknown length
        {**HOUR, "empty": {"actions": [(1, 2, "Ambiguous")]}},  # none that is known to be empty
    ],
)
def test_there_is_no_figure_without_negatives(tmp_path: Path, database: dict[str, Any]) -> None:
    truth, found = _read(*_files(tmp_path, database, ALARMS))
    assert count_false_alarms(truth, found) is None
    assert mean_average_precision(truth, found, tious=TIOUS).false_alarms is None


def test_evaluate_prints_false_alarms_where_there_are_negatives(
    re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = _files(tmp_path, HOUR, ALARMS)
    assert re2tal("evaluate", "--ground-truth", truth, "--predictions", found) == 0
    shown = capsys.readouterr().out
    assert (
        "false alarms per hour at 90 % recall at tIoU 0.5: 6.0; in the 20.0 min of videos without actions 9.0" in shown
    )
    assert re2tal("evaluate", "--ground-truth", truth, "--predictions", found, "--json") == 0
    line = json.loads(capsys.readouterr().out)
    assert line["false_alarms"]["per_hour"] == 6 and line["false_alarms"]["per_hour_empty"] == pytest.approx(9)
    truth, found = _files(tmp_path, {"v": HOUR["v"]}, ALARMS)
    assert re2tal("evaluate", "--ground-truth", truth, "--predictions", found, "--json") == 0
    assert "false_alarms" not in json.loads(capsys.readouterr().out)
