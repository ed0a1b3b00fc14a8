"""Mean average precision against a plain loop over predictions."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from re2tal.common.types import Detections
from re2tal.evaluation import (
    EvaluationError,
    GroundTruth,
    Predictions,
    Ranked,
    match_actions,
    mean_average_precision,
    rank_predictions,
)

Row = tuple[str, float, float, str]


def _truth(rows: list[Row], *, videos: tuple[str, ...] = (), blocked: tuple[str, ...] = ()) -> GroundTruth:
    names = videos or tuple(dict.fromkeys(row[0] for row in rows))
    classes = tuple(dict.fromkeys(row[3] for row in rows))
    return GroundTruth(
        video_ids=names,
        class_names=classes,
        video_index=np.array([names.index(row[0]) for row in rows], np.int64),
        label_index=np.array([classes.index(row[3]) for row in rows], np.int64),
        segments=np.array([row[1:3] for row in rows], float).reshape(-1, 2),
        blocked=frozenset(blocked),
    )


def _predictions(rows: list[Row], scores: list[float]) -> Predictions:
    truth = _truth(rows)
    return Predictions(
        video_ids=truth.video_ids,
        class_names=truth.class_names,
        video_index=truth.video_index,
        label_index=truth.label_index,
        segments=truth.segments,
        scores=np.array(scores, float),
    )


def _plain_iou(a: Row, b: Row) -> float:
    overlap = min(a[2], b[2]) - max(a[1], b[1])
    return max(overlap, 0.0) / (a[2] - a[1] + b[2] - b[1] - max(overlap, 0.0))


def _plain_ap(truth: list[Row], found: list[Row], scores: list[float], *, tiou: float) -> float:
    """Average precision of one class, one prediction after the other."""
    free = dict(enumerate(truth))
    hits = []
    for number in sorted(range(len(found)), key=lambda number: -scores[number]):
        candidates = {key: _plain_iou(found[number], row) for key, row in free.items() if row[0] == found[number][0]}
        best = max(candidates, key=lambda key: candidates[key], default=None)
        hits.append(best is not None and candidates[best] >= tiou)
        if hits[-1]:
            del free[best]
    precision = [sum(hits[: count + 1]) / (count + 1) for count in range(len(hits))]
    return sum(max(precision[count:]) for count, hit in enumerate(hits) if hit) / len(truth)


def _random_rows(rng: np.random.Generator, count: int, *, videos: int, classes: int) -> list[Row]:
    rows = []
    for _ in range(count):
        start = rng.uniform(0, 30)
        rows.append((f"v{rng.integers(videos)}", start, start + rng.uniform(1, 10), f"c{rng.integers(classes)}"))
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_map_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = _random_rows(rng, 40, videos=4, classes=3)
    found = _random_rows(rng, 200, videos=4, classes=3)
    scores = rng.permutation(200) / 200
    tious = [0.1, 0.3, 0.5, 0.7]
    result = mean_average_precision(_truth(truth), _predictions(found, scores.tolist()), tious=tious)
    for name, values in result.per_class.items():
        of_class = [number for number in range(200) if found[number][3] == name]
        expected = [
            _plain_ap(
                [row for row in truth if row[3] == name],
                [found[number] for number in of_class],
                [scores[number] for number in of_class],
                tiou=tiou,
            )
            for tiou in tious
        ]
        assert values == pytest.approx(expected, abs=1e-12)
    table = np.array(list(result.per_class.values()))
    assert result.per_tiou == pytest.approx(table.mean(0))
    assert result.average == pytest.approx(table.mean())


def _plain_matches(truth: GroundTruth, ranked: Ranked, *, tiou: float) -> list[int]:
    """One prediction after the other; each takes the free action of its video and class that it overlaps most."""
    free = set(range(len(truth.segments)))
    found = []
    for video, label, (start, end) in zip(
        ranked.video.tolist(), ranked.label.tolist(), ranked.segments.tolist(), strict=True
    ):
        best, highest = -1, tiou
        for action in sorted(free):
            if (truth.video_index[action], truth.label_index[action]) != (video, label):
                continue
            other_start, other_end = truth.segments[action].tolist()
            overlap = max(min(end, other_end) - max(start, other_start), 0.0)
            union = (end - start) + (other_end - other_start) - overlap
            iou = overlap / union if union > 0 else float((start, end) == (other_start, other_end))
            if iou > highest or (iou == highest and best < 0):
                best, highest = action, iou
        free.discard(best)
        found.append(best)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_matches_equal_a_plain_visit_in_crowds_of_ties_copies_and_empty_segments(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("re2tal.evaluation.matching._PAIRS_AT_ONCE", 50)
    rng = np.random.default_rng(seed)

    def rows(count: int) -> list[Row]:
        starts = rng.integers(0, 12, count)
        ends = starts + rng.integers(0, 7, count)
        names = zip(rng.integers(3, size=count), starts, ends, rng.integers(2, size=count), strict=True)
        return [(f"v{video}", float(start), float(end), f"c{label}") for video, start, end, label in names]

    truth = _truth([("v0", 0.0, 1.0, "c0"), ("v1", 0.0, 1.0, "c1"), ("v2", 0.0, 1.0, "c1"), *rows(60)])
    found = _predictions(rows(300), rng.integers(1, 20, 300).tolist())
    tious = (0.1, 0.4, 0.5, 0.7, 1.0)
    ranked = rank_predictions(truth, found)
    expected = [_plain_matches(truth, ranked, tiou=tiou) for tiou in tious]
    assert match_actions(truth, ranked, tious=tious).tolist() == expected


def test_files_are_judged_without_importing_torch() -> None:
    code = "import sys, re2tal.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


TWO = [("a", 0.0, 10.0, "run"), ("b", 5.0, 8.0, "jump")]


def test_copies_of_the_ground_truth_are_perfect() -> None:
    result = mean_average_precision(_truth(TWO), _predictions(TWO, [0.9, 0.1]), tious=[0.5, 1.0])
    assert result.metrics == {"average_mAP": 1.0, "mAP@0.5": 1.0, "mAP@1": 1.0}


def test_an_action_is_found_once() -> None:
    result = mean_average_precision(_truth(TWO[:1]), _predictions([TWO[0]] * 3, [0.9, 0.8, 0.7]), tious=[0.5])
    assert result.average == 1.0
    found = [("a", 20.0, 30.0, "run"), TWO[0]]
    result = mean_average_precision(_truth(TWO[:1]), _predictions(found, [0.9, 0.8]), tious=[0.5])
    assert result.average == 0.5


def test_a_class_that_nobody_found_counts_as_zero() -> None:
    result = mean_average_precision(_truth(TWO), _predictions(TWO[:1], [0.9]), tious=[0.5])
    assert result.per_class == {"run": (1.0,), "jump": (0.0,)}
    assert result.average == 0.5


def test_no_predictions_at_all_are_zero() -> None:
    result = mean_average_precision(_truth(TWO), _predictions([], []), tious=[0.5])
    assert result.average == 0.0 and result.num_predictions == 0


def test_predictions_for_other_videos_and_classes_are_left_out_and_counted() -> None:
    found = [("x", 0.0, 10.0, "run"), TWO[0], ("a", 0.0, 10.0, "swim"), TWO[1]]
    result = mean_average_precision(_truth(TWO), _predictions(found, [0.9, 0.8, 0.7, 0.6]), tious=[0.5])
    assert result.average == 1.0
    assert (result.num_predictions, result.num_other_videos, result.num_other_classes) == (2, 1, 1)


def test_predictions_for_other_videos_can_count_as_false_but_not_for_blocked_ones() -> None:
    found = [("x", 0.0, 10.0, "run"), TWO[0], TWO[1]]
    predictions = _predictions(found, [0.9, 0.8, 0.7])
    result = mean_average_precision(_truth(TWO), predictions, tious=[0.5], count_other_videos=True)
    assert result.per_class == {"run": (0.5,), "jump": (1.0,)}
    blocked = _truth(TWO, blocked=("x",))
    assert mean_average_precision(blocked, predictions, tious=[0.5], count_other_videos=True).average == 1.0


def test_predictions_for_evaluated_videos_without_actions_are_false() -> None:
    found = [("c", 0.0, 10.0, "run"), TWO[0]]
    truth = _truth(TWO[:1], videos=("a", "c"))
    assert mean_average_precision(truth, _predictions(found, [0.9, 0.8]), tious=[0.5]).average == 0.5


def test_among_equal_scores_the_last_comes_first() -> None:
    found = [("a", 20.0, 30.0, "run"), TWO[0]]
    assert mean_average_precision(_truth(TWO[:1]), _predictions(found, [0.5, 0.5]), tious=[0.5]).average == 1.0
    assert mean_average_precision(_truth(TWO[:1]), _predictions(found[::-1], [0.5, 0.5]), tious=[0.5]).average == 0.5


def test_a_ground_truth_without_actions_is_refused() -> None:
    with pytest.raises(EvaluationError, match="at least one labelled action"):
        mean_average_precision(_truth([], videos=("a",)), _predictions(TWO, [0.9, 0.8]), tious=[0.5])


def test_detections_become_predictions() -> None:
    detections = [
        Detections(
            video_id=name,
            segments=torch.tensor([[0.0, 10.0], [5.0, 8.0]])[:count],
            scores=torch.tensor([0.9, 0.1])[:count] / count,
            labels=torch.tensor([0, 1])[:count],
        )
        for name, count in (("a", 1), ("b", 2), ("none", 0))
    ]
    table = Predictions.from_detections(iter(detections), class_names=["run", "jump"])
    assert [table.video_ids[index] for index in table.video_index] == ["a", "b", "b"]
    assert table.label_index.tolist() == [0, 0, 1]
    assert mean_average_precision(_truth(TWO), table, tious=[0.5]).average == 1.0
    assert len(Predictions.from_detections([], class_names=["run"]).scores) == 0


def test_crowded_videos_take_little_memory_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    truth = _random_rows(rng, 300, videos=2, classes=1)
    found = _random_rows(rng, 3000, videos=2, classes=1)
    scores = rng.permutation(3000).tolist()
    whole = mean_average_precision(_truth(truth), _predictions(found, scores), tious=[0.3, 0.6])
    monkeypatch.setattr("re2tal.evaluation.matching._PAIRS_AT_ONCE", 1000)
    begin = time.perf_counter()
    parts = mean_average_precision(_truth(truth), _predictions(found, scores), tious=[0.3, 0.6])
    assert time.perf_counter() - begin < 10
    assert parts == whole
