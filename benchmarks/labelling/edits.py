"""How much work it is to correct predictions, beside labelling from nothing.

The work is counted in actions of a person, each a key press, a click or a drag:

* what is shown: the predictions with a score from a threshold on;
* one that is right (its class, and both edges within a tolerance) takes 1 action, to accept it;
* one that is nearly right takes 1 action to change its class, and 1 for each edge to be moved, which accepts it, too;
* one that belongs to no labelled action takes 1 action, to reject it;
* a labelled action without a prediction takes 3: start, end and class. So does every one from nothing.

Watching the video is not counted: it takes the same time either way. A prediction can become a labelled action that it
overlaps, and which becomes which is chosen so that the whole takes as few actions as possible.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from re2tal.evaluation.tables import GroundTruth, Predictions

__all__ = ["ADDING", "Edits", "count_edits", "fewest_edits"]

ADDING = 3
"""Actions to label a segment from nothing: start, end, class."""


@dataclass(frozen=True, kw_only=True)
class Edits:
    """The actions that turn predictions into labels."""

    accepted: int = 0
    rejected: int = 0
    relabelled: int = 0
    moved: int = 0
    """Edges."""
    added: int = 0
    """Segments, of `ADDING` actions each."""
    labels: int = 0
    """Segments that there are in the end."""

    @property
    def total(self) -> int:
        """All actions."""
        return self.accepted + self.rejected + self.relabelled + self.moved + ADDING * self.added

    @property
    def from_nothing(self) -> int:
        """Actions to label the same without predictions."""
        return ADDING * self.labels

    def __add__(self, other: "Edits") -> "Edits":
        return Edits(**{name: value + getattr(other, name) for name, value in vars(self).items()})


def count_edits(truth: GroundTruth, found: Predictions, *, min_score: float, tolerance_seconds: float = 0.5) -> Edits:
    """The fewest actions that turn predictions into labels.

    Args:
        truth: what the labels are to be.
        found: predictions; those of other videos do not count.
        min_score: predictions below it are not shown.
        tolerance_seconds: how far an edge may be off without having to be moved.
    """
    total = Edits()
    for index, video_id in enumerate(truth.video_ids):
        rows = np.flatnonzero(truth.video_index == index)
        labels = [truth.class_names[label] for label in truth.label_index[rows]]
        shown = np.zeros(0, np.int64)
        if video_id in found.video_ids:
            of_video = found.video_index == found.video_ids.index(video_id)
            shown = np.flatnonzero(of_video & (found.scores >= min_score))
        total += _of_video(
            truth.segments[rows],
            labels,
            found.segments[shown],
            [found.class_names[label] for label in found.label_index[shown]],
            tolerance=tolerance_seconds,
        )
    return total


def fewest_edits(truth: GroundTruth, found: Predictions, *, tolerance_seconds: float = 0.5) -> tuple[float, Edits]:
    """The threshold, of 0.05, 0.10 ... 0.95, at which the fewest actions are needed, and these."""
    thresholds = [round(0.05 * step, 2) for step in range(1, 20)]
    counts = [
        (count_edits(truth, found, min_score=threshold, tolerance_seconds=tolerance_seconds), threshold)
        for threshold in thresholds
    ]
    edits, threshold = min(counts, key=lambda pair: pair[0].total)
    return threshold, edits


def _of_video(
    truth: np.ndarray, labels: Sequence[str], shown: np.ndarray, shown_labels: Sequence[str], *, tolerance: float
) -> Edits:
    import networkx  # one of torch's own requirements

    changes: dict[tuple[int, int], tuple[int, int]] = {}  # (action, prediction) -> relabelled, moved
    graph = networkx.Graph()
    for action, (start, end) in enumerate(truth):
        for prediction in np.flatnonzero((shown[:, 0] < end) & (shown[:, 1] > start)).tolist():
            moved = int((np.abs(shown[prediction] - (start, end)) > tolerance + 1e-9).sum())
            change = int(shown_labels[prediction] != labels[action]), moved
            changes[action, prediction] = change
            # What is saved over rejecting the one and adding the other.
            graph.add_edge(("action", action), ("prediction", prediction), weight=1 + ADDING - max(sum(change), 1))
    pairs = []
    for one, other in networkx.max_weight_matching(graph):
        (_, action), (_, prediction) = sorted((one, other))
        pairs.append(changes[action, prediction])
    return Edits(
        accepted=sum(change == (0, 0) for change in pairs),
        relabelled=sum(relabelled for relabelled, _ in pairs),
        moved=sum(moved for _, moved in pairs),
        rejected=len(shown) - len(pairs),
        added=len(truth) - len(pairs),
        labels=len(truth),
    )
