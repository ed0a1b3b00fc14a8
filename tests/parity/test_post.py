"""From proposals to detections in seconds, against the reference's numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from re2tal.common.types import Detections, Proposals, TimeGrid
from re2tal.detections import NmsConfig, PostprocessConfig, VideoScores, detect_window, merge_windows

Entry = tuple[float, float, float, float]
"""Start, end, label, score."""


@pytest.fixture(scope="module", params=["thumos", "anet"])
def case(goldens: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    expected = json.loads((goldens / f"post_{request.param}.json").read_text())
    arrays = np.load(goldens / f"actionformer_{request.param}.npz")
    return {"preset": request.param, "arrays": arrays, **expected}


def config_of(case: dict[str, Any]) -> PostprocessConfig:
    options = case["post_cfg"]["nms"]
    assert options["use_soft_nms"]
    return PostprocessConfig(
        # The reference filters by score only if there are several classes.
        min_score=0.001 if len(case["arrays"]["gt_cls"][0, 0]) > 1 else 0.0,
        nms=NmsConfig(
            sigma=options["sigma"],
            max_segments=options["max_seg_num"],
            min_score=options["min_score"],
            per_class=options["multiclass"],
            voting_tiou=None if options["multiclass"] else options["voting_thresh"],
        ),
    )


def grid_of(meta: dict[str, Any]) -> TimeGrid:
    if meta["fps"] == -1:
        return TimeGrid(
            start_seconds=0.0,
            seconds_per_step=meta["duration"] / meta["resize_length"],
            duration_seconds=meta["duration"],
        )
    return TimeGrid(
        start_seconds=(meta["window_start_frame"] + meta["offset_frames"]) / meta["fps"],
        seconds_per_step=meta["snippet_stride"] / meta["fps"],
        duration_seconds=meta["duration"],
    )


def labels_of(case: dict[str, Any]) -> VideoScores | None:
    """The reference's class-agnostic detections go through a classifier that has one label and is sure of it."""
    if case["preset"] != "anet":
        return None
    best = {meta["video_name"]: ((0, 1.0),) for meta in case["metas"]}
    return VideoScores(source=Path("pseudo classifier"), class_names=("act",), best=best)


def windows_of(case: dict[str, Any]) -> list[Detections]:
    return [
        detect_window(
            Proposals(
                segments=torch.from_numpy(case["arrays"][f"proposals{index}"]),
                scores=torch.from_numpy(case["arrays"][f"scores{index}"]),
            ),
            grid=grid_of(meta),
            video_id=meta["video_name"],
            config=config_of(case),
            merged_later=case["post_cfg"]["sliding_window"],
            video_labels=labels_of(case),
        )
        for index, meta in enumerate(case["metas"])
    ]


def rounded(detections: Detections) -> Detections:
    """As the reference rounds between its two steps: seconds to 2 decimals, scores to 4."""
    return Detections(
        video_id=detections.video_id,
        segments=torch.tensor([[round(value, 2) for value in pair] for pair in detections.segments.tolist()]),
        scores=torch.tensor([round(value, 4) for value in detections.scores.tolist()]),
        labels=detections.labels,
    )


def assert_same_detections(detections: Detections, expected: list[dict[str, Any]], names: list[str]) -> None:
    """Up to one unit in the last rounded digit, and the order among such near-equal scores."""
    assert len(detections.scores) == len(expected)
    theirs = np.array([[*entry["segment"], names.index(entry["label"]), entry["score"]] for entry in expected])
    ours = (
        torch.cat((detections.segments, detections.labels[:, None].float(), detections.scores[:, None]), dim=1)
        .double()
        .numpy()
    )
    distance = np.abs(ours[:, None] - theirs[None]) / [0.0101, 0.0101, 0.1, 0.000101]  # (N, N, 4)
    same = (distance <= 1).all(-1)
    assert same.any(0).all() and same.any(1).all()
    np.testing.assert_allclose(ours[:, 3], theirs[:, 3], atol=0.000101)


def names_of(case: dict[str, Any]) -> list[str]:
    return sorted({entry["label"] for video in case["final_results"].values() for entry in video})


def test_each_window_equals_the_reference(case: dict[str, Any]) -> None:
    windows = windows_of(case)
    assert {window.video_id for window in windows} == set(case["per_window_results"])
    for window in windows:
        assert_same_detections(window, case["per_window_results"][window.video_id], names_of(case))


def test_merged_windows_equal_the_reference_if_rounded_in_between(case: dict[str, Any]) -> None:
    windows = windows_of(case)
    if case["post_cfg"]["sliding_window"]:
        by_video = {window.video_id: [] for window in windows}
        for window in windows:
            by_video[window.video_id].append(rounded(window))
        windows = [merge_windows(group, config=config_of(case)) for group in by_video.values()]
    assert {window.video_id for window in windows} == set(case["final_results"])
    for window in windows:
        assert_same_detections(window, case["final_results"][window.video_id], names_of(case))
