"""Soft-NMS of a stream against soft-NMS of the whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from re2tal.common.types import Detections
from re2tal.detections import NmsConfig, StreamingNms, soft_nms

WINDOW, DISTANCE = 10.0, 4.0
Rows = list[tuple[float, float, float, int, bool]]

CONFIGS = {
    "gaussian": NmsConfig(),
    "linear": NmsConfig(decay="linear", min_score=0.05),
    "hard": NmsConfig(decay="hard", min_score=0.05),
    "threshold": NmsConfig(iou_threshold=0.2, iou_threshold_slope=0.02),
    "across classes": NmsConfig(per_class=False),
    "voting": NmsConfig(per_class=False, voting_tiou=0.6),
}


def _windows(seed: int, *, count: int, reach: float, each: int = 12, longest: float = 6.0) -> list[Detections]:
    """Random candidates; those of window k lie between `reach` before its start and 3 s behind its end."""
    rng = np.random.default_rng(seed)
    windows = []
    for number in range(count):
        start = number * DISTANCE
        begins = rng.uniform(max(start - reach, 0.0), start + WINDOW - 1, each)
        # A point of the network lies in its window, and between both ends of its segment.
        segments = np.stack((begins, np.maximum(begins, start) + rng.uniform(0.2, longest, each)), axis=1)
        windows.append(
            Detections(
                video_id="stream",
                segments=torch.from_numpy(segments).float(),
                scores=torch.from_numpy(rng.uniform(0.002, 1, each)).float(),
                labels=torch.from_numpy(rng.integers(0, 3, each)),
            )
        )
    return windows


def _streamed(
    windows: list[Detections], config: NmsConfig, *, duration: float, min_score: float = 0.0, horizon: float = 1e9
) -> tuple[Rows, StreamingNms, list[float]]:
    nms = StreamingNms(
        config, min_score=min_score, lookback_seconds=1.0, horizon_seconds=horizon, window_seconds=WINDOW
    )
    rows: Rows = []
    delays: list[float] = []
    for number, window in enumerate(windows):
        now = number * DISTANCE + WINDOW
        nms.add(window, end_seconds=now)
        final = nms.settle((number + 1) * DISTANCE, now=now)
        fresh = _rows(final.detections, final.settled)
        delays += [now - row[1] for row in fresh]
        rows += fresh
    final = nms.finish(duration)
    return rows + _rows(final.detections, final.settled), nms, delays


def _rows(found: Detections, settled: np.ndarray) -> Rows:
    return [
        (*segment, score, label, bool(flag))
        for segment, score, label, flag in zip(
            found.segments.tolist(), found.scores.tolist(), found.labels.tolist(), settled, strict=True
        )
    ]


def _offline(windows: list[Detections], config: NmsConfig, *, duration: float, min_score: float = 0.0) -> Rows:
    segments = torch.cat([window.segments for window in windows]).clamp(0, duration)
    scores, labels = (torch.cat([getattr(window, name) for window in windows]) for name in ("scores", "labels"))
    kept = soft_nms(segments, scores=scores, labels=labels, config=config)
    rows = zip(kept[0].tolist(), kept[1].tolist(), kept[2].tolist(), strict=True)
    return [(*segment, score, label, True) for segment, score, label in rows if score >= min_score]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 12), min_score=st.sampled_from([0.0, 0.1, 0.4]))
def test_what_is_final_in_a_stream_is_what_the_whole_gives(
    config: NmsConfig, seed: int, count: int, min_score: float
) -> None:
    windows = _windows(seed, count=count, reach=1.0)
    duration = (count - 1) * DISTANCE + WINDOW
    rows, nms, _ = _streamed(windows, config, duration=duration, min_score=min_score)
    assert nms.num_late == nms.num_unsettled == 0
    assert sorted(rows) == sorted(_offline(windows, config, duration=duration, min_score=min_score))


@pytest.mark.parametrize("config", [CONFIGS["gaussian"], CONFIGS["hard"], CONFIGS["across classes"]])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), reach=st.sampled_from([1.0, 4.0, 20.0]), horizon=st.sampled_from([0.0, 3.0, 20.0]))
def test_where_nothing_is_late_or_unsettled_the_stream_has_what_the_whole_has(
    config: NmsConfig, seed: int, reach: float, horizon: float
) -> None:
    windows = _windows(seed, count=8, reach=reach, each=4)
    duration = 7 * DISTANCE + WINDOW
    rows, nms, _ = _streamed(windows, config, duration=duration, min_score=0.2, horizon=horizon)
    whole = sorted(_offline(windows, config, duration=duration, min_score=0.2))
    if nms.num_late == nms.num_unsettled == 0:
        assert sorted(rows) == whole
    if sorted(rows) != whole:
        assert nms.num_late or nms.num_unsettled
    assert bool(nms.num_unsettled) or all(row[4] for row in rows)


def test_late_and_unsettled_ones_are_counted() -> None:
    late, unsettled, exact = 0, 0, 0
    for seed in range(30):
        _, nms, _ = _streamed(_windows(seed, count=8, reach=8.0, each=4), NmsConfig(), duration=38, horizon=2.0)
        late, unsettled = late + nms.num_late, unsettled + nms.num_unsettled
        _, nms, _ = _streamed(_windows(seed, count=8, reach=1.0, each=4), NmsConfig(), duration=38, horizon=100.0)
        exact += nms.num_late == nms.num_unsettled == 0
    assert late > 10 and unsettled > 10 and exact == 30


@pytest.mark.parametrize("horizon", [0.0, 2.0, 8.0])
def test_no_detection_comes_later_than_said(horizon: float) -> None:
    """Windows of 10 s every 4 s, 1 s lookback."""
    for seed in range(3):
        windows = _windows(seed, count=30, reach=3.0, each=30)
        rows, nms, delays = _streamed(windows, NmsConfig(), duration=126, horizon=horizon)
        assert delays and max(delays) <= WINDOW + 1.0 + horizon
        assert max(delays) > WINDOW  # it is no idle promise


def test_memory_does_not_grow_with_the_stream_even_where_segments_never_end() -> None:
    config = NmsConfig(per_class=False, voting_tiou=0.9)
    nms = StreamingNms(config, min_score=0.0, lookback_seconds=1.0, horizon_seconds=10.0, window_seconds=WINDOW)
    sizes = []
    for number in range(200):
        found = Detections(
            video_id="stream",
            segments=torch.tensor([[0.0, 1e9], [number * DISTANCE, 1e9], [number * DISTANCE, number * DISTANCE + 1]]),
            scores=torch.tensor([0.5, 0.6, 0.7]),
            labels=torch.tensor([0, 1, 2]),
        )
        nms.add(found, end_seconds=number * DISTANCE + WINDOW)
        written = nms.settle(number * DISTANCE, now=number * DISTANCE + WINDOW).detections
        assert (written.segments <= number * DISTANCE + WINDOW).all()
        sizes.append(len(nms))
    assert max(sizes[100:]) == max(sizes[50:100]) < 100


def test_an_origin_that_moves_changes_nothing() -> None:
    windows = _windows(1, count=12, reach=4.0)
    rows, nms, _ = _streamed(windows, NmsConfig(), duration=54, horizon=6.0)
    moved: Rows = []
    other = StreamingNms(NmsConfig(), min_score=0.0, lookback_seconds=1.0, horizon_seconds=6.0, window_seconds=WINDOW)
    origin = 0.0
    for number, window in enumerate(windows):
        now = number * DISTANCE + WINDOW - origin
        other.add(replace(window, segments=window.segments - origin), end_seconds=now)
        final = other.settle((number + 1) * DISTANCE - origin, now=now)
        moved += [(row[0] + origin, row[1] + origin, *row[2:]) for row in _rows(final.detections, final.settled)]
        if number in (5, 8):
            other.move_origin(16.0)
            origin += 16.0
    final = other.finish(54 - origin)
    moved += [(row[0] + origin, row[1] + origin, *row[2:]) for row in _rows(final.detections, final.settled)]
    assert (other.num_late, other.num_unsettled) == (nms.num_late, nms.num_unsettled)
    assert other.num_late and len(moved) == len(rows)
    for row, expected in zip(sorted(moved), sorted(rows), strict=True):
        assert row == pytest.approx(expected, abs=1e-4)


def test_segments_that_are_not_finite_are_an_error() -> None:
    nms = StreamingNms(NmsConfig(), min_score=0.0, lookback_seconds=1, horizon_seconds=1, window_seconds=1)
    broken = Detections(
        video_id="cam",
        segments=torch.tensor([[0.0, torch.nan]]),
        scores=torch.ones(1),
        labels=torch.zeros(1, dtype=torch.int64),
    )
    with pytest.raises(ValueError, match="must be finite, got NaN or infinity in 'cam'"):
        nms.add(broken, end_seconds=1.0)
