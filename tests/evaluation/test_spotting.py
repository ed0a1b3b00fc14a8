"""Average-mAP of point events against a second plain implementation, on arrays of frames."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.evaluation import LOOSE, TIGHT, EvaluationError, read_files, spotting_precision

Events = list[tuple[str, str, float, float]]
"""(video, class, seconds, score)"""
RATE = 2


def plain_average_map(
    events: Events, found: Events, *, classes: list[str], tolerances: tuple[float, ...]
) -> tuple[float, dict[str, list[float]]]:
    """What the metric is, written down frame by frame, threshold by threshold."""
    of_class: dict[str, list[float]] = {name: [] for name in classes}
    for name in classes:
        for tolerance in tolerances:
            scored: list[tuple[float, bool]] = []
            num_events = 0
            for video in sorted({row[0] for row in events}):
                target = on_frames([row for row in events if row[:2] == (video, name)])
                detection = on_frames([row for row in found if row[:2] == (video, name)])
                used = used_frames(target, detection, reach=tolerance * RATE / 2)
                num_events += int((target >= 0).sum())
                scored += [(detection[frame], frame in used) for frame in np.flatnonzero(detection >= 0)]
            of_class[name].append(eleven_points(scored, num_events))
    per_tolerance = np.mean(list(of_class.values()), 0)
    trapezoids = [(a + b) / 2 for a, b in zip(per_tolerance, per_tolerance[1:], strict=False)]
    return float(np.mean(trapezoids)) if trapezoids else float(per_tolerance[0]), of_class


def on_frames(rows: Events) -> np.ndarray:
    frames = np.full(1000, -1.0)
    for _, _, seconds, score in rows:
        frames[int(seconds * RATE)] = score  # a later one replaces an earlier one
    return frames


def used_frames(target: np.ndarray, detection: np.ndarray, *, reach: float) -> set[int]:
    used: set[int] = set()
    for frame in np.flatnonzero(target >= 0):
        best = None
        for other in np.flatnonzero(detection >= 0):
            is_free = abs(other - frame) <= reach and other not in used
            if is_free and (best is None or detection[other] > detection[best]):
                best = other
        used |= set() if best is None else {int(best)}
    return used


def eleven_points(scored: list[tuple[float, bool]], num_events: int) -> float:
    points = []
    for threshold in np.linspace(0, 1, 200):
        kept = [is_right for score, is_right in scored if score >= threshold]
        points.append((sum(kept) / num_events, sum(kept) / len(kept) if kept else 0))
    return sum(max([p for r, p in points if r >= level] or [0]) for level in np.arange(11) / 10) / 11


def write(folder: Path, events: Events, found: Events) -> tuple[Path, Path]:
    videos = sorted({row[0] for row in [*events, *found]})
    database: dict[str, Any] = {
        video: {
            "subset": "validation",
            "annotations": [{"segment": [at, at], "label": label} for name, label, at, _ in events if name == video],
        }
        for video in videos
    }
    results = {
        video: [
            {"segment": [at, at], "label": label, "score": score} for name, label, at, score in found if name == video
        ]
        for video in videos
    }
    truth, detections = folder / "truth.json", folder / "found.json"
    truth.write_text(json.dumps({"database": database}))
    detections.write_text(json.dumps({"results": results}))
    return truth, detections


def measured(folder: Path, events: Events, found: Events, **options: Any) -> Any:
    truth, predictions = read_files(*write(folder, events, found), subset="validation", point_seconds=0.0)
    return spotting_precision(truth, predictions, **options)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerances", [TIGHT, LOOSE, (1.0,), (0.5, 3.0, 20.0)])
def test_it_is_the_plain_metric(tmp_path: Path, seed: int, tolerances: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    classes = ["goal", "kick", "card"]
    events: Events = []
    found: Events = []
    for video in ("a", "b", "c"):
        for name in classes:
            times = rng.uniform(0, 400, rng.integers(1, 12)).round(3)
            events += [(video, name, float(at), 1.0) for at in times]
            near = np.clip(rng.choice(times, 15) + rng.normal(0, 3, 15), 0, 400)
            # Scores of two digits are tied now and then, and several fall into one frame.
            found += [
                (video, name, float(at), float(rng.random().__round__(2)))
                for at in [*near, *rng.uniform(0, 400, 10), *near[:3]]
            ]
    expected, of_class = plain_average_map(events, found, classes=classes, tolerances=tolerances)
    result = measured(tmp_path, events, found, tolerances=tolerances, frame_rate=2.0)
    assert result.average == pytest.approx(expected, abs=1e-12)
    for name in classes:
        assert result.per_class[name] == pytest.approx(of_class[name], abs=1e-12)


def test_a_case_by_hand(tmp_path: Path) -> None:
    """A tolerance is the width of the window: 2 s reach 1 s to either side."""
    events = [("a", "goal", 10.0, 1.0), ("a", "goal", 20.0, 1.0)]
    found = [("a", "goal", 11.0, 0.9), ("a", "goal", 50.0, 0.8), ("a", "goal", 22.0, 0.7)]
    result = measured(tmp_path, events, found, tolerances=(2.0, 4.0))
    # At 2 s: the first is right and reaches recalls 0 to 0.5 at precision 1. At 4 s the third is right too, at 2/3.
    assert result.per_tolerance == pytest.approx((6 / 11, (6 + 5 * 2 / 3) / 11))
    assert result.average == pytest.approx((6 / 11 + (6 + 5 * 2 / 3) / 11) / 2)
    assert result.metrics.keys() == {"average_mAP", "mAP@2s", "mAP@4s"}


def test_an_earlier_event_takes_the_best_prediction_in_reach(tmp_path: Path) -> None:
    events = [("a", "goal", 10.0, 1.0), ("a", "goal", 12.0, 1.0)]
    found = [("a", "goal", 11.0, 0.9), ("a", "goal", 10.0, 0.5)]
    result = measured(tmp_path, events, found, tolerances=(2.0,))
    assert result.per_tolerance == pytest.approx((6 / 11,))  # the second event is left with nothing


def test_exact_times_tell_apart_what_frames_do_not(tmp_path: Path) -> None:
    events = [("a", "goal", 10.1, 1.0), ("a", "goal", 10.3, 1.0)]
    found = [("a", "goal", 10.1, 0.9), ("a", "goal", 10.3, 0.8)]
    in_frames = measured(tmp_path, events, found, tolerances=(0.1,), frame_rate=2.0)
    exact = measured(tmp_path, events, found, tolerances=(0.1,))
    assert in_frames.per_tolerance == exact.per_tolerance == (1.0,)
    shifted = [("a", "goal", 10.2, 0.9), ("a", "goal", 10.4, 0.8)]
    assert measured(tmp_path, events, shifted, tolerances=(0.1,), frame_rate=2.0).per_tolerance == (1.0,)
    assert measured(tmp_path, events, shifted, tolerances=(0.1,)).per_tolerance == (0.0,)


def test_a_worse_prediction_in_the_same_frame_does_not_replace_a_better_one_unless_soccernet_is_asked_for(
    tmp_path: Path,
) -> None:
    events = [("a", "goal", 10.0, 1.0), ("a", "goal", 20.0, 1.0)]
    found = [("a", "goal", 10.0, 0.9), ("a", "goal", 20.0, 0.8), ("a", "goal", 30.0, 0.5), ("a", "goal", 10.1, 0.1)]
    assert measured(tmp_path, events, found, tolerances=(1.0,)).average == 1.0
    replaced = measured(tmp_path, events, found, tolerances=(1.0,), frame_rate=2.0)
    assert replaced.average == pytest.approx((6 + 5 * 2 / 3) / 11)  # the first is found only behind the wrong one


def test_segments_count_by_their_middles(tmp_path: Path) -> None:
    events = [("a", "goal", 10.0, 1.0)]
    truth, found = write(tmp_path, events, [])
    found.write_text(json.dumps({"results": {"a": [{"segment": [8.0, 12.0], "label": "goal", "score": 1.0}]}}))
    tables = read_files(truth, found, subset="validation", point_seconds=0.0)
    assert spotting_precision(*tables, tolerances=(1.0,)).average == 1.0


def test_without_the_choice_points_are_left_out_and_the_error_says_so(tmp_path: Path) -> None:
    files = write(tmp_path, [("a", "goal", 10.0, 1.0)], [("a", "goal", 10.0, 1.0)])
    with pytest.raises(EvaluationError, match="evaluate --points"):
        spotting_precision(*read_files(*files, subset="validation"))


def test_the_command(re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = write(tmp_path, [("a", "goal", 10.0, 1.0), ("a", "kick", 30.0, 1.0)], [("a", "goal", 10.7, 0.9)])
    files = ("--ground-truth", truth, "--predictions", found, "--points")
    assert re2tal("evaluate", *files, "--tolerances", "1", "2", "--per-class") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:5] == [
        ["tolerance", "1s", "2s", "mean"],
        ["goal", "0.00", "100.00", "50.00"],
        ["kick", "0.00", "0.00", "0.00"],
        ["mAP", "0.00", "50.00", "25.00"],
    ]
    assert re2tal("evaluate", *files, "--tolerances", "loose", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 13 + 5  # 12 tolerances, their average, the subset, four counts
    for wrong, told in ((("--tolerances", "0"), "above 0"), (("--count-other-videos",), "leave --count-other-videos")):
        assert told in re2tal("evaluate", *files, *wrong)
    assert "--points" in re2tal("evaluate", *files[:4], "--tolerances", "1")
