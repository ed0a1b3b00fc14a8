"""The whole network on a backbone of two lines."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from re2tal.common.types import Batch, PixelBatch, Proposals, TimeGrid
from re2tal.networks.detector import Detector
from re2tal.networks.heads import Head, HeadConfig, HeadOutputs
from re2tal.networks.pyramid import Pyramid, PyramidConfig

STEPS, NUM_CLASSES = 32, 2


class MeanColour(nn.Module):
    """Frames -> mean colour per step -> C channels."""

    out_channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, self.out_channels)

    def forward(self, frames: Tensor, num_steps: int) -> Tensor:
        colour = F.interpolate(frames.float().mean((3, 4)) / 255, num_steps)  # (B, 3, S)
        return self.linear(colour.transpose(1, 2)).transpose(1, 2)


def build() -> Detector:
    torch.manual_seed(0)
    pyramid = Pyramid(
        PyramidConfig(channels=16, num_heads=2, arch=(1, 1, 2), max_steps=STEPS, drop_path=0.0),
        in_channels=MeanColour.out_channels,
    )
    head = Head(HeadConfig(initial_normalizer=5.0), in_channels=16, num_classes=NUM_CLASSES, strides=pyramid.strides)
    return Detector(MeanColour(), pyramid=pyramid, head=head)


def batch(*, seed: int = 0, size: int = 4, valid: int = STEPS) -> Batch:
    """Dark clips with one action each: red light (class 0) or green light (class 1)."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.zeros(size, 3, STEPS, 2, 2, dtype=torch.uint8)
    segments, labels = [], []
    for clip in range(size):
        start = int(torch.randint(2, 18, (), generator=generator))
        length = int(torch.randint(4, 12, (), generator=generator))
        frames[clip, clip % NUM_CLASSES, start : start + length] = 200
        segments.append(torch.tensor([[start - 0.5, start + length - 0.5]]))
        labels.append(torch.tensor([clip % NUM_CLASSES]))
    return PixelBatch(
        video_ids=tuple(f"v{clip}" for clip in range(size)),
        frames=frames,
        mask=torch.arange(STEPS).expand(size, STEPS) < valid,
        grids=(TimeGrid(start_seconds=0.0, seconds_per_step=1.0, duration_seconds=float(STEPS)),) * size,
        segments=tuple(segments),
        labels=tuple(labels),
    )


def test_training_gives_losses_whose_gradient_reaches_every_parameter() -> None:
    detector = build().train()
    losses = detector(batch())
    assert set(losses) == {"loss", "classification_loss", "regression_loss"}
    losses["loss"].backward()
    missing = [name for name, parameter in detector.named_parameters() if parameter.grad is None]
    assert missing == []
    assert detector.backbone.linear.weight.grad.any()


def test_testing_gives_the_proposals_of_every_clip_without_a_graph() -> None:
    detector = build().eval()
    found = detector(batch(valid=20))
    assert len(found) == 4
    for clip in found:
        assert isinstance(clip, Proposals)
        assert len(clip.scores) == 20 + 10 + 5
        assert clip.scores.shape[1] == NUM_CLASSES
        assert not clip.segments.requires_grad


def test_validation_loss_is_available_in_testing_mode_and_moves_nothing() -> None:
    detector = build().eval()
    before = copy.deepcopy(detector.state_dict())
    with torch.no_grad():
        first, second = detector.loss(batch()), detector.loss(batch())
    assert torch.equal(first["loss"], second["loss"])
    for name, value in detector.state_dict().items():
        assert torch.equal(value, before[name])


def test_pyramid_gets_float32_from_a_backbone_of_half_precision() -> None:
    detector = build().eval()
    seen: list[torch.dtype] = []
    detector.pyramid.register_forward_pre_hook(lambda _module, args: seen.append(args[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detector(batch())
    assert seen == [torch.float32]
    assert found[0].segments.dtype == torch.float32


def test_it_learns_to_find_planted_actions() -> None:
    detector = build().train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-2)
    for step in range(80):
        optimizer.zero_grad()
        detector(batch(seed=step))["loss"].backward()
        optimizer.step()
    unseen = batch(seed=1000)
    for clip, segments, labels in zip(detector.eval()(unseen), unseen.segments, unseen.labels, strict=True):
        best = int(clip.scores.max(dim=1).values.argmax())
        assert int(clip.scores[best].argmax()) == int(labels[0])
        torch.testing.assert_close(clip.segments[best], segments[0], atol=1.0, rtol=0)


def test_state_goes_round() -> None:
    detector, other = build().eval(), build().eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(detector.state_dict())
    for a, b in zip(detector(batch()), other(batch()), strict=True):
        assert torch.equal(a.segments, b.segments)
    assert {name.split(".")[0] for name in detector.state_dict()} == {"backbone", "pyramid", "head"}


def test_a_head_for_other_levels_is_refused() -> None:
    detector = build()
    head = Head(HeadConfig(), in_channels=16, num_classes=2, strides=(1, 2))
    with pytest.raises(ValueError, match=r"got \(1, 2\) and \(1, 2, 4\); build the head with strides=pyramid.strides"):
        Detector(detector.backbone, pyramid=detector.pyramid, head=head)


def test_what_lies_where_nobody_has_looked_changes_no_loss() -> None:
    """Another action there, or none: the loss is that of what is labelled, on every level."""
    detector = build().eval()
    whole = batch(size=1)
    labelled = torch.arange(STEPS)[None] < 20
    early = (torch.tensor([[2.5, 8.5]]),)
    also_late = (torch.tensor([[2.5, 8.5], [21.5, 30.5]]),)
    label = torch.tensor([0])
    one = replace(whole, segments=early, labels=(label,), labelled=labelled)
    two = replace(whole, segments=also_late, labels=(label.repeat(2),), labelled=labelled)
    with torch.no_grad():
        losses = [detector.loss(given)["loss"] for given in (one, two, replace(one, labelled=None))]
    assert torch.equal(losses[0], losses[1]) and losses[0] < losses[2]


def test_a_head_that_cannot_leave_points_out_is_named() -> None:
    class OldHead(Head):
        def losses(  # type: ignore[override]
            self, predictions: HeadOutputs, *, segments: Sequence[Tensor], labels: Sequence[Tensor]
        ) -> dict[str, Tensor]:
            return super().losses(predictions, segments=segments, labels=labels)

    detector = build()
    detector.head = OldHead(HeadConfig(), in_channels=16, num_classes=NUM_CLASSES, strides=detector.head.strides)
    assert detector.loss(batch())["loss"].isfinite()
    with pytest.raises(ValueError, match="`losses` of OldHead takes no `labelled`; add it"):
        detector.loss(replace(batch(), labelled=torch.ones(4, STEPS, dtype=torch.bool)))
