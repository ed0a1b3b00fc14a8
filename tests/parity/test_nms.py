"""Soft-NMS and voting against the reference's numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from re2tal.detections import NmsConfig, soft_nms


def our_config(
    *,
    min_score: float,
    max_seg_num: int,
    multiclass: bool,
    voting_thresh: float,
    use_soft_nms: bool,
    sigma: float = 0.5,
    method: int = 2,
    iou_threshold: float = 0.0,
    t1: float = 0.0,
    t2: float = 0.0,
) -> NmsConfig:
    """The reference's options as ours; it ignores voting per class, and each method ignores some thresholds."""
    thresholds: dict[str, Any]
    match (use_soft_nms, method):
        case (False, _):
            thresholds = {"decay": "hard", "iou_threshold": iou_threshold}
        case (True, 1):
            thresholds = {"decay": "linear", "iou_threshold": iou_threshold}
        case (True, 2):
            thresholds = {"decay": "gaussian"}
        case (True, 3):
            thresholds = {"decay": "gaussian", "iou_threshold": t1, "iou_threshold_slope": t2}
        case _:
            raise ValueError(method)
    return NmsConfig(
        sigma=sigma,
        min_score=min_score,
        max_segments=max_seg_num,
        per_class=multiclass,
        voting_tiou=None if multiclass or voting_thresh == 0 else voting_thresh,
        **thresholds,
    )


def test_every_case_equals_the_reference(goldens: Path) -> None:
    arrays = np.load(goldens / "nms.npz")
    cases = json.loads(str(arrays["cfgs_json"]))
    assert cases
    for name, options in cases.items():
        segments, scores, labels = soft_nms(
            torch.from_numpy(arrays["segs"]),
            scores=torch.from_numpy(arrays["scores"]),
            labels=torch.from_numpy(arrays["labels"]),
            config=our_config(**options),
        )
        assert labels.tolist() == arrays[f"{name}:labels"].tolist(), name
        np.testing.assert_allclose(scores, arrays[f"{name}:scores"], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(segments, arrays[f"{name}:segs"], rtol=1e-5, atol=1e-5, err_msg=name)
