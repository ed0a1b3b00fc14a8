"""Agreement of two observers: against scikit-learn, a plain matching, and figures worked out by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.evaluation import EvaluationError
from re2tal.evaluation.bouts import BoutRules, Observation, measure_agreement, paired_observations, read_observed
from re2tal.evaluation.bouts.matching import match_by_overlap, match_by_tolerance
from tests.evaluation.behaviour import observation, observed, random_bouts, write

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed; pip install 're2tal[dev]'")
STEP = 0.1
LABELS = ("groom", "run", "sit")


def states_of(seen: Observation, *, step: float = STEP) -> np.ndarray:
    """(T, K) what is seen in the middle of every step, one step and class after the other."""
    found = []
    for start, end in seen.stretches:
        for number in range(10_000):
            time = (number + 0.5) * step
            if start <= time < end:
                found.append([any(one <= time < other for one, other in seen.of(label)) for label in LABELS])
    return np.array(found, bool)


def as_text(states: np.ndarray) -> list[str]:
    return [" + ".join(label for label, is_on in zip(LABELS, row, strict=True) if is_on) or "(none)" for row in states]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("overlapping", [False, True])
def test_steps_are_judged_as_scikit_learn_judges_them(seed: int, overlapping: bool) -> None:
    rng = np.random.default_rng(seed)
    stretches = [(0.0, 33.0), (40.25, 100.0)]
    seen = []
    for _ in range(2):
        if overlapping:
            bouts = {label: random_bouts(rng, count=12) for label in LABELS}
        else:
            together = random_bouts(rng, count=30)
            chosen = rng.integers(0, 3, len(together))
            bouts = {label: together[chosen == place] for place, label in enumerate(LABELS)}
        everything = observation({label: table.tolist() for label, table in bouts.items()})
        seen.append(everything.within(np.array(stretches)))
    a, b = seen
    result = measure_agreement([(a, b)], step_seconds=STEP)
    ours, theirs = states_of(a), states_of(b)
    assert int(result.confusion.sum()) == len(ours)
    for place, item in enumerate(result.classes):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            ours[:, place], theirs[:, place], average="binary", zero_division=np.nan
        )
        assert (item.label, item.precision, item.recall, item.f1) == (
            LABELS[place],
            pytest.approx(precision),
            pytest.approx(recall),
            pytest.approx(f1),
        )
        assert item.kappa == pytest.approx(metrics.cohen_kappa_score(ours[:, place], theirs[:, place]))
    micro = metrics.precision_recall_fscore_support(ours, theirs, average="micro")[:3]
    assert (result.overall.precision, result.overall.recall, result.overall.f1) == pytest.approx(micro)
    assert result.macro_f1 == pytest.approx(metrics.f1_score(ours, theirs, average="macro"))
    names = [as_text(ours), as_text(theirs)]
    assert result.kappa == pytest.approx(metrics.cohen_kappa_score(*names))
    assert result.accuracy == pytest.approx(metrics.accuracy_score(*names))
    expected = metrics.confusion_matrix(*names, labels=list(result.categories))
    assert np.array_equal(result.confusion, expected)


def test_kappa_by_hand() -> None:
    """Cohen's two-by-two table: 20 + 15 of 50 agree, 0.5 by chance, so that kappa is 0.4."""
    a = observation({"run": [(0, 25)]}, stretches=[(0, 50)])
    b = observation({"run": [(0, 20), (25, 35)]}, stretches=[(0, 50)])
    (run,) = measure_agreement([(a, b)], step_seconds=1.0).classes
    assert (run.both, run.only_a, run.only_b, run.neither) == (20, 5, 10, 15)
    assert run.kappa == pytest.approx(0.4)
    assert (run.precision, run.recall) == (20 / 30, 20 / 25)


def test_what_divides_by_nothing_is_told_as_nothing() -> None:
    empty = observation({})
    result = measure_agreement([(empty, empty)], step_seconds=1.0)
    assert result.classes == () and result.categories == ("(none)",) and result.accuracy == 1.0
    assert result.kappa is result.macro_f1 is result.overall.f1 is None
    (run,) = measure_agreement([(observation({"run": [(0, 5)]}), empty)], step_seconds=1.0).classes
    assert (run.precision, run.recall, run.f1, run.kappa) == (None, 0.0, 0.0, 0.0)
    assert run.bout_f1_by_tolerance == 0.0 and run.start_difference is None


def most_pairs(possible: np.ndarray) -> int:
    """The size of the largest one-to-one matching, by augmenting paths (Kuhn's algorithm)."""
    partner: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in np.flatnonzero(possible[row]).tolist():
            if column not in tried:
                tried.add(column)
                if column not in partner or place(partner[column], tried):
                    partner[column] = row
                    return True
        return False

    return sum(place(row, set()) for row in range(len(possible)))


@pytest.mark.parametrize("seed", range(40))
def test_no_other_matching_has_more_pairs(seed: int) -> None:
    """Crowded bouts, so that many have several partners, also with tolerances beyond the gaps between them."""
    rng = np.random.default_rng(seed)
    a, b = (random_bouts(rng, count=int(rng.integers(1, 25)), length=20.0) for _ in range(2))
    starts, ends = (np.abs(a[:, None, side] - b[None, :, side]) for side in (0, 1))
    for tolerance in (0.05, 0.2, 0.5, 1.0, 3.0):
        found = match_by_tolerance(a, b, tolerance=tolerance)
        possible = np.maximum(starts, ends) <= tolerance + 1e-9
        assert all(possible[pair] for pair in found)
        assert len({row for row, _ in found}) == len({column for _, column in found}) == len(found)
        assert len(found) == most_pairs(possible)
    shared = np.minimum(a[:, None, 1], b[None, :, 1]) - np.maximum(a[:, None, 0], b[None, :, 0])
    whole = np.maximum(a[:, None, 1], b[None, :, 1]) - np.minimum(a[:, None, 0], b[None, :, 0])
    for tiou in (0.01, 0.1, 0.3, 0.5, 0.75):
        possible = (shared > 0) & (shared / np.where(whole > 0, whole, 1) >= tiou)
        found = match_by_overlap(a, b, tiou=tiou)
        assert all(possible[pair] for pair in found)
        assert len(found) == most_pairs(possible)


def test_bouts_by_hand() -> None:
    a = observation({"run": [(10, 20), (30, 40), (60, 61)], "peck": [(5, 5), (50, 50)]})
    b = observation({"run": [(10.4, 19.5), (31, 40), (80, 90)], "peck": [(5.3, 5.3), (70, 70)]})
    result = measure_agreement([(a, b)], tolerance=0.5, tiou=0.5)
    peck, run = result.classes
    assert (run.matched_by_tolerance, run.matched_by_overlap) == (1, 2)
    assert (run.bout_f1_by_tolerance, run.bout_f1_by_overlap) == (2 / 6, 4 / 6)
    assert (run.start_difference, run.end_difference) == pytest.approx((0.7, 0.25))
    assert (peck.matched_by_tolerance, peck.matched_by_overlap, peck.f1) == (1, 0, None)
    assert peck.start_difference == pytest.approx(0.3)
    assert result.overall.bout_f1_by_tolerance == 4 / 10


def test_only_what_both_have_looked_at_counts(tmp_path: Path) -> None:
    a = observed(tmp_path / "a.json", {"m": [(10, 30, "run")]}, labelled=[[0, 50]])
    b = observed(tmp_path / "b.json", {"m": [(20, 40, "run"), (80, 90, "sit")], "n": []}, labelled=[[20, 100]])
    ((one, other),), notes = paired_observations(a, b)
    assert one.stretches.tolist() == other.stretches.tolist() == [[20, 50]]
    assert (one.of("run").tolist(), other.of("run").tolist()) == ([[20, 30]], [[20, 40]])
    assert "1 videos" in notes[0]


def test_a_length_that_one_file_tells_holds_for_the_other(tmp_path: Path) -> None:
    a = observed(tmp_path / "a.json", {"m": [(10, 30, "run")]})
    detections = tmp_path / "found.json"
    rows = [{"segment": [10, 29], "label": "run", "score": 0.8}, {"segment": [98, 104], "label": "run", "score": 0.4}]
    detections.write_text(json.dumps({"results": {"m": rows}}))
    b = read_observed(detections, rules=BoutRules())
    for pair in ((a, b), (b, a)):
        ((one, other),), _ = paired_observations(*pair)
        assert one.seconds == other.seconds == 100.0
    ((_, again),), _ = paired_observations(a, b)
    assert again.of("run").tolist() == [[10, 29], [98, 100]]


def test_files_without_a_common_video_are_told(tmp_path: Path) -> None:
    a = observed(tmp_path / "a.json", {"m": []})
    b = observed(tmp_path / "b.json", {"n": []})
    with pytest.raises(EvaluationError, match="ids like 'm', the second like 'n'"):
        paired_observations(a, b)


def test_steps_are_frames_where_the_file_tells_the_rate(tmp_path: Path) -> None:
    a = observed(tmp_path / "a.json", {"m": []}, fps=25)
    b = observed(tmp_path / "b.json", {"m": []}, frame=5000)
    plain = observed(tmp_path / "c.json", {"m": []})

    def step(one: Any, other: Any) -> float:
        return measure_agreement(paired_observations(one, other)[0]).step_seconds

    assert (step(a, plain), step(plain, b), step(a, b), step(plain, plain)) == (0.04, 0.02, 0.02, 0.04)


def test_two_annotators_of_one_file(re2tal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.json", {"m": [(0, 40, "run")], "n": [(0, 10, "run")]}, annotator="anna")
    content = json.loads(path.read_text())
    content["database"]["m"]["annotations"].append({"segment": [0, 20], "label": "run", "annotator": "ben"})
    path.write_text(json.dumps(content))
    options = ("--annotators", "anna", "ben", "--step", 1)
    assert re2tal("agreement", path, *options, "--out", tmp_path / "out", "--json") == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["num_videos"], line["overall"]["recall"], line["accuracy"]) == (1, 0.5, 0.8)
    rows = (tmp_path / "out/confusion.csv").read_text().splitlines()
    assert rows == ["a,b,steps,seconds", "(none),(none),60,60", "(none),run,0,0", "run,(none),20,20", "run,run,20,20"]
    assert re2tal("agreement", path, *options) == 0
    shown = capsys.readouterr().out
    assert "kappa 0.545" in shown and "1 videos that only one of the two has seen are left out" in shown
    assert "two observers" in re2tal("agreement", path)
