"""A diagnosis computed one prediction after the other, to compare with; and tables from rows."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from re2tal.evaluation import GroundTruth, Predictions
from re2tal.evaluation.diagnosis import ERROR_TYPES


class Row(NamedTuple):
    """An action, or a prediction if it has a score."""

    video: str
    start: float
    end: float
    label: str
    score: float = 0.0


def truth_of(rows: Sequence[Row], *, durations: dict[str, float]) -> GroundTruth:
    videos = tuple(durations)
    classes = tuple(dict.fromkeys(row.label for row in rows))
    return GroundTruth(
        video_ids=videos,
        class_names=classes,
        video_index=np.array([videos.index(row.video) for row in rows], np.int64),
        label_index=np.array([classes.index(row.label) for row in rows], np.int64),
        segments=np.array([row[1:3] for row in rows], np.float64).reshape(-1, 2),
        durations=np.array(list(durations.values()), np.float64),
    )


def predictions_of(rows: Sequence[Row]) -> Predictions:
    truth = truth_of(rows, durations=dict.fromkeys((row.video for row in rows), 1.0))
    return Predictions(
        video_ids=truth.video_ids,
        class_names=truth.class_names,
        video_index=truth.video_index,
        label_index=truth.label_index,
        segments=truth.segments,
        scores=np.array([row.score for row in rows], np.float64),
    )


class PlainDiagnosis:
    """All that one threshold says, by loops over the definitions."""

    def __init__(self, truth: Sequence[Row], found: Sequence[Row], *, tiou: float) -> None:
        self.truth, self.found, self.tiou = truth, found, tiou
        self.num_actions = Counter(row.label for row in truth)
        self.instances = len(truth) / len(self.num_actions)
        # Of each class, best first; among equal scores the last of the file first.
        self.ranked = {
            label: sorted((i for i, row in enumerate(found) if row.label == label), key=lambda i: (-found[i].score, -i))
            for label in self.num_actions
        }
        self.action_of: dict[int, int] = {}
        for order in self.ranked.values():
            for i in order:
                self._visit(i)
        self.type_of = {i: self._type(i) for order in self.ranked.values() for i in order}

    def _visit(self, i: int) -> None:
        taken = set(self.action_of.values())
        free = [
            j
            for j, action in enumerate(self.truth)
            if j not in taken and (action.video, action.label) == (self.found[i].video, self.found[i].label)
        ]
        best = max(free, key=lambda j: _iou(self.found[i], self.truth[j]), default=None)
        if best is not None and _iou(self.found[i], self.truth[best]) >= self.tiou:
            self.action_of[i] = best

    def _type(self, i: int) -> str:
        if i in self.action_of:
            return "true_positive"
        beside = [action for action in self.truth if action.video == self.found[i].video]
        overlap = max((_iou(self.found[i], action) for action in beside), default=0.0)
        labels = {action.label for action in beside if _iou(self.found[i], action) == overlap}
        is_own = self.found[i].label in labels
        if overlap >= self.tiou:
            return "double_detection" if is_own else "wrong_label"
        if overlap >= 0.1:
            return "localization" if is_own else "confusion"
        return "background"

    def group_of(self, i: int) -> int:
        label = self.found[i].label
        return self.ranked[label].index(i) // self.num_actions[label]

    def counts(self) -> dict[str, list[int]]:
        count = Counter((kind, self.group_of(i)) for i, kind in self.type_of.items())
        return {kind: [count[kind, group] for group in range(10)] for kind in ERROR_TYPES}

    def best_ap(self, *, without: str | None, normalized: bool) -> float:
        """mAP of the ten first groups, with the errors of a type taken out."""
        kept = {i for i, kind in self.type_of.items() if kind != without and self.group_of(i) < 10}
        return self.mean_ap(kept, actions=set(range(len(self.truth))), normalized=normalized)

    def mean_ap(self, kept: set[int], *, actions: set[int], normalized: bool) -> float:
        per_class = []
        for label, order in self.ranked.items():
            to_find = sum(self.truth[j].label == label for j in actions)
            if to_find:
                hits = [i in self.action_of for i in order if i in kept]
                per_class.append(_ap(hits, to_find, self.instances if normalized else to_find))
        return sum(per_class) / len(per_class)

    def not_about_others(self, actions: set[int]) -> set[int]:
        """Predictions that find none but these actions."""
        return {i for i in self.type_of if i not in self.action_of or self.action_of[i] in actions}

    def missed(self) -> set[int]:
        """Actions that nothing finds at a normalised precision above 0.05."""
        found = set()
        for label, order in self.ranked.items():
            hits = 0
            for rank, i in enumerate(order, start=1):
                hits += i in self.action_of
                recall = hits / self.num_actions[label]
                precision = recall * self.instances / (recall * self.instances + rank - hits)
                if i in self.action_of and precision > 0.05:
                    found.add(self.action_of[i])
        return set(range(len(self.truth))) - found


def _iou(a: Row, b: Row) -> float:
    overlap = max(0.0, min(a.end, b.end) - max(a.start, b.start))
    return overlap / (a.end - a.start + b.end - b.start - overlap)


def _ap(hits: list[bool], to_find: int, instances: float) -> float:
    """Every step of recall times the best precision from there on."""
    points, true = [], 0
    for rank, hit in enumerate(hits, start=1):
        true += hit
        recall = true / to_find
        points.append((hit, recall * instances / (recall * instances + rank - true)))
    return sum(max(precision for _, precision in points[k:]) for k, (hit, _) in enumerate(points) if hit) / to_find
