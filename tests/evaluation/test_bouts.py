"""What is counted of bouts, against figures worked out by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.evaluation import EvaluationError
from re2tal.evaluation.bouts import BoutRules, read_observed, summarize, summarize_classes
from re2tal.evaluation.bouts.observation import clipped, merged
from re2tal.evaluation.bouts.summary import bins_of, intervals_of, transitions_of
from tests.evaluation.behaviour import observation, observed, write


@pytest.mark.parametrize(
    ("segments", "gap", "expected"),
    [
        ([(5, 6), (0, 3), (2, 4)], None, [(0, 4), (5, 6)]),
        ([(0, 9), (2, 4), (3, 5)], None, [(0, 9)]),
        ([(0, 3), (3, 4)], None, [(0, 3), (3, 4)]),
        ([(0, 3), (3, 4)], 0.0, [(0, 4)]),
        ([(0, 3), (4, 5), (6.5, 7)], 1.0, [(0, 5), (6.5, 7)]),
        ([(2, 2), (2, 2), (5, 5)], None, [(2, 2), (5, 5)]),
        ([(0, 4), (2, 2), (4, 4)], None, [(0, 4), (4, 4)]),
        ([], None, []),
    ],
)
def test_what_overlaps_is_one_bout(segments: Any, gap: float | None, expected: Any) -> None:
    assert merged(segments, gap=gap).tolist() == [list(map(float, pair)) for pair in expected]


def test_bouts_are_cut_at_the_edges_of_what_was_observed() -> None:
    stretches = np.array([[0.0, 10.0], [20.0, 30.0], [30.0, 40.0]])
    bouts = np.array([[5.0, 25.0], [12.0, 15.0], [30.0, 30.0], [10.0, 10.0], [15.0, 15.0], [40.0, 45.0]])
    assert clipped(bouts, stretches).tolist() == [[5, 10], [20, 25], [30, 30], [10, 10]]


def test_figures_of_a_class_by_hand() -> None:
    seen = observation({"run": [(10, 14), (20, 22), (30, 39)], "peck": [(5, 5), (50, 50)]}, stretches=[(0, 60)])
    run, peck = summarize(seen, "run"), summarize(seen, "peck")
    assert (run.num_bouts, run.total_seconds, run.mean_seconds, run.median_seconds) == (3, 15.0, 5.0, 4.0)
    assert run.sd_seconds == pytest.approx(np.sqrt(((4 - 5) ** 2 + (2 - 5) ** 2 + (9 - 5) ** 2) / 2))
    assert (run.shortest_seconds, run.longest_seconds, run.latency_seconds) == (2.0, 9.0, 10.0)
    assert (run.bouts_per_minute, run.share_of_time) == (3.0, 0.25)
    assert run.mean_interval_seconds == 7.0  # 14 to 20, 22 to 30
    assert (peck.num_bouts, peck.total_seconds, peck.latency_seconds, peck.mean_interval_seconds) == (2, 0.0, 5.0, 45.0)
    absent = summarize(seen, "sleep")
    assert (absent.num_bouts, absent.total_seconds, absent.share_of_time) == (0, 0.0, 0.0)
    assert absent.mean_seconds is absent.latency_seconds is absent.sd_seconds is None


def test_unobserved_time_counts_nowhere() -> None:
    seen = observation({"run": [(12, 14), (16, 18), (40, 45)]}, stretches=[(10, 20), (30, 50)])
    run = summarize(seen, "run")
    assert (run.observed_seconds, run.share_of_time, run.bouts_per_minute) == (30.0, 0.3, 6.0)
    assert run.latency_seconds == 2.0
    assert intervals_of(seen, "run") == [(14.0, 16.0)]  # what happened between 18 and 40 is not known
    assert transitions_of([seen], ["run"]).counts.tolist() == [[1]]
    later = observation({"run": [(40, 45)]}, stretches=[(10, 20), (30, 50)])
    assert summarize(later, "run").latency_seconds == 20.0


def test_several_videos_are_pooled() -> None:
    one, two, three = (observation({"run": bouts}) for bouts in ([(10, 12)], [(30, 34), (50, 56)], []))
    (run,) = summarize_classes([one, two, three])
    assert (run.num_videos, run.num_bouts, run.observed_seconds) == (3, 3, 300.0)
    assert (run.mean_seconds, run.median_seconds, run.latency_seconds) == (4.0, 4.0, 20.0)


def test_what_follows_what() -> None:
    seen = observation({"a": [(0, 1), (4, 5), (6, 7)], "b": [(2, 3), (8, 9)], "c": [(8, 8)]})
    found = transitions_of([seen, observation({"a": [(0, 1)], "b": [(0.5, 2)]})], ["a", "b", "c"])
    # a b a a c b, and a b; a point comes before a bout with its start.
    assert found.counts.tolist() == [[1, 2, 1], [1, 0, 0], [0, 1, 0]]
    assert found.probabilities[0].tolist() == [0.25, 0.5, 0.25]
    nothing = transitions_of([observation({"a": [(0, 1)]})], ["a"])
    assert np.isnan(nothing.probabilities).all()


def test_the_time_budget_by_hand() -> None:
    seen = observation({"a": [(5, 25)], "b": [(20, 24), (30, 30), (40, 45)]}, stretches=[(0, 28), (30, 45)])
    bins = bins_of(seen, ["a", "b"], seconds=10)
    assert [(item.start, item.end) for item in bins] == [(0, 10), (10, 20), (20, 30), (30, 40), (40, 45)]
    assert [item.observed_seconds for item in bins] == [10, 10, 8, 10, 5]
    assert [item.seconds for item in bins] == [(5, 0), (10, 0), (5, 4), (0, 0), (0, 5)]
    assert [item.num_bouts for item in bins] == [(1, 0), (0, 0), (0, 1), (0, 1), (0, 1)]
    assert [item.idle_seconds for item in bins] == [5, 0, 3, 10, 0]
    assert [item.start for item in bins_of(observation({}, stretches=[(25, 28)]), [], seconds=10)] == [20]


def test_the_sums_of_all_bins_are_those_of_the_video() -> None:
    rng = np.random.default_rng(0)
    bouts = {name: merged(rng.uniform(0, 100, (20, 2)).cumsum(1).clip(0, 100), gap=None) for name in "ab"}
    seen = observation({name: table.tolist() for name, table in bouts.items()})
    for width in (0.7, 7.0, 33.3, 100.0, 1000.0):
        bins = bins_of(seen, ["a", "b"], seconds=width)
        for place, name in enumerate("ab"):
            figures = summarize(seen, name)
            assert sum(item.num_bouts[place] for item in bins) == figures.num_bouts
            assert sum(item.seconds[place] for item in bins) == pytest.approx(figures.total_seconds)
        assert sum(item.observed_seconds for item in bins) == pytest.approx(100.0)


def test_detections_above_the_threshold_become_bouts(tmp_path: Path) -> None:
    path = tmp_path / "detections.json"
    rows = [(0, 4, "run", 0.9), (3, 6, "run", 0.5), (5, 9, "run", 0.2), (20, 21, "sit", 0.4), (1, 2, "sit", 0.35)]
    results = {"a": [{"segment": [start, end], "label": label, "score": score} for start, end, label, score in rows]}
    path.write_text(json.dumps({"results": {**results, "b": []}}))
    usual = read_observed(path, rules=BoutRules())
    assert {label: bouts.tolist() for label, bouts in usual.observations[0].bouts.items()} == {
        "run": [[0, 6]],
        "sit": [[1, 2], [20, 21]],
    }
    assert usual.without_length == ("a", "b") and "0.3" in usual.notes[0]
    chosen = read_observed(path, rules=BoutRules(threshold=0.45, thresholds={"sit": 0.4}), seconds={"a": 100.0})
    assert {label: bouts.tolist() for label, bouts in chosen.observations[0].bouts.items()} == {
        "run": [[0, 6]],
        "sit": [[20, 21]],
    }
    assert chosen.observations[0].seconds == 100.0 and chosen.without_length == ("b",)
    long = read_observed(path, rules=BoutRules(threshold=0.0, min_bout=1.5))
    assert {label: bouts.tolist() for label, bouts in long.observations[0].bouts.items()} == {"run": [[0, 9]]}
    joined = read_observed(path, rules=BoutRules(threshold=0.0, min_bout=1.5, merge_gap=18.0))
    assert joined.observations[0].of("sit").tolist() == [[1, 21]]


def test_only_labelled_stretches_are_observed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"a": [(5, 15, "run"), (50, 60, "run")]}, labelled=[[0, 10], [5, 12], [90, 300]])
    (seen,) = read_observed(path, rules=BoutRules()).observations
    # What an annotation covers has been looked at, too.
    assert seen.stretches.tolist() == [[0, 15], [50, 60], [90, 100]]
    assert seen.of("run").tolist() == [[5, 15], [50, 60]]
    (nothing,) = observed(tmp_path / "b.json", {"a": []}, labelled=[]).observations
    assert nothing.seconds == 0.0 and not nothing.bouts


def test_one_annotator_of_several(tmp_path: Path) -> None:
    both = json.loads(write(tmp_path / "a.json", {"a": [(5, 15, "run")]}, annotator="anna").read_text())
    ben = json.loads(write(tmp_path / "b.json", {"a": [(10, 20, "run")]}, annotator="ben").read_text())
    both["database"]["a"]["annotations"] += ben["database"]["a"]["annotations"]
    (tmp_path / "a.json").write_text(json.dumps(both))
    everybody = read_observed(tmp_path / "a.json", rules=BoutRules())
    assert everybody.observations[0].of("run").tolist() == [[5, 20]]
    assert "'anna' (1), 'ben' (1)" in everybody.notes[0]
    anna = read_observed(tmp_path / "a.json", rules=BoutRules(annotator="anna"))
    assert anna.observations[0].of("run").tolist() == [[5, 15]] and not anna.notes
    with pytest.raises(EvaluationError, match="its annotators are 'anna', 'ben'"):
        read_observed(tmp_path / "a.json", rules=BoutRules(annotator="carl"))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"labelled": [[5, 1]]}, "start not after the end"),
        ({"labelled": 7}, '"labelled" must be a list'),
        ({"duration": -1}, '"duration" must be'),
        ({"annotations": [{"segment": [3, 1], "label": "run"}]}, "start not after the end"),
        ({"annotations": [{"segment": [1, 3]}]}, 'must have a "label"'),
        ({"annotations": [{"segment": [1, 3], "label": "run", "annotator": 4}]}, '"annotator" must be a name'),
        ({"annotations": 4}, 'a list "annotations"'),
    ],
)
def test_what_is_wrong_is_told_with_its_video(tmp_path: Path, entry: dict[str, Any], told: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"database": {"m 1": {"subset": "x", "duration": 10.0, "annotations": [], **entry}}}))
    with pytest.raises(EvaluationError, match=told) as raised:
        read_observed(path, rules=BoutRules())
    assert "'m 1'" in str(raised.value)


def test_a_subset_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"a": []})
    with pytest.raises(EvaluationError, match="subset 'test'; it has training"):
        read_observed(path, rules=BoutRules(subset=("test",)))
