"""Soft-NMS against plain loops in float64."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from re2tal.detections import NmsConfig, nms, soft_nms

CONFIGS = {
    "gaussian": NmsConfig(),
    "narrow": NmsConfig(sigma=0.1, min_score=0.05),
    "class-agnostic": NmsConfig(per_class=False),
    "linear": NmsConfig(decay="linear", iou_threshold=0.3),
    "hard": NmsConfig(decay="hard", iou_threshold=0.5),
    "above a threshold": NmsConfig(iou_threshold=0.4),
    "above a threshold that grows": NmsConfig(iou_threshold=0.1, iou_threshold_slope=0.05, per_class=False),
    "few": NmsConfig(max_segments=17),
}


def candidates(count: int, *, num_classes: int = 3, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    starts = torch.rand(count, generator=generator) * 60
    lengths = torch.rand(count, generator=generator) ** 2 * 20
    return {
        "segments": torch.stack((starts, starts + lengths), dim=1),
        "scores": torch.rand(count, generator=generator),
        "labels": torch.randint(num_classes, (count,), generator=generator),
    }


def plain_iou(a: list[float], b: list[float]) -> float:
    overlap = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = a[1] - a[0] + b[1] - b[0] - overlap
    return overlap / union if union > 0 else 0.0


def plain_factor(config: NmsConfig, iou: float, length: float) -> float:
    if iou < config.iou_threshold + config.iou_threshold_slope * length:
        return 1.0
    return {"gaussian": math.exp(-iou * iou / config.sigma), "linear": 1 - iou, "hard": 0.0}[config.decay]


def plain_soft_nms(segments: Tensor, *, scores: Tensor, labels: Tensor, config: NmsConfig) -> list[tuple[float, ...]]:
    left = [
        list(item) for item in zip(segments.double().tolist(), scores.double().tolist(), labels.tolist(), strict=True)
    ]
    found = []
    while left:
        best = max(left, key=lambda item: item[1])
        left.remove(best)
        if best[1] < config.min_score:
            break
        found.append((*best[0], best[1], best[2]))
        for item in left:
            if not config.per_class or item[2] == best[2]:
                item[1] *= plain_factor(config, plain_iou(best[0], item[0]), best[0][1] - best[0][0])
    return found[: config.max_segments]


@pytest.mark.parametrize("whole_matrix", [10_000, 0], ids=["matrix", "rows"])
@pytest.mark.parametrize("name", CONFIGS)
def test_result_equals_plain_loops(name: str, whole_matrix: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nms, "_WHOLE_MATRIX", whole_matrix)
    items, config = candidates(150), CONFIGS[name]
    segments, scores, labels = soft_nms(**items, config=config)
    ours = torch.cat((segments, scores[:, None], labels[:, None]), dim=1)
    expected = torch.tensor(plain_soft_nms(**items, config=config))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    assert len(ours) == 17 or name != "few"


def test_stopping_early_changes_nothing() -> None:
    items = candidates(400, num_classes=20)
    everything = soft_nms(**items, config=NmsConfig(max_segments=400))
    best = soft_nms(**items, config=NmsConfig(max_segments=25))
    for full, cut in zip(everything, best, strict=True):
        assert torch.equal(full[:25], cut)


def test_the_order_of_the_candidates_does_not_matter_even_for_equal_scores() -> None:
    items = candidates(80)
    items["scores"] = (items["scores"] * 5).round() / 5
    expected = soft_nms(**items, config=NmsConfig())
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    actual = soft_nms(**{name: value[order] for name, value in items.items()}, config=NmsConfig())
    for a, b in zip(actual, expected, strict=True):
        assert torch.equal(a, b)


def test_classes_do_not_suppress_each_other_unless_asked_to() -> None:
    items = {
        "segments": torch.tensor([[0.0, 10.0], [0.0, 10.0]]),
        "scores": torch.tensor([0.9, 0.8]),
        "labels": torch.tensor([0, 1]),
    }
    _, scores, labels = soft_nms(**items, config=NmsConfig())
    assert scores.tolist() == pytest.approx([0.9, 0.8])
    assert labels.tolist() == [0, 1]
    _, scores, _ = soft_nms(**items, config=NmsConfig(per_class=False))
    assert scores.tolist() == pytest.approx([0.9, 0.8 * math.exp(-1 / 0.7)])


def test_arguments_are_left_as_they_were() -> None:
    items = candidates(50)
    copies = {name: value.clone() for name, value in items.items()}
    soft_nms(**items, config=NmsConfig())
    for name, value in items.items():
        assert torch.equal(value, copies[name])


@pytest.mark.parametrize("per_class", [True, False])
def test_no_candidates_give_no_detections(per_class: bool) -> None:
    config = NmsConfig(per_class=per_class, voting_tiou=None if per_class else 0.9)
    segments, scores, labels = soft_nms(**candidates(0), config=config)
    assert segments.shape == (0, 2)
    assert scores.shape == labels.shape == (0,)


def test_nothing_above_the_least_score_gives_no_detections() -> None:
    items = candidates(10)
    _, scores, _ = soft_nms(**items | {"scores": items["scores"] * 1e-4}, config=NmsConfig())
    assert len(scores) == 0


def test_voting_moves_a_segment_to_the_weighted_mean_of_its_near_copies() -> None:
    segments, scores, _ = soft_nms(
        torch.tensor([[0.0, 10.0], [0.5, 10.5], [20.0, 30.0]]),
        scores=torch.tensor([0.9, 0.3, 0.5]),
        labels=torch.zeros(3, dtype=torch.long),
        config=NmsConfig(per_class=False, voting_tiou=0.8, decay="hard", iou_threshold=0.5),
    )
    moved = 0.3 * 0.5 / 1.2
    np.testing.assert_allclose(segments, [[moved, 10 + moved], [20.0, 30.0]], rtol=1e-6)
    assert scores.tolist() == pytest.approx([0.9, 0.5])


def test_voting_leaves_empty_segments_alone() -> None:
    segments, _, _ = soft_nms(
        torch.tensor([[3.0, 3.0], [5.0, 6.0]]),
        scores=torch.tensor([0.9, 0.5]),
        labels=torch.zeros(2, dtype=torch.long),
        config=NmsConfig(per_class=False, voting_tiou=0.8),
    )
    assert segments.tolist() == [[3.0, 3.0], [5.0, 6.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voting_tiou": 0.7}, "segment voting is for class-agnostic suppression.*set per_class=False"),
        ({"sigma": 0}, "greater than 0"),
        ({"min_score": 0}, "greater than 0"),
        ({"decay": "gausian"}, "gaussian"),
        ({"voting_thresh": 0.7}, "voting_thresh"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NmsConfig(**options)
