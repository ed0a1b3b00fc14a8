"""Which prediction finds which action.

N predictions, M actions, P (prediction, action) pairs, I thresholds.

Within a class, predictions are visited from the best score down. Each takes the action of its video
that it overlaps most among those that are still free and overlap it enough, and counts as true; a
prediction that finds none counts as false.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from re2tal.common.labelled import lies_outside
from re2tal.evaluation.tables import EvaluationError, GroundTruth, Predictions

__all__ = ["Ranked", "best_overlaps", "first_to_reach", "match_actions", "rank_predictions"]

# Pairs whose overlap is computed at once; bounds the memory for many predictions in crowded videos, and what fits into
# the processor's cache is faster.
_PAIRS_AT_ONCE = 30_000


@dataclass(frozen=True, kw_only=True, repr=False)
class Ranked:
    """The predictions that count: class by class, the best of each first, with the ground truth's numbers."""

    row: np.ndarray
    """(N,) int64, their places in `Predictions`."""
    video: np.ndarray
    """(N,) int64 into the ground truth's videos; -1 for other videos."""
    label: np.ndarray
    """(N,) int64 into the ground truth's classes, ascending."""
    segments: np.ndarray
    """(N, 2) float64, seconds."""
    num_other_videos: int
    """Predictions left out because their video is not evaluated."""
    num_other_classes: int
    """Predictions left out because no evaluated video has their class."""
    num_unlabelled: int
    """Predictions left out because more than half of them lies where nobody has looked."""

    def __len__(self) -> int:
        return len(self.row)

    def where(self, kept: np.ndarray) -> "Ranked":
        """The predictions that `kept` (N,) bool says, in the same order."""
        columns = {name: getattr(self, name)[kept] for name in ("row", "video", "label", "segments")}
        return replace(self, **columns)


def rank_predictions(
    ground_truth: GroundTruth, predictions: Predictions, *, count_other_videos: bool = False
) -> Ranked:
    """Match videos and classes by name, leave out what does not count, and sort.

    Args:
        ground_truth: The labelled actions of the evaluated videos.
        predictions: Scored segments; order does not matter, except among equal scores.
        count_other_videos: Keep predictions for videos outside the evaluated subset, where they find nothing.
            Predictions for blocked videos are left out either way.
    """
    problems = ground_truth.problems
    if not len(ground_truth.segments):
        raise EvaluationError(
            f"the metric needs at least one labelled action, got {ground_truth!r}; check the subset and the file"
            + (f" ({len(problems)} annotations are left out: {problems[0]})" if problems else "")
        )
    video, label = _matched_names(ground_truth, predictions)
    blocked = np.array([name in ground_truth.blocked for name in predictions.video_ids], bool)
    left_out = (video < 0) & (blocked[predictions.video_index] | (not count_other_videos))
    kept = ~left_out & (label >= 0)
    unlabelled = _unlabelled(ground_truth, predictions, video=np.where(kept, video, -1))
    kept &= ~unlabelled

    # Among equal scores the last one of the file comes first, as in the public evaluation code, which reads an
    # ascending sort backwards.
    order = np.flatnonzero(kept)[::-1]
    order = order[np.argsort(-predictions.scores[order], kind="stable")]
    # Small whole numbers are sorted by counting them.
    order = order[np.argsort(label[order].astype(np.min_scalar_type(len(ground_truth.class_names))), kind="stable")]
    return Ranked(
        row=order,
        video=video[order],
        label=label[order],
        segments=predictions.segments[order],
        num_other_videos=int(left_out.sum()),
        num_other_classes=int(((label < 0) & ~left_out).sum()),
        num_unlabelled=int(unlabelled.sum()),
    )


def _unlabelled(ground_truth: GroundTruth, predictions: Predictions, *, video: np.ndarray) -> np.ndarray:
    """(N,) bool: predictions of which more than half lies where nobody has looked; `video` (N,) is -1 for others."""
    found = np.zeros(len(video), bool)
    for number, name in enumerate(ground_truth.video_ids if ground_truth.labelled else ()):
        if name in ground_truth.labelled:
            rows = np.flatnonzero(video == number)
            found[rows] = lies_outside(predictions.segments[rows], ground_truth.labelled[name])
    return found


def match_actions(ground_truth: GroundTruth, ranked: Ranked, *, tious: Sequence[float]) -> np.ndarray:
    """The action that each prediction finds, at each threshold: (I, N) int32, -1 for false predictions."""
    num_videos = len(ground_truth.video_ids)
    action_cell = ground_truth.label_index * num_videos + ground_truth.video_index
    cell = np.where(ranked.video < 0, -1, ranked.label * num_videos + ranked.video)
    found = []
    for prediction, action in _pairs(cell, action_cell):
        iou = _paired_iou(ranked.segments, prediction, ground_truth.segments, action)
        reaches = np.flatnonzero(iou >= min(tious))
        found.append(_best_first(prediction[reaches].astype(np.int32), action[reaches].astype(np.int32), iou[reaches]))
    prediction, action, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
    matches = np.empty((len(tious), len(ranked)), np.int32)
    for row, tiou in enumerate(tious):
        reaches = np.flatnonzero(iou >= tiou)
        matches[row] = _assign(prediction[reaches], action[reaches], len(ranked), len(action_cell))
    return matches


def best_overlaps(ground_truth: GroundTruth, ranked: Ranked) -> tuple[np.ndarray, np.ndarray]:
    """The highest tIoU of each prediction with the actions of its video, taken or free.

    Returns:
        (N,) with actions of any class, (N,) with those of the prediction's own class; 0 where there is none.
    """
    of_any_class, of_own_class = np.zeros(len(ranked)), np.zeros(len(ranked))
    for prediction, action in _pairs(ranked.video, ground_truth.video_index):
        iou = _paired_iou(ranked.segments, prediction, ground_truth.segments, action)
        own = ranked.label[prediction] == ground_truth.label_index[action]
        np.maximum.at(of_any_class, prediction, iou)
        np.maximum.at(of_own_class, prediction[own], iou[own])
    return of_any_class, of_own_class


def first_to_reach(
    ground_truth: GroundTruth, ranked: Ranked, *, cell: np.ndarray, action_cell: np.ndarray, tious: Sequence[float]
) -> np.ndarray:
    """Which of the predictions of its cell, counted from the best, is the first to overlap each action enough.

    Args:
        ground_truth: With M actions.
        ranked: N predictions.
        cell: (N,) int64, such as a number for each video, or each class of a video; -1 is none.
        action_cell: (M,) int64 of the actions, from 0 on.
        tious: I thresholds; actions may share a prediction.

    Returns:
        (I, M) int64; larger than any count where none does.
    """
    by_cell = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[by_cell], cell)
    place = np.empty_like(by_cell)
    place[by_cell] = np.arange(len(cell))
    place -= starts  # (N,) from the best of its cell
    first = np.full((len(tious), len(action_cell)), np.iinfo(np.int64).max)
    for prediction, action in _pairs(cell, action_cell):
        iou = _paired_iou(ranked.segments, prediction, ground_truth.segments, action)
        for row, tiou in enumerate(tious):
            reaches = iou >= tiou
            np.minimum.at(first[row], action[reaches], place[prediction[reaches]])
    return first


def _matched_names(ground_truth: GroundTruth, predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """The predictions' videos and labels as the ground truth numbers them, -1 where it has none (each (N,))."""
    video_number = {name: index for index, name in enumerate(ground_truth.video_ids)}
    class_number = {name: index for index, name in enumerate(ground_truth.class_names)}
    video_of = np.array([video_number.get(name, -1) for name in predictions.video_ids], np.int64)
    class_of = np.array([class_number.get(name, -1) for name in predictions.class_names], np.int64)
    return video_of[predictions.video_index], class_of[predictions.label_index]


def _pairs(cell: np.ndarray, action_cell: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of a prediction and an action of one cell, in pieces that fit into memory.

    Args:
        cell: (N,) int64 of the predictions; -1 is no cell.
        action_cell: (M,) int64 of the actions, from 0 on.

    Yields:
        Indices of the predictions, ascending, and of the actions. At least one piece, if an empty one.
    """
    by_cell = np.argsort(action_cell, kind="stable")
    cells, first_of, count_of = np.unique(action_cell[by_cell], return_index=True, return_counts=True)
    place = np.minimum(np.searchsorted(cells, cell), len(cells) - 1)
    first, count = first_of[place], np.where(cells[place] == cell, count_of[place], 0)
    # Predictions from split[i] to split[i + 1] have about _PAIRS_AT_ONCE pairs.
    total = np.cumsum(count)
    num_chunks = (int(total[-1]) if len(total) else 0) // _PAIRS_AT_ONCE + 1
    split = np.searchsorted(total, np.arange(1, num_chunks) * _PAIRS_AT_ONCE)
    for start, stop in zip([0, *split], [*split, len(count)], strict=True):
        here = count[start:stop]
        prediction = np.repeat(np.arange(start, stop), here)
        within = np.arange(len(prediction)) - np.repeat(np.cumsum(here) - here, here)
        yield prediction, by_cell[first[prediction] + within]


def _paired_iou(a: np.ndarray, of_a: np.ndarray, b: np.ndarray, of_b: np.ndarray) -> np.ndarray:
    """IoU of P pairs of segments; 1 for two equal ones, empty ones too.

    Args:
        a, b: (N, 2), (M, 2).
        of_a, of_b: (P,) which segment of each makes the pair.
    """
    a_start, a_end, b_start, b_end = a[of_a, 0], a[of_a, 1], b[of_b, 0], b[of_b, 1]
    intersection = np.clip(np.minimum(a_end, b_end) - np.maximum(a_start, b_start), 0, None)
    union = (a_end - a_start) + (b_end - b_start) - intersection
    equal = ((a_start == b_start) & (a_end == b_end)).astype(np.float64)
    return np.divide(intersection, union, out=equal, where=union > 0)


def _best_first(
    prediction: np.ndarray, action: np.ndarray, iou: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (P,), sorted by prediction, with those of each prediction from high IoU to low."""
    repeats = prediction[1:] == prediction[:-1]
    several = np.flatnonzero(np.append(repeats, False) | np.insert(repeats, 0, False))
    order = np.arange(len(prediction))
    order[several] = several[np.lexsort((-iou[several], prediction[several]))]
    return prediction, action[order], iou[order]


def _assign(pair_prediction: np.ndarray, pair_action: np.ndarray, num_predictions: int, num_actions: int) -> np.ndarray:
    """The action that each prediction finds: (num_predictions,) int32, -1 for none.

    The visit in order of score is done for all predictions at once: in each round those are accepted whose best
    action left is one that no better prediction could take instead. They and their actions leave the game; others
    may then find that their best action left is another one.

    Args:
        pair_prediction, pair_action: (P,), sorted by prediction, then from high IoU to low.
    """
    found = np.full(num_predictions, -1, np.int32)
    first = np.empty(num_actions, np.int64)
    taken = np.zeros(num_actions, bool)
    while len(pair_prediction):
        place = np.arange(len(pair_prediction))
        first[pair_action[::-1]] = place[::-1]  # of several values for one place, the last one stays
        wins = first[pair_action] == place
        wins[1:] &= pair_prediction[1:] != pair_prediction[:-1]
        winner = np.flatnonzero(wins)
        found[pair_prediction[winner]] = pair_action[winner]
        taken[pair_action[winner]] = True
        remaining = np.flatnonzero((found[pair_prediction] < 0) & ~taken[pair_action])
        pair_prediction, pair_action = pair_prediction[remaining], pair_action[remaining]
    return found
