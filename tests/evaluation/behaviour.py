"""Annotations with bouts of behaviour, for tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.evaluation.bouts import BoutRules, Observation, Observed, read_observed

Bouts = Sequence[tuple[float, float, str]]


def write(path: Path, videos: Mapping[str, Bouts], *, annotator: str | None = None, **entry: Any) -> Path:
    """An annotation file of videos of 100 s."""
    who = {} if annotator is None else {"annotator": annotator}
    database = {
        video: {
            "subset": "training",
            "duration": 100.0,
            **entry,
            "annotations": [{"segment": [start, end], "label": label, **who} for start, end, label in bouts],
        }
        for video, bouts in videos.items()
    }
    path.write_text(json.dumps({"database": database}))
    return path


def observed(path: Path, videos: Mapping[str, Bouts], **entry: Any) -> Observed:
    return read_observed(write(path, videos, **entry), rules=BoutRules())


def observation(
    bouts: Mapping[str, Sequence[tuple[float, float]]], *, stretches: Sequence[tuple[float, float]] = ((0, 100),)
) -> Observation:
    return Observation(
        video_id="a",
        stretches=np.array(stretches, np.float64),
        bouts={label: np.array(segments, np.float64).reshape(-1, 2) for label, segments in bouts.items()},
    )


def random_bouts(rng: np.random.Generator, *, count: int, length: float = 100.0) -> np.ndarray:
    """(N, 2) bouts of one class on a grid of tenths, in order and apart; some are points."""
    times = np.sort(rng.choice(int(length * 10), 2 * count, replace=False)) / 10
    table = times.reshape(-1, 2)
    is_point = rng.random(count) < 0.1
    return np.where(is_point[:, None], table[:, :1], table)
