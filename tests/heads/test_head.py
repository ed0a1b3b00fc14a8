"""The head's losses, its running normalizer and its proposals."""

import math

import pytest
import torch
from torch import Tensor

from re2tal.networks.heads import Head, HeadConfig, assign_targets, diou_loss, focal_loss

LENGTHS, STRIDES = [16, 8, 4], (1, 2, 4)
ONE_ACTION = {"segments": [torch.tensor([[2.0, 8.0]])] * 2, "labels": [torch.tensor([1])] * 2}
NO_ACTION = {"segments": [torch.zeros(0, 2)] * 2, "labels": [torch.zeros(0, dtype=torch.long)] * 2}


def tiny(**options: object) -> Head:
    torch.manual_seed(0)
    return Head(HeadConfig(**options), in_channels=8, num_classes=3, strides=STRIDES)


def levels_and_masks(*, batch: int = 2, valid: int = 16) -> tuple[list[Tensor], list[Tensor]]:
    mask = torch.arange(16).expand(batch, 16) < valid
    return [torch.randn(batch, 8, length) for length in LENGTHS], [mask[:, ::stride] for stride in STRIDES]


@pytest.mark.parametrize("target", [0.0, 0.1, 1.0])
def test_focal_loss_equals_its_formula(target: float) -> None:
    for logit in (-8.0, -0.5, 0.0, 2.0, 8.0):
        p = 1 / (1 + math.exp(-logit))
        p_t = p * target + (1 - p) * (1 - target)
        cross_entropy = -(target * math.log(p) + (1 - target) * math.log(1 - p))
        expected = (0.25 * target + 0.75 * (1 - target)) * (1 - p_t) ** 2 * cross_entropy
        loss = focal_loss(torch.tensor(logit, dtype=torch.float64), torch.tensor(target, dtype=torch.float64))
        assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_diou_loss_is_zero_at_the_target_and_grows_with_distance() -> None:
    target = torch.tensor([[2.0, 4.0]] * 4)
    losses = diou_loss(torch.tensor([[2.0, 4.0], [3.0, 5.0], [5.0, 7.0], [8.0, 10.0]]), target)
    assert losses[0] == 0
    assert (losses.diff() > 0).all()


def test_a_new_head_gives_every_class_its_prior_probability() -> None:
    predictions = tiny(prior=0.02)([torch.zeros(1, 8, length) for length in LENGTHS], levels_and_masks(batch=1)[1])
    torch.testing.assert_close(predictions.logits.sigmoid(), torch.full((1, 28, 3), 0.02))


def test_losses_count_only_points_inside_the_video() -> None:
    head = tiny().eval()
    levels, masks = levels_and_masks(valid=10)
    predictions = head(levels, masks)
    expected = head.losses(predictions, **ONE_ACTION)
    outside = ~predictions.mask
    predictions.logits[outside] = 50.0
    predictions.offsets[outside] = 50.0
    for name, loss in head.losses(predictions, **ONE_ACTION).items():
        assert torch.equal(loss, expected[name])


def test_normalizer_follows_the_number_of_positive_points_in_training_only() -> None:
    head = tiny(initial_normalizer=50.0, normalizer_momentum=0.8)
    predictions = head(*levels_and_masks())
    head.eval().losses(predictions, **ONE_ACTION)
    assert head.loss_normalizer.item() == 50.0
    evaluated = head.losses(predictions, **ONE_ACTION)["classification_loss"]
    trained = head.train().losses(predictions, **ONE_ACTION)["classification_loss"]
    num_positive = (head.loss_normalizer.item() - 0.8 * 50) / 0.2
    assert num_positive == pytest.approx(round(num_positive), abs=1e-4)
    assert trained.item() == pytest.approx((evaluated * num_positive / head.loss_normalizer).item(), rel=1e-5)


def test_normalizer_is_kept_in_checkpoints_as_a_float() -> None:
    head, other = tiny(), tiny()
    head.losses(head(*levels_and_masks()), **ONE_ACTION)
    other.load_state_dict(head.state_dict())
    assert other.loss_normalizer.is_floating_point()
    assert other.loss_normalizer.item() == head.loss_normalizer.item() != 100.0


def test_without_any_action_the_loss_is_finite_and_reaches_every_parameter() -> None:
    head = tiny()
    losses = head.losses(head(*levels_and_masks()), **NO_ACTION)
    losses["loss"].backward()
    assert losses["regression_loss"].item() == 0
    assert losses["classification_loss"].item() > 0
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())


def test_the_total_is_the_sum_and_the_weight_scales_only_the_regression() -> None:
    light, heavy = tiny().eval(), tiny(regression_weight=3.0).eval()
    levels, masks = levels_and_masks()
    once, thrice = (head.losses(head(levels, masks), **ONE_ACTION) for head in (light, heavy))
    torch.testing.assert_close(thrice["regression_loss"], 3 * once["regression_loss"])
    torch.testing.assert_close(thrice["classification_loss"], once["classification_loss"])
    torch.testing.assert_close(thrice["loss"], thrice["regression_loss"] + thrice["classification_loss"])


def test_label_smoothing_spreads_part_of_the_target() -> None:
    head = tiny(label_smoothing=0.3).eval()
    predictions = head(*levels_and_masks())
    plain = tiny().eval()
    smoothed_background = focal_loss(predictions.logits, torch.full_like(predictions.logits, 0.3 / 4)).sum()
    torch.testing.assert_close(head.losses(predictions, **NO_ACTION)["classification_loss"], smoothed_background)
    assert plain.losses(predictions, **NO_ACTION)["classification_loss"] != smoothed_background


def test_proposals_hold_the_valid_points_of_each_clip() -> None:
    head = tiny().eval()
    levels, masks = levels_and_masks()
    masks = [mask.clone() for mask in masks]
    for mask in masks:
        mask[1, mask.shape[1] // 2 :] = False
    whole, half = head.proposals(head(levels, masks))
    assert whole.segments.shape == (28, 2)
    assert half.segments.shape == (14, 2)
    assert half.scores.shape == (14, 3)
    assert not half.scores.requires_grad
    assert (whole.segments[:, 0] <= whole.segments[:, 1]).all()
    assert ((whole.scores >= 0) & (whole.scores <= 1)).all()


def test_predictions_are_float32_under_autocast() -> None:
    head = tiny()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = head(*levels_and_masks())
        losses = head.losses(predictions, **ONE_ACTION)
    assert predictions.logits.dtype == predictions.offsets.dtype == torch.float32
    assert losses["loss"].dtype == torch.float32


def _labelled(*, upto: int) -> list[Tensor]:
    """In the first clip nobody has looked past step `upto`; in the second everywhere."""
    steps = torch.stack([torch.arange(16) < upto, torch.ones(16, dtype=torch.bool)])
    return [steps[:, ::stride] for stride in STRIDES]


@pytest.mark.parametrize("upto", [0, 5, 9])
def test_points_where_nobody_has_looked_have_no_part_in_the_losses(upto: int) -> None:
    """Against a sum over points one by one, in plain Python."""
    head = tiny(initial_normalizer=7.0, label_smoothing=0.1).double()
    levels, masks = levels_and_masks(valid=14)
    predictions = head([level.double() for level in levels], masks)
    labelled = _labelled(upto=upto)
    counted = predictions.mask & torch.cat(labelled, dim=1)
    targets = assign_targets(
        predictions.points,
        segments=ONE_ACTION["segments"][0],
        labels=ONE_ACTION["labels"][0],
        num_classes=3,
        center_radius=head.config.center_radius,
    )
    classification, regression, num_positive = 0.0, 0.0, 0
    for clip in range(2):
        for point in range(28):
            if not counted[clip, point]:
                continue
            target = targets.classes[point].double() * 0.9 + 0.1 / 4
            classification += focal_loss(predictions.logits[clip, point], target).sum().item()
            if targets.classes[point].any():
                num_positive += 1
                position, stride = predictions.points.positions[point], predictions.points.strides[point]
                found, wanted = (
                    torch.stack((position - offsets[0] * stride, position + offsets[1] * stride)).double()[None]
                    for offsets in (predictions.offsets[clip, point], targets.offsets[point])
                )
                regression += diou_loss(found, wanted).item()
    losses = head.losses(predictions, **ONE_ACTION, labelled=labelled)
    normalizer = 0.9 * 7.0 + 0.1 * max(num_positive, 1)
    assert head.loss_normalizer.item() == pytest.approx(normalizer)
    assert losses["classification_loss"].item() == pytest.approx(classification / normalizer, rel=1e-5)
    assert losses["regression_loss"].item() == pytest.approx(regression / normalizer, rel=1e-5)


def test_the_gradient_of_points_where_nobody_has_looked_is_exactly_zero() -> None:
    head = tiny()
    predictions = head(*levels_and_masks())
    predictions.logits.retain_grad()
    predictions.offsets.retain_grad()
    labelled = _labelled(upto=5)
    head.losses(predictions, **ONE_ACTION, labelled=labelled)["loss"].backward()
    outside = ~torch.cat(labelled, dim=1)
    assert predictions.logits.grad is not None and predictions.offsets.grad is not None
    assert not predictions.logits.grad[outside].any() and not predictions.offsets.grad[outside].any()
    assert predictions.logits.grad[~outside].all() and predictions.offsets.grad[~outside].any()


def test_a_mask_of_everything_is_no_mask() -> None:
    head = tiny().eval()
    predictions = head(*levels_and_masks(valid=10))
    everything = [torch.ones(2, length, dtype=torch.bool) for length in LENGTHS]
    plain, masked = head.losses(predictions, **ONE_ACTION), head.losses(predictions, **ONE_ACTION, labelled=everything)
    assert all(torch.equal(plain[name], masked[name]) for name in plain)


def test_clips_at_which_nobody_has_looked_teach_nothing() -> None:
    head = tiny()
    nothing = [torch.zeros(2, length, dtype=torch.bool) for length in LENGTHS]
    losses = head.losses(head(*levels_and_masks()), **ONE_ACTION, labelled=nothing)
    losses["loss"].backward()
    assert losses["loss"].item() == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())


def test_the_targets_of_a_negative_are_all_zero() -> None:
    predictions = tiny()(*levels_and_masks())
    targets = assign_targets(
        predictions.points,
        segments=NO_ACTION["segments"][0],
        labels=NO_ACTION["labels"][0],
        num_classes=3,
        center_radius=1.5,
    )
    assert targets.classes.shape == (28, 3) and not targets.classes.any()
