"""Segment geometry against plain arithmetic."""

import pytest
import torch
from torch import Tensor

from re2tal.common.segments import paired_diou, paired_iou, segment_iou


def random_segments(count: int, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 2, generator=generator, dtype=torch.float64).mul(10).sort(dim=1).values


def plain_iou(a: list[float], b: list[float]) -> float:
    intersection = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - intersection
    return intersection / union


def plain_diou(a: list[float], b: list[float]) -> float:
    hull = max(a[1], b[1]) - min(a[0], b[0])
    return plain_iou(a, b) - ((a[0] + a[1]) / 2 - (b[0] + b[1]) / 2) ** 2 / hull**2


def test_every_pair_equals_plain_arithmetic() -> None:
    a, b = random_segments(7, seed=0), random_segments(5, seed=1)
    expected = [[plain_iou(x, y) for y in b.tolist()] for x in a.tolist()]
    torch.testing.assert_close(segment_iou(a, b), torch.tensor(expected, dtype=torch.float64))


def test_pairs_at_the_same_place_equal_plain_arithmetic() -> None:
    a, b = random_segments(9, seed=2), random_segments(9, seed=3)
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    torch.testing.assert_close(paired_iou(a, b), torch.tensor([plain_iou(*p) for p in pairs], dtype=torch.float64))
    torch.testing.assert_close(paired_diou(a, b), torch.tensor([plain_diou(*p) for p in pairs], dtype=torch.float64))


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ((0, 4), (0, 4), 1.0),
        ((0, 4), (4, 8), 0.0),
        ((0, 4), (6, 8), 0.0),
        ((0, 4), (1, 2), 0.25),
        ((1, 1), (1, 1), 0.0),
        ((1, 1), (0, 2), 0.0),
    ],
)
def test_iou_of_special_cases(a: tuple[float, float], b: tuple[float, float], iou: float) -> None:
    first, second = torch.tensor([a], dtype=torch.float32), torch.tensor([b], dtype=torch.float32)
    assert segment_iou(first, second).item() == iou == segment_iou(second, first).item()


def test_no_segments_give_an_empty_matrix() -> None:
    assert segment_iou(torch.zeros(0, 2), torch.zeros(3, 2)).shape == (0, 3)


def test_diou_pulls_segments_together_that_do_not_touch() -> None:
    segment = torch.tensor([[0.0, 1.0]], requires_grad=True)
    paired_diou(segment, torch.tensor([[5.0, 6.0]])).sum().backward()
    assert segment.grad is not None
    assert segment.grad.sum() > 0  # the centre moves towards the target


def test_gradient_is_finite_where_both_segments_are_empty() -> None:
    segment = torch.tensor([[2.0, 2.0]], requires_grad=True)
    paired_diou(segment, torch.tensor([[2.0, 2.0]])).sum().backward()
    assert segment.grad is not None
    assert segment.grad.isfinite().all()


def test_diou_gradient_equals_finite_differences() -> None:
    a, b = random_segments(6, seed=4).requires_grad_(), random_segments(6, seed=5)
    assert torch.autograd.gradcheck(lambda x: paired_diou(x, b), a)
