"""Videos as columns of numbers: what is right among the shown detections, against a plain visit of all."""

import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from re2tal.evaluation import read_ground_truth, read_predictions
from re2tal.report.quality import choose_start, measure, score_steps
from re2tal.report.sources import Truth
from re2tal.report.videos import best_scores, table_videos
from tests.report.report_data import write_found, write_truth

TIOUS = (0.3, 0.5, 0.7)

labels = st.sampled_from(["a", "b"])
starts = st.integers(0, 12).map(float)
lengths = st.integers(1, 6).map(float)
actions = st.lists(st.tuples(starts, lengths, labels), max_size=5)
detections = st.lists(st.tuples(starts, lengths, labels, st.sampled_from([0.1, 0.2, 0.3, 0.9])), max_size=12)


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    both = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return both / (a[1] - a[0] + b[1] - b[0] - both)


def visited(truth: dict[str, list[float]], found: dict[str, list[float]], tiou: float) -> set[tuple[int, int]]:
    """Detections from the best down, each taking the free action of its label that it overlaps most."""
    taken: set[int] = set()
    pairs = set()
    for index in range(len(found["score"])):
        candidates = [
            (
                overlap((found["start"][index], found["end"][index]), (truth["start"][action], truth["end"][action])),
                action,
            )
            for action in range(len(truth["start"]))
            if truth["label"][action] == found["label"][index] and action not in taken
        ]
        best = max(candidates, key=lambda pair: (pair[0], -pair[1]), default=(0.0, -1))
        if best[0] >= tiou:
            taken.add(best[1])
            pairs.add((index, best[1]))
    return pairs


@settings(max_examples=60, deadline=None)
@given(videos=st.lists(st.tuples(actions, detections), min_size=1, max_size=3))
def test_right_detections_are_those_of_a_plain_visit(
    tmp_path_factory: object, videos: list[tuple[list[tuple[float, float, str]], list[tuple[float, float, str, float]]]]
) -> None:
    if not any(given_actions for given_actions, _ in videos):
        return
    folder = tmp_path_factory.mktemp("files")  # type: ignore[attr-defined]
    truth_file = write_truth(
        folder, {f"v{n}": [(s, s + length, label) for s, length, label in a] for n, (a, _) in enumerate(videos)}
    )
    found_file = write_found(
        folder,
        {f"v{n}": [(s, s + length, label, score) for s, length, label, score in d] for n, (_, d) in enumerate(videos)},
    )
    truth = Truth(actions=read_ground_truth(truth_file, subset="validation"), seconds={}, subset=("validation",))
    found = read_predictions(found_file)
    steps = score_steps(found.scores)
    quality = measure(truth.actions, found, tious=TIOUS, steps=steps)
    table = table_videos(found=found, truth=truth, quality=quality, max_detections=1000)
    for row, tiou in enumerate(TIOUS):
        right = 0
        for video in table.videos:
            assert video["found"]["score"] == sorted(video["found"]["score"], reverse=True)
            flat = video["right"][row]
            pairs = set(zip(flat[::2], flat[1::2], strict=True))
            expected = visited(video["truth"], video["found"], tiou)
            # Classes that only detections have are not counted, and are never right.
            assert {pair[0] for pair in pairs} == {pair[0] for pair in expected}
            right += len(pairs)
        assert quality.right[row, 0] == right
        share = quality.result.per_tiou[row]
        assert 0 <= share <= 1


def test_counts_follow_the_score_that_the_page_shows(tmp_path: Path) -> None:
    truth_file = write_truth(tmp_path, {"v": [(0.0, 1.0, "a"), (2.0, 3.0, "a")]})
    found_file = write_found(tmp_path, {"v": [(0.0, 1.0, "a", 0.29997), (2.0, 3.0, "a", 0.29)]})
    truth = read_ground_truth(truth_file, subset="validation")
    found = read_predictions(found_file)
    steps = score_steps(found.scores)
    quality = measure(truth, found, tious=(0.5,), steps=steps)
    place = int(np.flatnonzero(steps == 0.3)[0])
    assert (quality.kept[place], quality.kept[place - 1], quality.kept[place + 1]) == (1, 2, 0)
    assert json.dumps(steps.tolist()[:3]) == "[0.0, 0.01, 0.02]"


def test_without_ground_truth_the_slider_starts_below_most_videos_best(tmp_path: Path) -> None:
    found = read_predictions(write_found(tmp_path, {f"v{n}": [(0.0, 1.0, "a", 0.4)] for n in range(5)}))
    steps = score_steps(found.scores)
    assert steps[choose_start(best_scores(found), steps, quality=None, row=0)] == 0.2


def test_annotated_classes_come_first_so_that_colours_stay(tmp_path: Path) -> None:
    truth_file = write_truth(tmp_path, {"v": [(0.0, 1.0, "m"), (2.0, 3.0, "k")]})
    found_file = write_found(tmp_path, {"v": [(0.0, 1.0, "a", 0.5), (0.0, 1.0, "m", 0.5)]})
    truth = Truth(actions=read_ground_truth(truth_file, subset="validation"), seconds={}, subset=("validation",))
    table = table_videos(found=read_predictions(found_file), truth=truth, quality=None, max_detections=9)
    assert table.class_names == ("k", "m", "a")


def test_detections_where_nobody_has_looked_are_listed_apart(tmp_path: Path) -> None:
    truth_file = write_truth(tmp_path, {"v": [(1.0, 3.0, "a")], "w": [(1.0, 3.0, "a")]})
    content = json.loads(truth_file.read_text())
    content["database"]["v"]["labelled"] = [[0.0, 5.0]]
    truth_file.write_text(json.dumps(content))
    rows = [(1.0, 3.0, "a", 0.9), (6.0, 8.0, "a", 0.8), (4.0, 5.5, "a", 0.7), (4.5, 9.0, "a", 0.6)]
    found = read_predictions(write_found(tmp_path, {"v": rows, "w": rows}))
    truth = Truth(actions=read_ground_truth(truth_file, subset="validation"), seconds={}, subset=("validation",))
    quality = measure(truth.actions, found, tious=TIOUS, steps=score_steps(found.scores))
    partly, whole = table_videos(found=found, truth=truth, quality=quality, max_detections=None).videos
    assert partly["unjudged"] == [1, 3] and "unjudged" not in whole
    assert quality.kept[0] == 2 + 4
