"""Soft-NMS against plain loops in float64."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from re2tal.detections import NmsConfig, soft_nms, suppression

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
    if iou == 0 or iou < config.iou_threshold + config.iou_threshold_slope * length:
        return 1.0
    return {"gaussian": math.exp(-iou * iou / config.sigma), "linear": 1 - iou, "hard": 0.0}[config.decay]


def plain_soft_nms(segments: Tensor, *, scores: Tensor, labels: Tensor, config: NmsConfig) -> list[tuple[float, ...]]:
    """One pick after the other, each lowering all that are left; (start, end, score, label) of each, best first."""
    columns = (segments.double().tolist(), scores.double().tolist(), labels.tolist())
    # Of equal scores: the smaller label, then who starts and ends earlier.
    left = sorted(([*segment, score, label] for segment, score, label in zip(*columns, strict=True)), key=_tie)
    found = []
    while left:
        best = max(left, key=lambda item: item[2])
        left.remove(best)
        if best[2] < config.min_score:
            break
        found.append(tuple(best))
        for item in left:
            if not config.per_class or item[3] == best[3]:
                item[2] *= plain_factor(config, plain_iou(best, item), best[1] - best[0])
    return found[: config.max_segments]


def _tie(item: list[float]) -> tuple[float, ...]:
    start, end, _, label = item
    return label, start, end


def _same(items: dict[str, Tensor], *, config: NmsConfig) -> int:
    """Both ways give the same; how many are kept."""
    segments, scores, labels = soft_nms(**items, config=config)
    ours = torch.cat((segments, scores[:, None], labels[:, None]), dim=1)
    expected = torch.tensor(plain_soft_nms(**items, config=config)).reshape(-1, 4)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    return len(ours)


@pytest.fixture(params=["wide", "narrow"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds among many segments at once, and among hardly any."""
    if request.param == "narrow":
        monkeypatch.setattr(suppression, "_PAIRS", 3)
        monkeypatch.setattr(suppression, "_PAIRS_EACH", 0)


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("name", CONFIGS)
def test_result_equals_plain_loops(name: str) -> None:
    assert _same(candidates(150), config=CONFIGS[name]) == 17 or name != "few"


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("seed", range(40))
def test_random_candidates_of_any_kind_equal_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, spread = int(rng.integers(1, 160)), rng.choice([1.0, 30.0, 300.0])
    starts = rng.uniform(-spread, spread, count)
    lengths = rng.choice([0.0, 1.0], count, p=[0.1, 0.9]) * rng.exponential(rng.choice([1.0, 10.0]), count)
    scores = rng.beta(0.5, 3, count)
    if seed % 3 == 0:  # ties
        scores = rng.integers(1, 5, count) / 4
    if seed % 4 == 0:  # copies
        copied = rng.integers(count, size=count)
        starts, lengths, scores = starts[copied], lengths[copied], scores[copied]
    items = {
        "segments": torch.from_numpy(np.stack([starts, starts + lengths], 1)).float(),
        "scores": torch.from_numpy(scores).float(),
        "labels": torch.from_numpy(rng.integers(rng.integers(1, 6), size=count)),
    }
    for decay, threshold in (("gaussian", 0.0), ("linear", 0.0), ("hard", 0.0), ("gaussian", 0.2), ("hard", 0.4)):
        config = NmsConfig(
            decay=decay,
            sigma=float(rng.uniform(0.2, 1)),
            iou_threshold=threshold,
            iou_threshold_slope=0.03 if threshold == 0.2 else 0.0,
            min_score=float(rng.choice([1e-6, 0.001, 0.2])),
            max_segments=int(rng.choice([1, 10, 1000])),
            per_class=bool(rng.integers(2)),
        )
        # A class-agnostic tie goes to the earlier segment, whatever its label.
        items["labels"] *= config.per_class
        _same(items, config=config)


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("seed", range(40))
def test_ties_that_arise_go_to_the_earlier_segment(seed: int) -> None:
    """On whole numbers with factors of 0, so that nothing is rounded."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 30, 120)
    items = {
        "segments": torch.from_numpy(np.stack([starts, starts + rng.integers(0, 6, 120)], 1)).float(),
        "scores": torch.from_numpy(rng.integers(1, 4, 120) / 4).float(),
        "labels": torch.from_numpy(rng.integers(3, size=120)),
    }
    _same(items, config=NmsConfig(decay="hard", iou_threshold=0.25 * (seed % 3), max_segments=20 if seed % 2 else 200))


def test_what_a_broken_network_gives_is_handed_on_and_lowers_nothing() -> None:
    items = candidates(50, num_classes=1)
    items["segments"][3, 0] = math.nan
    items["segments"][4] = torch.tensor([-math.inf, math.inf])
    items["scores"][3:5] = 1.0
    segments, scores, _ = soft_nms(**items, config=NmsConfig())
    broken = ~segments.isfinite().all(1)
    assert broken.sum() == 2
    sound = [index for index in range(50) if index not in (3, 4)]
    _, expected, _ = soft_nms(**{name: column[sound] for name, column in items.items()}, config=NmsConfig())
    assert torch.equal(scores[~broken], expected)


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


@pytest.mark.parametrize("tiou", [0.3, 0.5, 0.9, 1.0])
def test_voting_equals_a_vote_of_all_candidates(tiou: float) -> None:
    items = candidates(300, num_classes=1)
    items["segments"] = torch.cat((items["segments"][:200], items["segments"][100:200].round()))
    items["segments"][::17, 1] = items["segments"][::17, 0]
    config = NmsConfig(per_class=False, max_segments=60, min_score=0.1)
    plain, _, _ = soft_nms(**items, config=config)
    moved, _, _ = soft_nms(**items, config=config.model_copy(update={"voting_tiou": tiou}))
    pairs = list(zip(items["segments"].tolist(), items["scores"].tolist(), strict=True))
    for before, after in zip(plain.tolist(), moved.tolist(), strict=True):
        votes = [(score, other) for other, score in pairs if plain_iou(before, other) >= tiou]
        total = sum(score for score, _ in votes)
        expected = [sum(score * other[side] for score, other in votes) / total for side in (0, 1)] if votes else before
        assert after == pytest.approx(expected, rel=1e-5)


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
