"""From proposals to detections in seconds."""

import pytest
import torch

from re2tal.common.types import Detections, Proposals, TimeGrid
from re2tal.detections import NmsConfig, PostprocessConfig, detect_window, merge_windows

GRID = TimeGrid(start_seconds=10.0, seconds_per_step=0.5, duration_seconds=30.0)


def proposals() -> Proposals:
    return Proposals(
        segments=torch.tensor([[0.0, 8.0], [20.0, 60.0], [-40.0, 4.0]]),
        scores=torch.tensor([[0.9, 0.0005], [0.1, 0.6], [0.3, 0.2]]),
    )


def detect(*, merged_later: bool, **options: object) -> Detections:
    config = PostprocessConfig(**options)
    return detect_window(proposals(), grid=GRID, video_id="v", config=config, merged_later=merged_later)


def test_windows_become_candidates_in_seconds_inside_the_video_best_first() -> None:
    found = detect(merged_later=True)
    assert found.video_id == "v"
    assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.3, 0.2, 0.1])
    assert found.labels.tolist() == [0, 1, 0, 1, 0]
    assert found.segments.tolist() == [[10, 14], [20, 30], [0, 12], [0, 12], [20, 30]]


def test_scores_that_are_no_numbers_are_an_error_and_not_an_empty_result() -> None:
    scores = torch.tensor([[0.9, 0.1], [float("nan"), 0.6]])
    broken = Proposals(segments=torch.tensor([[0.0, 8.0], [20.0, 60.0]]), scores=scores)
    with pytest.raises(ValueError, match="NaN for video 'v'; its weights are probably broken"):
        detect_window(broken, grid=GRID, video_id="v", config=PostprocessConfig(), merged_later=True)


def test_only_the_best_candidates_above_the_least_score_are_kept() -> None:
    assert detect(merged_later=True, max_candidates=2).scores.tolist() == pytest.approx([0.9, 0.6])
    assert detect(merged_later=True, min_score=0.25).scores.tolist() == pytest.approx([0.9, 0.6, 0.3])
    assert detect(merged_later=True, min_score=0.95).segments.shape == (0, 2)


def test_of_equal_candidates_the_first_are_kept() -> None:
    scores = torch.tensor([[0.5, 0.3], [0.3, 0.3], [0.7, 0.3], [0.0005, 0.3]])
    four = Proposals(segments=torch.tensor([[0.0, 1.0], [1, 2], [2, 3], [3, 4]]), scores=scores)
    grid = TimeGrid(start_seconds=0.0, seconds_per_step=1.0, duration_seconds=9.0)
    for count in range(1, 9):
        config = PostprocessConfig(max_candidates=count)
        found = detect_window(four, grid=grid, video_id="v", config=config, merged_later=True)
        expected = [(2, 0), (0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (3, 1)][:count]
        assert list(zip(found.segments[:, 0].tolist(), found.labels.tolist(), strict=True)) == expected


def test_whole_videos_are_suppressed_before_they_are_clamped_to_the_video() -> None:
    """As the reference does: overlaps are those of the predicted segments, not of what is left inside the video."""
    hard = NmsConfig(decay="hard", iou_threshold=0.5)
    pair = Proposals(segments=torch.tensor([[-12.0, 10.0], [0.0, 10.0]]), scores=torch.tensor([[0.9], [0.8]]))
    grid = TimeGrid(start_seconds=0.0, seconds_per_step=1.0, duration_seconds=20.0)
    config = PostprocessConfig(nms=hard)
    whole = detect_window(pair, grid=grid, video_id="v", config=config, merged_later=False)
    assert whole.segments.tolist() == [[0, 10], [0, 10]]
    window = detect_window(pair, grid=grid, video_id="v", config=config, merged_later=True)
    assert merge_windows([window], config=config).segments.tolist() == [[0, 10]]


def test_an_action_seen_in_two_windows_is_suppressed_over_both() -> None:
    config = PostprocessConfig(nms=NmsConfig(decay="hard", iou_threshold=0.5))
    one = detect_window(
        Proposals(segments=torch.tensor([[20.0, 28.0]]), scores=torch.tensor([[0.7]])),
        grid=TimeGrid(start_seconds=0.0, seconds_per_step=0.5, duration_seconds=30.0),
        video_id="v",
        config=config,
        merged_later=True,
    )
    merged = merge_windows([one, detect(merged_later=True)], config=config)
    assert merged.scores.tolist() == pytest.approx([0.9, 0.6, 0.3, 0.2, 0.1])
    assert (merged.scores[:-1] >= merged.scores[1:]).all()


def test_merging_refuses_nothing_and_several_videos() -> None:
    config = PostprocessConfig()
    with pytest.raises(ValueError, match="at least one window"):
        merge_windows([], config=config)
    other = Detections(
        video_id="w", segments=torch.zeros(0, 2), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long)
    )
    with pytest.raises(ValueError, match=r"one video, got \['v', 'w'\]; group them"):
        merge_windows([detect(merged_later=True), other], config=config)


def test_points_are_middles_that_suppress_each_other_by_distance() -> None:
    """In windows and in whole videos alike, whatever the lengths of the segments and of a step."""
    segments = torch.tensor([[0.0, 8.0], [3.0, 5.4], [9.0, 11.0], [2.0, 6.0]])  # steps of half a second
    proposals = Proposals(segments=segments, scores=torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0], [0.0, 0.6]]))
    config = PostprocessConfig(point_seconds=1.0, nms=NmsConfig(decay="linear", max_segments=10))
    grid = TimeGrid(start_seconds=10.0, seconds_per_step=0.5, duration_seconds=100.0)
    whole = detect_window(proposals, grid=grid, video_id="a", config=config, merged_later=False)
    window = detect_window(proposals, grid=grid, video_id="a", config=config, merged_later=True)
    assert torch.equal(window.segments, grid.to_seconds(segments)), "windows are merged as segments"
    # Middles at 4 and 4.2 steps lie 0.1 s apart: the IoU of a second around each is 0.9 / 1.1.
    for found in (whole, merge_windows([window], config=config)):
        assert torch.equal(found.segments[:, 0], found.segments[:, 1])
        assert found.segments[:, 0].tolist() == pytest.approx([12.0, 15.0, 12.0, 12.1])
        assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6, 0.8 * (1 - 0.9 / 1.1)], rel=1e-4)
        assert found.labels.tolist() == [0, 0, 1, 0]
