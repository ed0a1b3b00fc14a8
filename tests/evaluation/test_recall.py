"""Recall@kx and AR@AN: cases counted by hand, and plain loops written from the published definitions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cyclopts import CycloptsError

from re2tal.cli import app
from re2tal.config import load_config
from re2tal.evaluation import MapResult, evaluate_files

Rows = list[tuple[str, str, float, float]]
"""(video, class, start, end)"""
Scored = list[tuple[str, str, float, float, float]]
"""And a score."""
Measure = Callable[..., MapResult]


def plain_iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    overlap = max(min(a[1], b[1]) - max(a[0], b[0]), 0.0)
    return overlap / ((a[1] - a[0]) + (b[1] - b[0]) - overlap)


def best_first(found: Scored) -> Scored:
    """Of equal scores the last one of the file goes first."""
    return [row for _, row in sorted(enumerate(found), key=lambda item: (item[1][4], item[0]), reverse=True)]


def plain_recall(truth: Rows, found: Scored, *, tiou: float, multiple: int) -> tuple[dict[str, float], float]:
    """Of each class and of all actions, one video after the other."""
    recalled: dict[str, list[bool]] = {name: [] for _, name, *_ in truth}
    for video, name in sorted({row[:2] for row in truth}):
        actions = [row[2:] for row in truth if row[:2] == (video, name)]
        kept = [row for row in best_first(found) if row[:2] == (video, name)][: multiple * len(actions)]
        recalled[name] += [any(plain_iou(row[2:4], action) >= tiou for row in kept) for action in actions]
    every = [hit for hits in recalled.values() for hit in hits]
    return {name: sum(hits) / len(hits) for name, hits in recalled.items()}, sum(every) / len(every)


def plain_average_recall(truth: Rows, found: Scored, *, tious: list[float], largest: int) -> list[float]:
    """At averages of 1 to `largest` predictions a video: first everything is cut to `largest`, then to each average."""
    videos = sorted({row[0] for row in truth})
    ratio = largest * len(videos) / len(found)
    kept: dict[str, Scored] = {}
    for video in videos:
        own = [row for row in best_first(found) if row[0] == video]
        kept[video] = own[: min(int(len(own) * ratio), len(own))]
    total = sum(map(len, kept.values()))
    curve = []
    for number in range(1, largest + 1):
        part = number / largest * (largest * len(videos) / total)
        hits = [
            any(plain_iou(row[2:4], action[2:]) >= tiou for row in kept[action[0]][: int(len(kept[action[0]]) * part)])
            for tiou in tious
            for action in truth
        ]
        curve.append(sum(hits) / len(hits))
    return curve


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """The figures of rows, by way of files."""

    def act(truth: Rows, found: Scored, **options: Any) -> MapResult:
        paths = files_of(tmp_path, truth, found)
        return evaluate_files(*paths, subset="validation", count_other_videos=True, **options)

    return act


def files_of(folder: Path, truth: Rows, found: Scored) -> tuple[Path, Path]:
    database: dict[str, Any] = {}
    for video, name, start, end in truth:
        entry = database.setdefault(video, {"subset": "validation", "duration": 100, "annotations": []})
        entry["annotations"].append({"segment": [start, end], "label": name})
    results: dict[str, Any] = {}
    for video, name, start, end, score in found:
        results.setdefault(video, []).append({"segment": [start, end], "label": name, "score": score})
    paths = folder / "truth.json", folder / "found.json"
    for path, content in zip(paths, ({"database": database}, {"results": results}), strict=True):
        path.write_text(json.dumps(content))
    return paths


def test_recall_of_the_best_few_counted_by_hand(measure: Measure) -> None:
    truth = [("a", "run", 0, 10), ("a", "run", 20, 30), ("b", "run", 0, 10), ("b", "sit", 50, 60), ("c", "sit", 0, 4)]
    found = [
        ("a", "run", 40, 50, 0.9),  # nothing, but one of the two that count at 1x
        ("a", "run", 0, 10, 0.8),
        ("a", "run", 20, 30, 0.7),  # the third: counts at 2x
        ("a", "run", 20, 30, 0.6),  # again, which changes nothing
        ("b", "run", 0, 10, 0.5),
        ("b", "sit", 50, 54, 0.4),  # overlaps by 0.4
        ("b", "jump", 0, 10, 0.9),  # no video shows this class
        ("d", "run", 0, 10, 0.9),  # a video that is not annotated
    ]
    result = measure(truth, found, tious=[0.3, 0.5], recall_multiples=[1, 2])
    assert result.recall is not None
    assert {name: table.tolist() for name, table in result.recall.per_class.items()} == {
        "run": [[2 / 3, 2 / 3], [1, 1]],
        "sit": [[0.5, 0], [0.5, 0]],  # video c has no prediction
    }
    assert result.metrics["recall@1x@0.5"] == pytest.approx((2 / 3 + 0) / 2)
    assert result.metrics["recall@2x@0.3"] == pytest.approx(0.75)
    assert result.metrics["recall_of_all@1x@0.5"] == pytest.approx(2 / 5)
    assert result.metrics["recall_of_all@2x@0.3"] == pytest.approx(4 / 5)


def test_one_prediction_recalls_all_actions_that_it_overlaps_enough(measure: Measure) -> None:
    result = measure(
        [("a", "run", 0, 10), ("a", "run", 2, 12)], [("a", "run", 1, 11, 0.5)], tious=[0.5], recall_multiples=[1]
    )
    assert result.metrics["recall@1x@0.5"] == 1.0


def test_of_equal_scores_the_last_one_of_the_file_is_the_best(measure: Measure) -> None:
    right, wrong = ("a", "run", 0.0, 10.0, 0.5), ("a", "run", 50.0, 60.0, 0.5)
    for rows, expected in (([right, wrong], 0.0), ([wrong, right], 1.0)):
        result = measure([("a", "run", 0, 10)], rows, tious=[0.5], recall_multiples=[1], average_recall_at=[1, 2])
        assert result.metrics["recall@1x@0.5"] == expected
        assert (result.metrics["AR@1"], result.metrics["AR@2"]) == (expected, 1.0)


def test_average_recall_counted_by_hand(measure: Measure) -> None:
    """6 predictions of 2 videos, of which at an average of 2 the video with four of them may have 2 and the other 1."""
    truth = [("a", "run", 0, 10), ("a", "sit", 20, 30), ("b", "run", 0, 10)]
    found = [
        ("a", "sit", 0, 10, 0.9),  # of another class than the action, which does not matter
        ("a", "run", 20, 30, 0.8),
        ("a", "run", 40, 50, 0.7),
        ("a", "run", 60, 70, 0.6),
        ("b", "run", 50, 60, 0.5),
        ("b", "run", 0, 10, 0.4),
    ]
    result = measure(truth, found, tious=[0.5], average_recall_at=[2])
    # Kept: int(4 * 4/6) = 2 and int(2 * 4/6) = 1; at an average of 1, int(2 * 2/3) = 1 and int(1 * 2/3) = 0 of them.
    assert result.metrics["AR@2"] == pytest.approx(2 / 3)
    assert result.metrics["AR_AUC"] == pytest.approx((1 / 3 + 2 / 3) / 2 / 2)


@pytest.mark.parametrize("seed", range(8))
def test_both_equal_plain_loops(seed: int, measure: Measure) -> None:
    rng = np.random.default_rng(seed)

    def row() -> tuple[str, str, float, float]:
        start = float(rng.integers(0, 30))
        return f"v{rng.integers(5)}", f"c{rng.integers(3)}", start, start + float(rng.integers(1, 12))

    truth = list(dict.fromkeys(row() for _ in range(30)))
    found = [(*row(), float(rng.integers(20)) / 20) for _ in range(120 + 40 * seed)]  # with many ties
    by_video = [item for video in dict.fromkeys(item[0] for item in found) for item in found if item[0] == video]
    tious = [0.1, 0.5, 0.7]
    result = measure(truth, by_video, tious=tious, recall_multiples=[1, 3], average_recall_at=[1, 10, 20])
    assert result.recall is not None
    for row_number, multiple in enumerate((1, 3)):
        for column, tiou in enumerate(tious):
            of_class, of_all = plain_recall(truth, by_video, tiou=tiou, multiple=multiple)
            assert {name: table[row_number, column] for name, table in result.recall.per_class.items()} == of_class
            assert result.metrics[f"recall_of_all@{multiple}x@{tiou:g}"] == pytest.approx(of_all)
    curve = plain_average_recall(truth, by_video, tious=tious, largest=20)
    for budget in (1, 10, 20):
        assert result.metrics[f"AR@{budget}"] == pytest.approx(curve[budget - 1])
    trapezoids = [(a + b) / 2 for a, b in zip(curve, curve[1:], strict=False)]
    assert result.metrics["AR_AUC"] == pytest.approx(sum(trapezoids) / 20)


def test_without_predictions_nothing_is_recalled(measure: Measure) -> None:
    result = measure([("a", "run", 0, 10)], [], tious=[0.5], recall_multiples=[1], average_recall_at=[1, 5])
    assert {name: value for name, value in result.metrics.items() if "mAP" not in name} == {
        "recall@1x@0.5": 0.0,
        "recall_of_all@1x@0.5": 0.0,
        "AR@1": 0.0,
        "AR@5": 0.0,
        "AR_AUC": 0.0,
    }


def test_the_command_prints_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = files_of(tmp_path, [("a", "run", 0, 10), ("a", "sit", 0, 10)], [("a", "run", 0, 10, 0.5)])
    call = ["evaluate", "--ground-truth", str(truth), "--predictions", str(found), "--tious", "0.5", "--per-class"]
    call += ["--recall", "1", "5", "--average-recall", "1", "10"]
    app(call, exit_on_error=False, result_action="return_value")
    shown = capsys.readouterr().out
    assert "Recall@5x (%)" in shown and "Average recall of any class (%)" in shown
    table = shown[shown.index("Recall@1x") : shown.index("Recall@5x")]
    assert [line.split()[-1] for line in table.splitlines()[2:6]] == ["100.00", "0.00", "50.00", "50.00"]
    app([*call, "--json"], exit_on_error=False, result_action="return_value")
    line = json.loads(capsys.readouterr().out)
    assert (line["recall@1x@0.5"], line["AR@10"]) == (0.5, 1.0)
    assert line["per_class_recall"] == {"1x": {"run": [1.0], "sit": [0.0]}, "5x": {"run": [1.0], "sit": [0.0]}}


@pytest.mark.parametrize("option", [["--recall", "0"], ["--average-recall", "-1"], ["--points", "--recall", "1"]])
def test_what_makes_no_sense_is_refused(option: list[str], tmp_path: Path) -> None:
    truth, found = files_of(tmp_path, [("a", "run", 0, 10)], [("a", "run", 0, 10, 0.5)])
    with pytest.raises((ValueError, CycloptsError)) as caught:
        call = ["evaluate", "--ground-truth", str(truth), "--predictions", str(found), *option]
        app(call, exit_on_error=False, print_error=False, result_action="return_value")
    assert "--recall" in str(caught.value) or "average-recall" in str(caught.value)


def test_a_run_computes_them_where_its_config_says_so() -> None:
    config = load_config(
        Path(__file__).parents[2] / "configs/demo/re2slowfast.py",
        ["evaluation.recall_multiples=(1,5)", "evaluation.average_recall_at=(1,100)"],
    )
    assert (config.evaluation.recall_multiples, config.evaluation.average_recall_at) == ((1, 5), (1, 100))


def test_points_have_no_recall_at_tiou() -> None:
    with pytest.raises(ValueError, match="are of segments at tIoU"):
        load_config(
            Path(__file__).parents[2] / "configs/demo/re2slowfast.py",
            ["evaluation.recall_multiples=(1,)", "postprocess.point_seconds=1"],
        )
