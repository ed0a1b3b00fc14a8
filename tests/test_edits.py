"""Counting what a person has to do to correct predictions."""

from collections.abc import Callable

import numpy as np
import pytest
from labelling.edits import Edits, count_edits, fewest_edits

from re2tal.evaluation import GroundTruth, Predictions

Row = tuple[float, float, str]


def truth_of(*rows: Row, videos: int = 1) -> GroundTruth:
    names = tuple(sorted({label for *_, label in rows}))
    return GroundTruth(
        video_ids=tuple(f"v{number}" for number in range(videos)),
        class_names=names,
        video_index=np.zeros(len(rows), np.int64),
        label_index=np.array([names.index(label) for *_, label in rows], np.int64),
        segments=np.array([row[:2] for row in rows], np.float64).reshape(-1, 2),
    )


def found_of(*rows: Row, scores: tuple[float, ...] | None = None) -> Predictions:
    table = truth_of(*rows)
    return Predictions(
        video_ids=("other", "v0"),
        class_names=table.class_names,
        video_index=np.ones(len(rows), np.int64),
        label_index=table.label_index,
        segments=table.segments,
        scores=np.array(scores or [0.9] * len(rows)),
    )


RUN: Row = (10.0, 20.0, "run")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((), Edits(added=1, labels=1)),
        ((RUN,), Edits(accepted=1, labels=1)),
        (((10.5, 19.5, "run"),), Edits(accepted=1, labels=1)),  # both within the tolerance
        (((10.6, 20.0, "run"),), Edits(moved=1, labels=1)),
        (((8.0, 23.0, "run"),), Edits(moved=2, labels=1)),
        (((10.0, 20.0, "walk"),), Edits(relabelled=1, labels=1)),
        (((8.0, 23.0, "walk"),), Edits(relabelled=1, moved=2, labels=1)),
        (((30.0, 40.0, "run"),), Edits(rejected=1, added=1, labels=1)),
        (((8.0, 23.0, "run"), RUN), Edits(accepted=1, rejected=1, labels=1)),  # the better one is taken
    ],
)
def test_each_kind_of_mistake_has_its_price(found: tuple[Row, ...], expected: Edits) -> None:
    assert count_edits(truth_of(RUN), found_of(*found), min_score=0.5) == expected


def test_what_is_not_shown_costs_nothing() -> None:
    found = found_of(RUN, (30.0, 40.0, "run"), scores=(0.8, 0.2))
    assert count_edits(truth_of(RUN), found, min_score=0.1) == Edits(accepted=1, rejected=1, labels=1)
    threshold, best = fewest_edits(truth_of(RUN), found)
    assert 0.2 < threshold <= 0.8 and best == Edits(accepted=1, labels=1)


def test_from_nothing_every_segment_takes_three() -> None:
    edits = count_edits(truth_of(RUN, (30, 40, "walk")), found_of(), min_score=0.0)
    assert edits.total == edits.from_nothing == 6


def test_videos_without_labels_count_their_false_alarms() -> None:
    assert count_edits(truth_of(), found_of(RUN), min_score=0.0).total == 1


@pytest.mark.parametrize("seed", range(8))
def test_no_other_assignment_takes_fewer_actions(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def drawn(count: int) -> tuple[Row, ...]:
        starts = rng.integers(0, 20, count)
        return tuple(
            (float(start), float(start + rng.integers(1, 8)), str(rng.choice(["run", "walk"]))) for start in starts
        )

    actions, shown = drawn(4), drawn(5)

    def price(action: Row, prediction: Row | None) -> float:
        if prediction is None:
            return 3
        if not (prediction[0] < action[1] and prediction[1] > action[0]):
            return np.inf
        moved = sum(abs(a - b) > 0.5 for a, b in zip(action[:2], prediction[:2], strict=True))
        return max((action[2] != prediction[2]) + moved, 1)

    best = _by_search(actions, shown, price)
    assert count_edits(truth_of(*actions), found_of(*shown), min_score=0.0).total == best


def _by_search(actions: tuple[Row, ...], shown: tuple[Row, ...], price: Callable[[Row, Row | None], float]) -> float:
    """Every way to give each action one of the predictions, or none."""
    if not actions:
        return len(shown)
    rest = actions[1:]
    ways = [price(actions[0], None) + _by_search(rest, shown, price)]
    for place, prediction in enumerate(shown):
        left = shown[:place] + shown[place + 1 :]
        ways.append(price(actions[0], prediction) + _by_search(rest, left, price))
    return min(ways)
