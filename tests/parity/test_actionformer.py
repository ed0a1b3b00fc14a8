"""The pyramid and the heads against the reference's numbers."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from re2tal.networks.heads import Head, HeadConfig, HeadOutputs, assign_targets, decode
from re2tal.networks.pyramid import Pyramid, PyramidConfig
from re2tal.weights import map_names, place

PRESETS = {
    "thumos": (dict(position_code=False), dict()),
    "anet": (
        dict(position_code=True),
        dict(label_smoothing=0.1, regression_weight=2.0, initial_normalizer=200.0),
    ),
}


class Network(nn.Module):
    """Pyramid and head with the reference's parameters, under the names that the detector gives them."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        sizes = json.loads(str(arrays["config_json"]))
        pyramid_options, head_options = PRESETS[sizes["preset"]]
        self.pyramid = Pyramid(
            PyramidConfig(
                channels=sizes["out_channels"], max_steps=sizes["max_seq_len"], drop_path=0.0, **pyramid_options
            ),
            in_channels=sizes["in_channels"],
        )
        self.head = Head(
            HeadConfig(**head_options),
            in_channels=sizes["out_channels"],
            num_classes=sizes["num_classes"],
            strides=self.pyramid.strides,
        )
        stored = [name[3:] for name in arrays if name.startswith("sd:")]
        place(
            {our_name(name): torch.from_numpy(arrays[f"sd:{name}"]) for name in stored}, self, source="goldens", fix=""
        )

    def forward(self, x: Tensor, mask: Tensor) -> HeadOutputs:
        return self.head(*self.pyramid(x, mask))


def our_name(name: str) -> str:
    # A detector is told by its backbone, which these files leave out.
    return map_names([name, "backbone.model.backbone.patch_embed.proj.bias"]).ours[name]


@pytest.fixture(scope="module", params=["thumos", "anet"])
def golden(goldens: Path, request: pytest.FixtureRequest) -> SimpleNamespace:
    arrays = dict(np.load(goldens / f"actionformer_{request.param}.npz"))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype.kind in "fib"}
    batch = len(tensors["input"])
    return SimpleNamespace(
        tensors=tensors,
        build=lambda: Network(arrays).eval(),
        segments=[tensors[f"gt_segments{i}"] for i in range(batch)],
        labels=[tensors[f"gt_labels{i}"].long() for i in range(batch)],
        lengths=[tensors[f"mask{level}"].shape[1] for level in range(6)],
    )


def assert_equal_to(expected: Tensor, actual: Tensor, *, tolerance: float = 1e-5) -> None:
    """Within `tolerance` of the largest expected value."""
    assert actual.shape == expected.shape
    scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=tolerance, atol=tolerance * scale)


def test_every_parameter_has_the_reference_name(golden: SimpleNamespace) -> None:
    theirs = {our_name(name[3:]) for name in golden.tensors if name.startswith("sd:")}
    assert theirs == set(golden.build().state_dict())


def test_levels_and_masks(golden: SimpleNamespace) -> None:
    network, tensors = golden.build(), golden.tensors
    seen: list[Tensor] = []
    for norm in network.pyramid.norms:
        norm.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    levels, masks = network.pyramid(tensors["input"], tensors["mask"])
    for level, mask in enumerate(masks):
        assert_equal_to(tensors[f"proj{level}"], seen[level])
        assert torch.equal(mask, tensors[f"mask{level}"])
    assert_equal_to(tensors["neck0"], levels[0])


def test_points(golden: SimpleNamespace) -> None:
    network, tensors = golden.build(), golden.tensors
    points = network(tensors["input"], tensors["mask"]).points
    ours = torch.stack((points.positions, points.min_range, points.max_range, points.strides), dim=1)
    assert torch.equal(ours, torch.cat([tensors[f"points{level}"] for level in range(6)]))


def test_targets(golden: SimpleNamespace) -> None:
    network, tensors = golden.build(), golden.tensors
    points = network(tensors["input"], tensors["mask"]).points
    for index, (segments, labels) in enumerate(zip(golden.segments, golden.labels, strict=True)):
        targets = assign_targets(
            points, segments=segments, labels=labels, num_classes=network.head.num_classes, center_radius=1.5
        )
        expected = tensors["gt_cls"][index]
        assert torch.equal(targets.classes, expected)
        positive = expected.sum(-1) > 0
        assert_equal_to(tensors["gt_reg"][index][positive], targets.offsets[positive])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_outputs_losses_and_gradients(golden: SimpleNamespace, mode: str) -> None:
    network, tensors = golden.build().train(mode == "train"), golden.tensors
    features = tensors["input"].clone().requires_grad_()
    before = network.head.loss_normalizer.item()
    predictions = network(features, tensors["mask"])
    losses = network.head.losses(predictions, segments=golden.segments, labels=golden.labels)
    losses["loss"].backward()

    lengths = golden.lengths
    for level, (logits, offsets) in enumerate(
        zip(predictions.logits.split(lengths, 1), predictions.offsets.split(lengths, 1), strict=True)
    ):
        assert_equal_to(tensors[f"{mode}:cls{level}"], logits.transpose(1, 2))
        assert_equal_to(tensors[f"{mode}:reg{level}"], offsets.transpose(1, 2))
    for ours, theirs in (("loss", "cost"), ("classification_loss", "cls_loss"), ("regression_loss", "reg_loss")):
        assert_equal_to(tensors[f"{mode}:loss:{theirs}"], losses[ours])
    assert before == tensors[f"{mode}:loss_normalizer_before"].item()
    assert network.head.loss_normalizer.item() == pytest.approx(
        tensors[f"{mode}:loss_normalizer_after"].item(), rel=1e-6
    )
    assert_equal_to(tensors[f"{mode}:grad_input"], features.grad, tolerance=1e-4)
    parameters = dict(network.named_parameters())
    checked = [name for name in tensors if name.startswith(f"{mode}:grad:")]
    assert checked
    for name in checked:
        assert_equal_to(tensors[name], parameters[our_name(name.split(":")[2])].grad, tolerance=1e-4)


def test_proposals(golden: SimpleNamespace) -> None:
    network, tensors = golden.build(), golden.tensors
    proposals = network.head.proposals(network(tensors["input"], tensors["mask"]))
    for index, clip in enumerate(proposals):
        assert_equal_to(tensors[f"proposals{index}"], clip.segments)
        assert_equal_to(tensors[f"scores{index}"], clip.scores)


@pytest.mark.parametrize("length", ["short", "long"])
def test_proposals_of_clips_shorter_and_longer_than_in_training(golden: SimpleNamespace, length: str) -> None:
    network, tensors = golden.build(), golden.tensors
    predictions = network(tensors[f"{length}:input"], tensors[f"{length}:mask"])
    padded = int(tensors[f"{length}:padded_len"])
    assert predictions.mask.shape[1] == sum(padded // stride for stride in network.pyramid.strides)
    (clip,) = network.head.proposals(predictions)
    assert_equal_to(tensors[f"{length}:proposals"], clip.segments)
    assert_equal_to(tensors[f"{length}:scores"], clip.scores)


def test_target_offsets_decode_to_the_actions(golden: SimpleNamespace) -> None:
    network, tensors = golden.build(), golden.tensors
    points = network(tensors["input"], tensors["mask"]).points
    positive = tensors["gt_cls"].sum(-1) > 0
    decoded = decode(points, tensors["gt_reg"])
    for index, segments in enumerate(golden.segments):
        for segment in decoded[index][positive[index]]:
            assert (segment - segments).abs().amax(-1).min() < 1e-4
