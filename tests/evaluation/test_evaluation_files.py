"""Files of ground truth and predictions: what is read and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.evaluation import (
    EvaluationConfig,
    EvaluationError,
    evaluate_files,
    print_result,
    read_blocked,
    read_ground_truth,
    read_predictions,
)


def _write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _row(start: Any, end: Any, label: Any = "run", **more: Any) -> dict[str, Any]:
    return {"segment": [start, end], "label": label} | more


DATABASE = {
    "a": {"subset": "validation", "annotations": [_row(0, 10), _row(5, 8, "jump")]},
    "b": {"subset": "validation", "annotations": [_row(1, 2)]},
    "c": {"subset": "training", "annotations": [_row(1, 2)]},
}
RESULTS = {"a": [_row(0, 10, score=0.9), _row(5, 8, "jump", score=0.8)], "b": [_row(1, 2, score=0.7)]}


@pytest.fixture
def truth_file(tmp_path: Path) -> Path:
    return _write(tmp_path / "truth.json", {"database": DATABASE})


@pytest.fixture
def predictions_file(tmp_path: Path) -> Path:
    return _write(tmp_path / "predictions.json", {"results": RESULTS})


def test_two_files_become_a_metric(truth_file: Path, predictions_file: Path) -> None:
    result = evaluate_files(truth_file, predictions_file, subset="validation", tious=(0.3, 0.55))
    assert result.metrics == {"average_mAP": 1.0, "mAP@0.3": 1.0, "mAP@0.55": 1.0}
    assert (result.num_videos, result.num_actions, result.num_predictions) == (2, 3, 3)


def test_lengths_of_videos_are_read_and_odd_ones_are_unknown(tmp_path: Path) -> None:
    lengths = {"a": 12.5, "b": None, "c": -3, "d": "12", "e": 10**400}
    database = {name: DATABASE["b"] | {"duration": length} for name, length in lengths.items()}
    path = _write(tmp_path / "truth.json", {"database": database | {"f": DATABASE["b"]}})
    durations = read_ground_truth(path, subset="validation").durations
    np.testing.assert_array_equal(durations, [12.5, *[np.nan] * 5])


def test_a_class_with_empty_annotations_alone_is_no_class(tmp_path: Path, predictions_file: Path) -> None:
    empty = {"d": {"subset": "validation", "annotations": [_row(3, 3, "empty"), _row(4, 5, "stand")]}}
    path = _write(tmp_path / "truth.json", {"database": empty | DATABASE})
    truth = read_ground_truth(path, subset="validation")
    assert truth.class_names == ("stand", "run", "jump") and truth.label_index.tolist() == [0, 1, 2, 1]
    result = evaluate_files(path, predictions_file, subset="validation", tious=(0.5,))
    assert result.per_class == {"stand": (0.0,), "run": (1.0,), "jump": (1.0,)}


def test_several_names_of_a_subset_are_evaluated_together(truth_file: Path) -> None:
    assert read_ground_truth(truth_file, subset=("validation", "training")).video_ids == ("a", "b", "c")


def test_blocked_videos_are_left_out(truth_file: Path, predictions_file: Path, tmp_path: Path) -> None:
    blocked = _write(tmp_path / "blocked.json", ["b"])
    for source in (blocked, str(blocked), ("b",)):
        result = evaluate_files(truth_file, predictions_file, subset="validation", tious=(0.5,), blocked=source)
        assert (result.num_videos, result.num_other_videos) == (1, 1)
    assert read_blocked(None) == frozenset()
    with pytest.raises(EvaluationError, match="JSON list of video ids"):
        read_blocked(_write(blocked, "3"))


def test_empty_and_repeated_annotations_count_once_unless_asked_for(tmp_path: Path) -> None:
    rows = [_row(0, 10), _row(0.0005, 10), _row(3, 3), _row(5, 4), _row(0, 10, "jump"), _row(1, 2, "Ambiguous")]
    path = _write(tmp_path / "truth.json", {"database": {"a": {"subset": "validation", "annotations": rows}}})
    cleaned = read_ground_truth(path, subset="validation")
    assert cleaned.segments.tolist() == [[0, 10], [0, 10]]
    assert len(cleaned.problems) == 3
    assert "annotated twice" in cleaned.problems[0] and "does not end after it starts" in cleaned.problems[1]
    assert len(read_ground_truth(path, subset="validation", as_annotated=True).segments) == 5


def test_class_agnostic_ground_truth_counts_an_action_under_two_labels_once(tmp_path: Path) -> None:
    rows = [_row(0, 10, "dive"), _row(0, 10, "cliff dive"), _row(5, 8, "dive"), _row(1, 2, "Ambiguous")]
    path = _write(tmp_path / "truth.json", {"database": {"a": {"subset": "validation", "annotations": rows}}})
    assert len(read_ground_truth(path, subset="validation").segments) == 3
    truth = read_ground_truth(path, subset="validation", one_class="action")
    assert truth.class_names == ("action",) and truth.segments.tolist() == [[0, 10], [5, 8]]


def test_a_ground_truth_without_a_database_may_tell_the_subsets_itself(tmp_path: Path) -> None:
    path = _write(tmp_path / "flat.json", DATABASE)
    whole = _write(tmp_path / "whole.json", {"database": DATABASE})
    flat, expected = (read_ground_truth(file, subset="validation") for file in (path, whole))
    assert flat.video_ids == expected.video_ids and np.array_equal(flat.segments, expected.segments)


def test_a_ground_truth_without_subsets_takes_them_from_a_table(tmp_path: Path) -> None:
    flat = {f"v_{name}": {"annotations": entry["annotations"]} for name, entry in DATABASE.items()}
    path = _write(tmp_path / "flat.json", flat)
    table = _write(tmp_path / "subsets.csv", "video,seconds,subset\nv_a,1,validation\nv_b,1,training\nv_c,1,training\n")
    assert read_ground_truth(path, subset="validation", subset_file=table).video_ids == ("a",)
    with pytest.raises(EvaluationError, match="without a database, give the subsets in a CSV file"):
        read_ground_truth(path, subset="validation")
    with pytest.raises(EvaluationError, match="no subset file at"):
        read_ground_truth(path, subset="validation", subset_file=tmp_path / "absent.csv")
    with pytest.raises(EvaluationError, match="columns video and subset"):
        read_ground_truth(path, subset="validation", subset_file=_write(table, "id,part\na,b\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable JSON file"),
        ([], "must hold .*database.*got \\[\\]"),
        ({"database": {"a": {}}}, "video 'a': must have a \"subset\""),
        ({"database": {"a": {"subset": "training"}}}, "in subset 'validation'; it has 'training'"),
        ({"database": {"a": {"subset": "validation"}}}, "video 'a': must have a list \"annotations\""),
        (
            {"database": {"a": {"subset": "validation", "annotations": [[1]]}}},
            "video 'a': an entry must have \"label\"",
        ),
        (
            {"database": {"a": {"subset": "validation", "annotations": [{"label": "run"}]}}},
            "video 'a': an entry must have \"segment\"",
        ),
        (
            {"database": {"a": {"subset": "validation", "annotations": [_row(1, 2), _row(1, None)]}}},
            "video 'a': segment must be two finite numbers .*got \\[1, None\\]",
        ),
        (
            {"database": {"a": {"subset": "validation", "annotations": [_row(1, 2, 3)]}}},
            "label must be a class name \\(text\\), got 3",
        ),
    ],
)
def test_a_ground_truth_of_another_layout_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        read_ground_truth(_write(tmp_path / "truth.json", content), subset="validation")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not a readable JSON file"),
        ({"a": []}, "must hold .*results.*keys \\['a'\\]"),
        ({"results": {"a": {}}}, "video 'a': must be a list"),
        ({"results": {"a": [_row(1, 2)]}}, "video 'a': an entry must have \"score\""),
        ({"results": {"a": [_row(1, 2, score="high")]}}, "video 'a': score must be a finite number, got 'high'"),
        (
            '{"results": {"a": [{"segment": [1, 2], "label": "x", "score": NaN}]}}',
            "score must be a finite number, got nan",
        ),
        ({"results": {"a": [{"segment": [1], "label": "x", "score": 1}]}}, "segment must be two finite numbers"),
        (
            {"results": {"a": [_row(1, 2, score=1)], "b": [_row(2, 1, score=1)]}},
            "video 'b': start must not pass the end, got segment \\[2.0, 1.0\\]",
        ),
    ],
)
def test_predictions_of_another_layout_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        read_predictions(_write(tmp_path / "predictions.json", content))


def test_missing_files_are_named(tmp_path: Path, truth_file: Path) -> None:
    with pytest.raises(EvaluationError, match="no ground truth at .*absent.json"):
        read_ground_truth(tmp_path / "absent.json", subset="validation")
    for name in ("absent.json", "absent.npz"):
        with pytest.raises(EvaluationError, match=f"no predictions at .*{name}"):
            read_predictions(tmp_path / name)


def test_predictions_of_other_ids_or_labels_are_refused(truth_file: Path, tmp_path: Path) -> None:
    path = _write(tmp_path / "predictions.json", {"results": {"v_a": [_row(0, 10, score=1)]}})
    with pytest.raises(EvaluationError, match="ids like 'v_a', the ground truth like 'a'"):
        evaluate_files(truth_file, path, subset="validation", tious=(0.5,))
    _write(path, {"results": {"a": [_row(0, 10, "0", score=1)]}})
    with pytest.raises(EvaluationError, match="labels like '0', the ground truth like 'run'"):
        evaluate_files(truth_file, path, subset="validation", tious=(0.5,))


def test_no_predictions_are_a_result_not_an_error(truth_file: Path, tmp_path: Path) -> None:
    path = _write(tmp_path / "predictions.json", {"results": {"a": []}})
    assert evaluate_files(truth_file, path, subset="validation", tious=(0.5,)).average == 0.0


def test_predictions_in_columns_are_the_same(predictions_file: Path, truth_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    columns = {
        "video_id": np.array(["a", "a", "b"]),
        "t_start": np.array([0.0, 5.0, 1.0]),
        "t_end": np.array([10.0, 8.0, 2.0]),
        "label": np.array(["run", "jump", "run"]),
        "score": np.array([0.9, 0.8, 0.7]),
    }
    np.savez(path, **columns)
    from_columns = evaluate_files(truth_file, path, subset="validation", tious=(0.5,))
    assert from_columns == evaluate_files(truth_file, predictions_file, subset="validation", tious=(0.5,))
    np.savez(path, **columns | {"score": np.array([0.9, np.nan, 0.7])})
    with pytest.raises(EvaluationError, match="video 'a': score and segment must be finite.*nan"):
        read_predictions(path)
    np.savez(path, **columns | {"score": np.zeros(2)})
    with pytest.raises(EvaluationError, match="1-D and of one length"):
        read_predictions(path)
    np.savez(path, video_id=columns["video_id"])
    with pytest.raises(EvaluationError, match="must hold the arrays video_id, t_start"):
        read_predictions(path)
    path.write_bytes(b"no archive")
    with pytest.raises(EvaluationError, match="not a readable NPZ file"):
        read_predictions(path)


def test_the_table_shows_percentages_and_what_was_left_out(
    truth_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = RESULTS | {"c": [_row(1, 2, score=1.0)], "b": [_row(30, 40, score=0.95)]}
    path = _write(tmp_path / "predictions.json", {"results": results})
    result = evaluate_files(truth_file, path, subset="validation", tious=(0.3, 0.5))
    # "run": a false prediction first, then one of two actions: 1/2 * 1/2.
    print_result(result, title="mAP (%)", per_class=True)
    assert capsys.readouterr().out.splitlines() == [
        "mAP (%)",
        "tIoU     0.3     0.5    mean",
        "jump  100.00  100.00  100.00",
        "run    25.00   25.00   25.00",
        "mAP    62.50   62.50   62.50",
        "3 predictions, 3 actions, 2 videos; 1 predictions for other videos left out",
    ]


@pytest.mark.parametrize("tious", [(), (0.0,), (1.2,), (0.5, 0.5)])
def test_thresholds_must_be_different_fractions(tious: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="tious must be different numbers in"):
        EvaluationConfig(tious=tious)
