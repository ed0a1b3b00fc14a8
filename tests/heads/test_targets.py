"""Points and targets against loops over points and actions."""

import pytest
import torch
from torch import Tensor

from re2tal.networks.heads import Points, assign_targets, decode, make_points

LENGTHS, STRIDES, REACH = [32, 16, 8], [1, 2, 4], 4.0


def points_of_three_levels() -> Points:
    return make_points(LENGTHS, strides=STRIDES, first_reach=REACH)


def plain_targets(
    segments: list[list[float]], labels: list[int], *, num_classes: int, radius: float
) -> tuple[Tensor, Tensor]:
    classes, offsets = [], []
    reach_of_level = [(0, 4), (4, 8), (8, 10_000)]
    for length, stride, (low, high) in zip(LENGTHS, STRIDES, reach_of_level, strict=True):
        for step in range(length):
            t = step * stride
            candidates = []
            for (start, end), label in zip(segments, labels, strict=True):
                middle = (start + end) / 2
                inside = max(start, middle - radius * stride) < t < min(end, middle + radius * stride)
                if inside and low <= max(t - start, end - t) <= high:
                    candidates.append((end - start, start, end, label))
            row = torch.zeros(num_classes)
            if not candidates:
                classes.append(row)
                offsets.append(torch.full((2,), torch.nan))
                continue
            shortest, start, end, _ = min(candidates, key=lambda item: item[0])
            for length_of, _, _, label in candidates:
                if length_of <= shortest + 1e-3:
                    row[label] = 1
            classes.append(row)
            offsets.append(torch.tensor([(t - start) / stride, (end - t) / stride]))
    return torch.stack(classes), torch.stack(offsets)


def test_ranges_that_overlap_begin_at_half_the_end_of_the_one_before() -> None:
    points = make_points([4, 2, 1], strides=[1, 2, 4], first_reach=4.0, overlap=2.0)
    found = dict(
        zip(
            points.strides.tolist(), zip(points.min_range.tolist(), points.max_range.tolist(), strict=True), strict=True
        )
    )
    assert found == {1: (0, 4), 2: (2, 8), 4: (4, 10_000)}


def test_all_labels_are_those_of_every_action_around_a_point() -> None:
    points = make_points([16], strides=[1], first_reach=20.0)
    segments, labels = torch.tensor([[2.0, 12.0], [4.0, 9.0], [13.0, 15.0]]), torch.tensor([0, 1, 2])
    common = {"segments": segments, "labels": labels, "num_classes": 3, "center_radius": 1.5}
    alone, together = (assign_targets(points, **common, all_labels=choice) for choice in (False, True))
    assert alone.classes[7].tolist() == [0, 1, 0] and together.classes[7].tolist() == [1, 1, 0]
    assert torch.equal(alone.offsets[7], together.offsets[7])  # of the shortest
    assert torch.equal(alone.classes[14], together.classes[14])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("radius", [0.6, 1.5])
def test_targets_equal_plain_loops(seed: int, radius: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    segments = torch.rand(12, 2, generator=generator).mul(32).sort(dim=1).values
    segments[6] = segments[2]  # one action with two labels
    labels = torch.randint(0, 3, (12,), generator=generator)
    targets = assign_targets(
        points_of_three_levels(), segments=segments, labels=labels, num_classes=3, center_radius=radius
    )
    classes, offsets = plain_targets(segments.tolist(), labels.tolist(), num_classes=3, radius=radius)
    assert torch.equal(targets.classes, classes)
    positive = classes.sum(1) > 0
    assert positive.any()
    torch.testing.assert_close(targets.offsets[positive], offsets[positive], atol=1e-4, rtol=1e-5)


def test_an_action_with_two_labels_gives_both_and_a_repeated_label_counts_once() -> None:
    targets = assign_targets(
        points_of_three_levels(),
        segments=torch.tensor([[2.0, 6.0]] * 3),
        labels=torch.tensor([0, 2, 2]),
        num_classes=4,
        center_radius=1.5,
    )
    assert targets.classes[4].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert targets.classes.max() == 1


def test_a_clip_without_actions_is_all_background() -> None:
    targets = assign_targets(
        points_of_three_levels(),
        segments=torch.zeros(0, 2),
        labels=torch.zeros(0, dtype=torch.long),
        num_classes=3,
        center_radius=1.5,
    )
    assert targets.classes.shape == (56, 3)
    assert targets.offsets.shape == (56, 2)
    assert not targets.classes.any()


def test_long_actions_belong_to_deep_levels() -> None:
    targets = assign_targets(
        points_of_three_levels(),
        segments=torch.tensor([[1.0, 5.0], [0.0, 30.0]]),
        labels=torch.tensor([0, 1]),
        num_classes=2,
        center_radius=1.5,
    )
    first, second, third = targets.classes.split(LENGTHS)
    assert first.sum(0).tolist() == [3.0, 0.0]
    assert second.sum() == 0
    assert third[:, 0].sum() == 0
    assert third[:, 1].sum() > 0


def test_decoding_undoes_the_offsets() -> None:
    points = points_of_three_levels()
    segments = torch.tensor([[2.0, 9.0], [11.0, 30.5]])
    targets = assign_targets(points, segments=segments, labels=torch.tensor([0, 1]), num_classes=2, center_radius=1.5)
    decoded = decode(points, targets.offsets)
    for label, segment in enumerate(segments):
        mine = targets.classes[:, label] == 1
        torch.testing.assert_close(decoded[mine], segment.expand(int(mine.sum()), 2))


def test_decoding_takes_leading_sizes() -> None:
    offsets = torch.rand(2, 56, 2)
    together = decode(points_of_three_levels(), offsets)
    assert torch.equal(together[1], decode(points_of_three_levels(), offsets[1]))
