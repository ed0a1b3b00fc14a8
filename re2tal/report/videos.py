"""The videos of a page as columns of numbers, small enough for thousands of them in one file.

Detections of a video stand best first, in the order in which the metric visits them, so that those above a score are
the first ones, and what is right among them does not depend on the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from re2tal.common.labelled import lies_outside
from re2tal.evaluation import Predictions
from re2tal.report.quality import SCORE_DECIMALS, Quality
from re2tal.report.sources import Truth

__all__ = ["VideoTable", "best_scores", "table_videos"]

_SECOND_DECIMALS = 2
_OF_ONE_VIDEO = 200
_OF_ALL_VIDEOS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class VideoTable:
    """What the page knows of each video."""

    class_names: tuple[str, ...]
    videos: list[dict[str, Any]]
    """With keys `id`, `seconds`, `found` and, where there is ground truth, `truth` and `right`; see `table_videos`."""
    most_shown: int | None
    """Detections of one video that are in the page, where some are not; None: all are."""


def table_videos(
    *, found: Predictions | None, truth: Truth | None, quality: Quality | None, max_detections: int | None
) -> VideoTable:
    """Every video that has ground truth or detections.

    Each is {"id", "seconds", "found": {"label", "start", "end", "score"}, "truth": {"label", "start", "end"},
    "right"}, labels being places in `class_names`; `right` has one list [detection, action, ...] of pairs for every
    tIoU threshold. Videos outside the ground truth have neither `truth` nor `right`. Those that are labelled in part
    have `unjudged`, too: the detections that do not count, since they lie where nobody has looked.

    Args:
        found: the detections.
        truth: the actions.
        quality: which detection finds which action; there is one if there are `found` and `truth`.
        max_detections: of one video in the page; the best are taken. None: 200, fewer where those of all videos would
            be more than a million, with which a page still opens in a second or two.
    """
    class_names = _class_names(found, truth)
    place_of = {name: place for place, name in enumerate(class_names)}
    ids = list(dict.fromkeys([*(truth.actions.video_ids if truth else ()), *(found.video_ids if found else ())]))
    max_detections = max_detections or max(min(_OF_ONE_VIDEO, _OF_ALL_VIDEOS // max(len(ids), 1)), 1)
    found_rows = {} if found is None else _rows_of(found.video_ids, found.video_index, order=_best_first(found))
    truth_rows = {} if truth is None else _rows_of(truth.actions.video_ids, truth.actions.video_index)
    videos = []
    most = 0
    for video_id in ids:
        rows = found_rows.get(video_id, np.zeros(0, np.int64))
        most = max(most, len(rows))
        rows = rows[:max_detections]
        video: dict[str, Any] = {"id": video_id, "found": _found_columns(found, rows, place_of=place_of)}
        ends = [*video["found"]["end"]]
        if truth is not None and video_id in truth_rows:
            actions = truth_rows[video_id]
            video["truth"] = _truth_columns(truth, actions, place_of=place_of)
            ends += video["truth"]["end"]
            if quality is not None:
                video["right"] = _pairs(quality.action_of[:, rows], actions)
            if found is not None and (labelled := truth.actions.labelled.get(video_id)) is not None:
                video["unjudged"] = np.flatnonzero(lies_outside(found.segments[rows], labelled)).tolist()
        known = None if truth is None else truth.seconds.get(video_id)
        video["seconds"] = round(known if known is not None else max([*ends, 1.0]), _SECOND_DECIMALS)
        videos.append(video)
    return VideoTable(
        class_names=class_names, videos=videos, most_shown=max_detections if most > max_detections else None
    )


def best_scores(found: Predictions) -> np.ndarray:
    """The best score of every video that has detections."""
    best = np.full(len(found.video_ids), -np.inf)
    np.maximum.at(best, found.video_index, found.scores)
    return best[np.isfinite(best)]


def _class_names(found: Predictions | None, truth: Truth | None) -> tuple[str, ...]:
    """Those of the ground truth, then others that were detected; each sorted, so that colours stay from run to run."""
    names = sorted(truth.actions.class_names) if truth else []
    detected = set(found.class_names) - set(names) if found else set()
    return (*names, *sorted(detected))


def _best_first(found: Predictions) -> np.ndarray:
    """(N,) rows from the best score down; among equal ones the last of the file first, as the metric visits them."""
    order = np.arange(len(found.scores))[::-1]
    return order[np.argsort(-found.scores[order], kind="stable")]


def _rows_of(
    video_ids: Sequence[str], video_index: np.ndarray, *, order: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The rows of every video, in `order` (by default that of the table)."""
    order = np.arange(len(video_index)) if order is None else order
    together = order[np.argsort(video_index[order], kind="stable")]
    starts = np.searchsorted(video_index[together], np.arange(len(video_ids) + 1))
    return {name: together[starts[place] : starts[place + 1]] for place, name in enumerate(video_ids)}


def _found_columns(found: Predictions | None, rows: np.ndarray, *, place_of: Mapping[str, int]) -> dict[str, list[Any]]:
    if found is None:
        return {"label": [], "start": [], "end": [], "score": []}
    return {
        "label": [place_of[found.class_names[label]] for label in found.label_index[rows]],
        "start": np.round(found.segments[rows, 0], _SECOND_DECIMALS).tolist(),
        "end": np.round(found.segments[rows, 1], _SECOND_DECIMALS).tolist(),
        "score": np.round(found.scores[rows], SCORE_DECIMALS).tolist(),
    }


def _truth_columns(truth: Truth, rows: np.ndarray, *, place_of: Mapping[str, int]) -> dict[str, list[Any]]:
    actions = truth.actions
    return {
        "label": [place_of[actions.class_names[label]] for label in actions.label_index[rows]],
        "start": np.round(actions.segments[rows, 0], _SECOND_DECIMALS).tolist(),
        "end": np.round(actions.segments[rows, 1], _SECOND_DECIMALS).tolist(),
    }


def _pairs(action_of: np.ndarray, actions: np.ndarray) -> list[list[int]]:
    """Who finds whom, as places in the video's columns: for every threshold [detection, action, ...].

    Args:
        action_of: (I, N) rows of the ground truth, for the video's detections.
        actions: (M,) the video's rows of the ground truth, rising.
    """
    pairs = []
    for row in action_of:
        right = np.flatnonzero(row >= 0)
        pairs.append(np.stack([right, np.searchsorted(actions, row[right])], 1).ravel().tolist())
    return pairs
