"""How far two observers agree: step by step and bout by bout, where both have looked.

The first observer, A, is the reference of precision and recall; kappa, F1 and the differences are the same both ways.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from re2tal.common.untrusted import shown
from re2tal.evaluation.bouts.matching import match_by_overlap, match_by_tolerance
from re2tal.evaluation.bouts.observation import Observation, clipped
from re2tal.evaluation.bouts.reading import Observed
from re2tal.evaluation.bouts.summary import classes_of
from re2tal.evaluation.tables import EvaluationError

__all__ = ["NOTHING", "Agreement", "ClassAgreement", "measure_agreement", "paired_observations"]

NOTHING = "(none)"
"""The category of a step in which no class is seen."""
_STEP_SECONDS = 0.04

Pair = tuple[Observation, Observation]
State = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class ClassAgreement:
    """Agreement on one class, or on all together. Figures that divide by nothing are None."""

    label: str
    both: int
    """Steps in which both see the class."""
    only_a: int
    only_b: int
    neither: int
    bouts_a: int
    bouts_b: int
    matched_by_tolerance: int
    """Pairs of bouts whose starts and ends both lie within the tolerance."""
    matched_by_overlap: int
    """Pairs of bouts that overlap enough."""
    start_difference: float | None
    """Mean absolute difference in seconds of the starts of bouts matched by overlap; of point events, of those matched
    by tolerance."""
    end_difference: float | None

    @property
    def precision(self) -> float | None:
        """Share of B's steps that A sees too."""
        return _ratio(self.both, self.both + self.only_b)

    @property
    def recall(self) -> float | None:
        """Share of A's steps that B sees too."""
        return _ratio(self.both, self.both + self.only_a)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.both, 2 * self.both + self.only_a + self.only_b)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa of seeing the class or not."""
        return _kappa(np.array([[self.both, self.only_a], [self.only_b, self.neither]]))

    @property
    def bout_f1_by_tolerance(self) -> float | None:
        """2 * matched / (bouts of A + bouts of B)."""
        return _ratio(2 * self.matched_by_tolerance, self.bouts_a + self.bouts_b)

    @property
    def bout_f1_by_overlap(self) -> float | None:
        """2 * matched / (bouts of A + bouts of B)."""
        return _ratio(2 * self.matched_by_overlap, self.bouts_a + self.bouts_b)

    def as_json(self) -> dict[str, Any]:
        """All figures."""
        names = ("precision", "recall", "f1", "kappa", "bout_f1_by_tolerance", "bout_f1_by_overlap")
        return asdict(self) | {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement over all videos that both have looked at."""

    num_videos: int
    seconds: float
    """That both have looked at."""
    step_seconds: float
    tolerance: float
    tiou: float
    classes: tuple[ClassAgreement, ...]
    overall: ClassAgreement
    """Steps and bouts of all classes added up (micro average)."""
    categories: tuple[str, ...]
    """C states that occur: nothing, single classes, and classes seen together."""
    confusion: np.ndarray
    """(C, C) int64 steps: A's category in the row, B's in the column."""

    @property
    def accuracy(self) -> float | None:
        """Share of the steps in which both see the same."""
        return _ratio(int(np.trace(self.confusion)), int(self.confusion.sum()))

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa over the categories, each of which excludes the others."""
        return _kappa(self.confusion)

    @property
    def macro_f1(self) -> float | None:
        """Mean of the classes' F1, of those that have one."""
        values = [item.f1 for item in self.classes if item.f1 is not None]
        return sum(values) / len(values) if values else None

    def as_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            **{name: getattr(self, name) for name in ("num_videos", "seconds", "step_seconds", "tolerance", "tiou")},
            **{name: getattr(self, name) for name in ("accuracy", "kappa", "macro_f1")},
            "overall": self.overall.as_json(),
            "classes": [item.as_json() for item in self.classes],
            "categories": list(self.categories),
            "confusion": self.confusion.tolist(),
        }


def paired_observations(a: Observed, b: Observed, *, same_file: bool = False) -> tuple[list[Pair], list[str]]:
    """The videos that both observers have, each only where both have looked.

    Args:
        a, b: what A and B have seen. Where the length of a video is known to one of them, it holds for the other.
        same_file: they are two annotators of one file. Who has annotated nothing in a video has then probably not
            looked at it, and it is left out.

    Returns:
        The pairs, and what a reader should know.
    """
    of_b = {item.video_id: item for item in b.observations}
    pairs = [(item, of_b[item.video_id]) for item in a.observations if item.video_id in of_b]
    if same_file:
        pairs = [(one, other) for one, other in pairs if one.bouts and other.bouts]
    if not pairs:
        examples = [shown(item.observations[0].video_id) if item.observations else "none" for item in (a, b)]
        raise EvaluationError(
            f"no video of {a.path} has annotations by both"
            if same_file
            else f"no video of {a.path} is in {b.path}: the first has ids like {examples[0]}, the second like "
            f"{examples[1]}; use the same ids"
        )
    notes = list(dict.fromkeys((*a.notes, *b.notes)))
    left_out = len({item.video_id for item in a.observations} | of_b.keys()) - len(pairs)
    if left_out:
        notes.append(f"{left_out} videos that only one of the two has seen are left out")
    return [_in_common(one, other, seen=(a, b)) for one, other in pairs], notes


def _in_common(one: Observation, other: Observation, *, seen: tuple[Observed, Observed]) -> Pair:
    ends = [item.stretches[-1, 1] for item in (one, other) if len(item.stretches)]
    known = [observed.lengths[one.video_id] for observed in seen if one.video_id in observed.lengths]
    whole = np.array([[0.0, min(known) if known else max(ends, default=0.0)]])
    stretches = [
        item.stretches if item.video_id in observed.lengths else whole
        for item, observed in zip((one, other), seen, strict=True)
    ]
    both = clipped(*stretches)
    return replace(one, stretches=whole).within(both), replace(other, stretches=whole).within(both)


def measure_agreement(
    pairs: Sequence[Pair], *, tolerance: float = 0.5, tiou: float = 0.5, step_seconds: float | None = None
) -> Agreement:
    """Compare two observers.

    Args:
        pairs: what A and B saw in the same stretches of the same videos.
        tolerance: seconds that the starts and the ends of two bouts may lie apart.
        tiou: temporal IoU that two bouts must have, in (0, 1].
        step_seconds: length of a step; None: of the shortest frame that the files tell of, else 0.04 s.
    """
    told = [item.frame_seconds for pair in pairs for item in pair if item.frame_seconds is not None]
    step = step_seconds or min(told, default=_STEP_SECONDS)
    steps: Counter[tuple[State, State]] = Counter()
    for a, b in pairs:
        steps += _states(a, b, step=step)
    labels = classes_of(item for pair in pairs for item in pair)
    found = [_class_agreement(label, pairs, steps, tolerance=tolerance, tiou=tiou) for label in labels]
    classes = tuple(agreement for agreement, _ in found)
    states = sorted({state for pair in steps for state in pair}, key=lambda state: (len(state), sorted(state)))
    place = {state: number for number, state in enumerate(states)}
    confusion = np.zeros((len(states), len(states)), np.int64)
    for (ours, theirs), count in steps.items():
        confusion[place[ours], place[theirs]] += count
    return Agreement(
        num_videos=len(pairs),
        seconds=sum(a.seconds for a, _ in pairs),
        step_seconds=step,
        tolerance=tolerance,
        tiou=tiou,
        classes=classes,
        overall=_added(classes, [differences for _, differences in found]),
        categories=tuple(" + ".join(sorted(state)) or NOTHING for state in states),
        confusion=confusion,
    )


def _states(a: Observation, b: Observation, *, step: float) -> Counter[tuple[State, State]]:
    """What A and B see in the middle of the video's steps, of all steps whose middle lies in an observed stretch."""
    labels = sorted(a.bouts.keys() | b.bouts.keys())
    found: Counter[tuple[State, State]] = Counter()
    for start, end in a.stretches:
        first, last = np.ceil(start / step - 0.5), np.ceil(end / step - 0.5)
        times = (np.arange(first, last) + 0.5) * step
        seen = np.stack([_is_seen(item.of(label), times) for item in (a, b) for label in labels] or [times < 0])
        states, counts = np.unique(seen, axis=1, return_counts=True)
        for state, count in zip(states.T, counts, strict=True):
            ours = frozenset(label for label, is_seen in zip(labels, state, strict=False) if is_seen)
            theirs = frozenset(label for label, is_seen in zip(labels, state[len(labels) :], strict=False) if is_seen)
            found[ours, theirs] += int(count)
    return found


def _is_seen(bouts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T,) bool: whether each time lies in a bout (N, 2), its end not included."""
    last = np.searchsorted(bouts[:, 0], times, side="right") - 1
    ends = np.append(bouts[:, 1], -np.inf)  # -1 is before the first bout
    return times < ends[last]


def _class_agreement(
    label: str, pairs: Sequence[Pair], steps: Counter[tuple[State, State]], *, tolerance: float, tiou: float
) -> tuple[ClassAgreement, np.ndarray]:
    """Agreement on one class, and the (P, 2) absolute differences of starts and ends that its means are of."""
    seen, bouts = Counter[tuple[bool, bool]](), Counter[str]()
    for (ours, theirs), count in steps.items():
        seen[label in ours, label in theirs] += count
    differences = [np.zeros((0, 2))]
    for one, other in pairs:
        a, b = one.of(label), other.of(label)
        near = match_by_tolerance(a, b, tolerance=tolerance)
        overlapping = match_by_overlap(a, b, tiou=tiou)
        points = [(row, column) for row, column in near if a[row, 0] == a[row, 1] and b[column, 0] == b[column, 1]]
        differences += [np.abs(a[row] - b[column])[None] for row, column in (*overlapping, *points)]
        bouts.update(a=len(a), b=len(b), near=len(near), overlapping=len(overlapping))
    all_differences = np.concatenate(differences)
    agreement = ClassAgreement(
        label=label,
        both=seen[True, True],
        only_a=seen[True, False],
        only_b=seen[False, True],
        neither=seen[False, False],
        bouts_a=bouts["a"],
        bouts_b=bouts["b"],
        matched_by_tolerance=bouts["near"],
        matched_by_overlap=bouts["overlapping"],
        **_mean_differences(all_differences),
    )
    return agreement, all_differences


def _added(classes: Sequence[ClassAgreement], differences: Sequence[np.ndarray]) -> ClassAgreement:
    counts = {
        field.name: sum(getattr(item, field.name) for item in classes)
        for field in fields(ClassAgreement)
        if field.name not in ("label", "start_difference", "end_difference")
    }
    every = np.concatenate([np.zeros((0, 2)), *differences])
    return ClassAgreement(label="all", **counts, **_mean_differences(every))


def _mean_differences(differences: np.ndarray) -> dict[str, Any]:
    start, end = differences.mean(0).tolist() if len(differences) else (None, None)
    return {"start_difference": start, "end_difference": end}


def _kappa(confusion: np.ndarray) -> float | None:
    """Cohen (1960): the agreement beyond that of chance; None where chance alone would agree always."""
    total = int(confusion.sum())
    by_chance = int((confusion.sum(0) * confusion.sum(1)).sum())
    if total == 0 or by_chance == total**2:
        return None
    return float((np.trace(confusion) / total - by_chance / total**2) / (1 - by_chance / total**2))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
