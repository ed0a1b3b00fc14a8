"""TriDet's head against loops over points, classes and bins; masks, labels in part, half precision, classes."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from re2tal.experiments.warm_start import class_axes
from re2tal.networks.heads import TridentHead, TridentHeadConfig, assign_targets
from re2tal.networks.heads.trident import TridentOutputs

STRIDES, LENGTHS, NUM_BINS = (1, 2, 4), (16, 8, 4), 4
ACTIONS = {
    # The second clip has one action with two labels.
    "segments": [torch.tensor([[2.0, 8.0], [9.5, 12.0]]), torch.tensor([[1.0, 5.0], [1.0, 5.0]])],
    "labels": [torch.tensor([1, 0]), torch.tensor([2, 0])],
}
NO_ACTIONS = {"segments": [torch.zeros(0, 2)] * 2, "labels": [torch.zeros(0, dtype=torch.int64)] * 2}
POINTS = {"segments": [torch.tensor([[3.0, 3.0]])] * 2, "labels": [torch.tensor([1])] * 2}


def tiny(*, num_classes: int = 3, **options: object) -> TridentHead:
    torch.manual_seed(0)
    config = TridentHeadConfig(**{"num_bins": NUM_BINS, "num_convs": 1} | options)
    return config.build(in_channels=8, num_classes=num_classes, strides=STRIDES)


def levels_and_masks(*valid: int, num_steps: int = 16, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    mask = torch.arange(num_steps) < torch.tensor(valid)[:, None]
    generator = torch.Generator().manual_seed(seed)
    masks = [mask[:, ::stride] for stride in STRIDES]
    return [
        torch.randn(*mask.shape[:1], 8, mask.shape[1], generator=generator) * mask[:, None] for mask in masks
    ], masks


def predicted(head: TridentHead, *valid: int) -> TridentOutputs:
    """In float64, with gradients of what it predicts, and offsets that differ."""
    levels, masks = levels_and_masks(*valid)
    outputs = head.double()([level.double() for level in levels], masks)
    leaves = {
        name: (getattr(outputs, name) * 20).detach().requires_grad_() for name in ("logits", "starts", "ends", "bins")
    }
    return TridentOutputs(**{**vars(outputs), **leaves})


def plain_offsets(outputs: TridentOutputs, clip: int, label: int, point: int) -> tuple[Tensor, Tensor]:
    """d = sum over b of b exp(F_b + c_b) / sum over b of exp(F_b + c_b), with F = 0 beyond the ends of the level."""
    first = max(sum(LENGTHS[:level]) for level in range(3) if sum(LENGTHS[:level]) <= point)
    last = first + LENGTHS[(0, 16, 24).index(first)] - 1
    expected = []
    for side, (responses, step) in enumerate(((outputs.starts, -1), (outputs.ends, 1))):
        above, below = 0.0, 0.0
        for b in range(NUM_BINS + 1):
            at = point + step * b
            response = responses[clip, label, at] if first <= at <= last else 0.0
            # Bins run from the first step to the last: those of a start begin with the farthest.
            weight = torch.exp(response + outputs.bins[clip, side, NUM_BINS - b if side == 0 else b, point])
            above, below = above + b * weight, below + weight
        expected.append(above / below)
    return expected[0], expected[1]


def plain_losses(
    outputs: TridentOutputs, counted: Tensor, *, power: float, smoothing: float, normalizer: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """(classification, regression), point by point."""
    classification, regression, num_positive = torch.zeros(()).double(), torch.zeros(()).double(), 0
    for clip in range(2):
        targets = assign_targets(
            outputs.points,
            segments=ACTIONS["segments"][clip],
            labels=ACTIONS["labels"][clip],
            num_classes=3,
            center_radius=1.5,
        )
        for point in range(28):
            if not counted[clip, point]:
                continue
            num_positive += int(targets.classes[point].any())
            for label in range(3):
                weight = torch.ones(()).double()
                is_action = bool(targets.classes[point, label])
                if is_action:
                    left, right = plain_offsets(outputs, clip, label, point)
                    before, after = targets.offsets[point].double()
                    shared = torch.min(left, before) + torch.min(right, after)
                    hull = torch.max(left, before) + torch.max(right, after)
                    iou = shared / (left + right + before + after - shared)
                    regression = regression + 1 - iou + (((right - left) - (after - before)) / 2 / hull) ** 2
                    weight = iou**power
                t = is_action * (1 - smoothing) + smoothing / 4
                p = torch.sigmoid(outputs.logits[clip, point, label])
                p_t = p * t + (1 - p) * (1 - t)
                entropy = -(t * p.log() + (1 - t) * (1 - p).log())
                classification = classification + weight * (0.25 * t + 0.75 * (1 - t)) * (1 - p_t) ** 2 * entropy
    begun, momentum = normalizer
    divisor = momentum * begun + (1 - momentum) * max(num_positive, 1)
    assert num_positive > 5
    return classification / divisor, regression / divisor


def plain_conv(conv: nn.Conv1d, x: list[Tensor]) -> list[Tensor]:
    """Kernel 3 over S vectors (C,); 0 beyond the ends."""
    padded = [torch.zeros_like(x[0]), *x, torch.zeros_like(x[0])]
    bias = 0 if conv.bias is None else conv.bias
    taps = [conv.weight[:, :, tap] for tap in range(3)]
    return [sum((taps[tap] @ padded[step + tap] for tap in range(3)), bias) for step in range(len(x))]


def plain_tower(convs: nn.ModuleList, last: nn.Conv1d, x: list[Tensor]) -> Tensor:
    """Convolution, layer norm, ReLU, as often as there are, and a last convolution: (C', S)."""
    for conv in convs:
        y = plain_conv(conv.conv, x)
        normed = [(v - v.mean()) / (v.var(correction=0) + 1e-6).sqrt() for v in y]
        x = [(v * conv.norm.weight + conv.norm.bias).clamp(min=0) for v in normed]
    return torch.stack(plain_conv(last, x), dim=1)


def test_predictions_and_their_gradients_equal_plain_towers_over_the_real_steps() -> None:
    head = tiny(num_convs=2).double()
    for number, scale in enumerate(head.scale):
        torch.nn.init.constant_(scale.scale, 1 + number / 2)
    levels, masks = levels_and_masks(11)
    levels = [level.double().requires_grad_() for level in levels]
    outputs, begin = head(levels, masks), 0
    for level, mask, scale in zip(levels, masks, (1, 1.5, 2), strict=True):
        real = list(level[0, :, : mask.sum()].T)
        here = slice(begin, begin + len(real))
        begin += level.shape[-1]
        bins = (scale * plain_tower(head.reg_convs, head.reg_head, real)).clamp(min=0)
        pairs = [
            (outputs.logits[0, here].T, plain_tower(head.cls_convs, head.cls_head, real)),
            (outputs.bins[0, :, :, here].flatten(0, 1), bins),
            (outputs.starts[0, :, here], plain_tower(head.cls_start_convs, head.cls_start_head, real)),
            (outputs.ends[0, :, here], plain_tower(head.cls_end_convs, head.cls_end_head, real)),
        ]
        for ours, plain in pairs:
            torch.testing.assert_close(ours, plain)
            direction = torch.randn_like(plain)
            for mine, theirs in zip(
                torch.autograd.grad(ours, [*head.parameters()], direction, retain_graph=True, allow_unused=True),
                torch.autograd.grad(plain, [*head.parameters()], direction, allow_unused=True),
                strict=True,
            ):
                if theirs is not None:
                    torch.testing.assert_close(mine, theirs)
        outside = slice(here.stop, begin)
        assert not outputs.starts[0, :, outside].any() and not outputs.ends[0, :, outside].any()


@pytest.mark.parametrize("power", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("upto", [None, 6])
def test_losses_and_their_gradients_equal_plain_loops(power: float, upto: int | None) -> None:
    head = tiny(iou_weight_power=power, label_smoothing=0.1, regression_weight=2.0, initial_normalizer=7.0)
    outputs = predicted(head, 16, 14)
    labelled = None if upto is None else looked_at(upto)
    counted = outputs.mask if labelled is None else outputs.mask & torch.cat(labelled, dim=1)
    losses = head.losses(outputs, **ACTIONS, labelled=labelled)
    classification, regression = plain_losses(outputs, counted, power=power, smoothing=0.1, normalizer=(7.0, 0.9))
    torch.testing.assert_close(losses["classification_loss"], classification)
    torch.testing.assert_close(losses["regression_loss"], 2 * regression)
    assert losses["loss"] == losses["classification_loss"] + losses["regression_loss"]
    wanted = (outputs.logits, outputs.starts, outputs.ends, outputs.bins)
    ours = torch.autograd.grad(losses["loss"], wanted)
    plain = torch.autograd.grad(classification + 2 * regression, wanted)
    outside = torch.zeros(2, 28, dtype=torch.bool) if labelled is None else ~torch.cat(labelled, dim=1)
    for side, (mine, theirs) in enumerate(zip(ours, plain, strict=True)):
        if side in (1, 2):
            theirs = theirs.masked_fill(outside[:, None], 0)
        torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-6)
        assert mine.any()


def looked_at(upto: int) -> list[Tensor]:
    """In the first clip nobody has looked from step `upto` on; in the second everywhere."""
    steps = torch.stack([torch.arange(16) < upto, torch.ones(16, dtype=torch.bool)])
    return [steps[:, ::stride] for stride in STRIDES]


def test_nothing_is_learnt_where_nobody_has_looked() -> None:
    head = tiny()
    outputs, labelled = predicted(head, 16, 16), looked_at(6)
    head.losses(outputs, **ACTIONS, labelled=labelled)["loss"].backward()
    outside = ~torch.cat(labelled, dim=1)
    gradients = (
        outputs.logits.grad,
        *(x.grad.transpose(1, 2) for x in (outputs.starts, outputs.ends) if x.grad is not None),
        outputs.bins.grad.flatten(1, 2).transpose(1, 2) if outputs.bins.grad is not None else None,
    )
    assert len(gradients) == 4
    for gradient in gradients:
        assert gradient is not None and gradient.any() and not gradient[outside].any()


def test_clips_at_which_nobody_has_looked_teach_nothing() -> None:
    head = tiny()
    nothing = [torch.zeros(2, length, dtype=torch.bool) for length in LENGTHS]
    losses = head.losses(head(*levels_and_masks(16, 9)), **ACTIONS, labelled=nothing)
    losses["loss"].backward()
    assert losses["loss"].item() == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())


@pytest.mark.parametrize("actions", [NO_ACTIONS, POINTS], ids=["none", "without length"])
def test_without_any_action_of_some_length_background_alone_is_learnt(actions: dict[str, list[Tensor]]) -> None:
    head = tiny()
    losses = head.losses(head(*levels_and_masks(16, 3)), **actions)
    losses["loss"].backward()
    assert losses["regression_loss"].item() == 0 and losses["classification_loss"].item() > 0
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())


def test_proposals_are_pairs_of_a_point_and_a_class_with_boundaries_of_their_own() -> None:
    head = tiny().eval()
    outputs = predicted(head, 16, 6)
    whole, part = head.proposals(outputs)
    assert whole.segments.shape == (28 * 3, 2) and part.scores.shape == ((6 + 3 + 2) * 3, 3)
    assert not whole.scores.requires_grad and ((whole.scores > 0).sum(1) == 1).all()
    places = (0, 7, 15, 16, 20, 27)
    for point in places:
        position, stride = outputs.points.positions[point].item(), outputs.points.strides[point].item()
        for label in range(3):
            left, right = (offset.item() for offset in plain_offsets(outputs, 0, label, point))
            score = outputs.logits[0, point, label].sigmoid()
            row = (whole.scores[:, label] - score).abs().argmin()
            assert whole.scores[row, label] == score
            found = torch.tensor([position - left * stride, position + right * stride], dtype=torch.float64)
            torch.testing.assert_close(whole.segments[row], found)


def test_only_the_best_proposals_are_kept() -> None:
    few, all_ = tiny(max_proposals=5).eval(), tiny().eval()
    levels, masks = levels_and_masks(16)
    (kept,), (found,) = (head.proposals(head(levels, masks)) for head in (few, all_))
    assert kept.scores.shape == (5, 3) and kept.segments.shape == (5, 2)
    assert torch.equal(kept.scores.amax(1), found.scores.amax(1).topk(5).values)


def test_padding_changes_nothing() -> None:
    head = tiny().eval()
    levels, masks = levels_and_masks(8, num_steps=8)
    (alone,) = head.proposals(head(levels, masks))
    longer, longer_masks = levels_and_masks(8, num_steps=16)
    for wide, narrow in zip(longer, levels, strict=True):
        wide[:, :, : narrow.shape[-1]] = narrow
        wide[:, :, narrow.shape[-1] :] = 0
    (padded,) = head.proposals(head(longer, longer_masks))
    assert torch.allclose(padded.segments, alone.segments, atol=1e-6)
    assert torch.allclose(padded.scores, alone.scores, atol=1e-6)


def test_starts_and_ends_do_not_train_the_features_that_they_are_found_in() -> None:
    head = tiny()
    levels, masks = levels_and_masks(16, 16)
    levels[0].requires_grad_()
    outputs = head(levels, masks)
    assert torch.autograd.grad(outputs.starts.sum() + outputs.ends.sum(), head.cls_end_head.weight, retain_graph=True)
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(outputs.starts.sum() + outputs.ends.sum(), levels[0], retain_graph=True)
    assert torch.autograd.grad(outputs.bins.sum(), levels[0])[0].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_predicts_and_loses_in_single(dtype: torch.dtype) -> None:
    head = tiny()
    exact = head.losses(head(*levels_and_masks(16, 9)), **ACTIONS)["loss"]
    head.loss_normalizer.fill_(100.0)
    with torch.autocast("cpu", dtype=dtype):
        outputs = head(*levels_and_masks(16, 9))
        losses = head.losses(outputs, **ACTIONS)
        assert outputs.offsets(outputs.starts, outputs.ends).dtype == torch.float32
    assert losses["loss"].dtype == torch.float32
    torch.testing.assert_close(losses["loss"], exact, rtol=0.05, atol=0.0)


def test_a_segment_that_meets_nothing_has_a_finite_gradient() -> None:
    """Where all the probability lies on the point itself the tIoU is 0, at which a power of 0.2 has no slope."""
    head = tiny(iou_weight_power=0.2)
    outputs = predicted(head, 16, 16)
    with torch.no_grad():
        outputs.starts.zero_()
        outputs.ends.zero_()
        outputs.bins.zero_()
        outputs.bins[:, 0, NUM_BINS], outputs.bins[:, 1, 0] = 1e4, 1e4
    losses = head.losses(outputs, **ACTIONS)
    losses["loss"].backward()
    assert losses["loss"].isfinite()
    for leaf in (outputs.logits, outputs.starts, outputs.ends, outputs.bins):
        assert leaf.grad is not None and leaf.grad.isfinite().all()


def test_one_class_is_enough() -> None:
    head = tiny(num_classes=1)
    outputs = head(*levels_and_masks(16, 16))
    one = {"segments": ACTIONS["segments"], "labels": [torch.zeros(2, dtype=torch.int64)] * 2}
    head.losses(outputs, **one)["loss"].backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())
    assert head.proposals(outputs)[0].scores.shape == (28, 1)


def test_the_places_of_classes_are_found() -> None:
    config = TridentHeadConfig(num_bins=4)
    axes = class_axes(config, in_channels=8, strides=STRIDES, num_classes=10)  # as many as bins of both sides
    names = ("cls_head", "cls_start_head", "cls_end_head")
    assert axes == {f"{name}.{part}": (0,) for name in names for part in ("weight", "bias")}


def test_the_last_level_reaches_as_far_as_its_bins() -> None:
    config = TridentHeadConfig(num_bins=6, first_reach=4)
    assert config.regression_ranges(STRIDES) == [(0, 4), (4, 8), (8, 24)]
    with pytest.raises(ValidationError, match="num_bins must be at least first_reach, got 3 and 4"):
        TridentHeadConfig(num_bins=3)


def test_a_new_head_gives_every_class_its_prior_probability() -> None:
    levels = [torch.zeros(1, 8, length) for length in LENGTHS]
    outputs = tiny(prior=0.02)(levels, levels_and_masks(16)[1])
    torch.testing.assert_close(outputs.logits.sigmoid(), torch.full((1, 28, 3), 0.02))
