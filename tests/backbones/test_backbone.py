"""Backbones turn raw frames into features on the step grid, at the sizes and counts of the published networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from re2tal.networks.backbones import (
    Backbone,
    BackboneConfig,
    PathwayConfig,
    SlowFastConfig,
    SwinConfig,
    build_backbone,
)
from re2tal.networks.backbones.pixels import MEAN, STD
from re2tal.reversible import reconstruction_error

SMALL_SLOWFAST = SlowFastConfig(
    blocks=(1, 2),
    slow=PathwayConfig(base_channels=4, stem_kernel=(1, 3, 3), temporal_stages=(False, True)),
    fast=PathwayConfig(base_channels=2, stem_kernel=(3, 3, 3), temporal_stages=(True, True)),
)
SMALL_SWIN = SwinConfig(embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=(2, 3, 3))


def frames(*, num_frames: int = 8) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, num_frames, 32, 40), dtype=torch.uint8)


@pytest.mark.parametrize("reversible", [False, True])
@pytest.mark.parametrize("config", [SMALL_SLOWFAST, SMALL_SWIN], ids=["slowfast", "swin"])
def test_features_lie_on_the_step_grid(config: BackboneConfig, reversible: bool) -> None:
    backbone = build_backbone(config.model_copy(update={"reversible": reversible}))
    features = backbone(frames(), 5)
    assert features.shape == (2, backbone.out_channels, 5)
    assert features.dtype == torch.float32
    features.sum().backward()
    assert (reconstruction_error(backbone) is None) is not reversible


def test_features_are_normalised_pooled_and_interpolated() -> None:
    backbone = build_backbone(SMALL_SLOWFAST).eval()
    clip = frames()
    normalised = torch.stack([(clip[:, c].float() - MEAN[c]) / STD[c] for c in range(3)], dim=1)
    slow, fast = (F.interpolate(x.mean((3, 4)), size=6, mode="linear") for x in backbone.network(normalised))
    assert slow.shape[1] > fast.shape[1]  # slow first
    torch.testing.assert_close(backbone(clip, 6), torch.cat([slow, fast], dim=1))


@pytest.mark.parametrize("reversible", [False, True])
@pytest.mark.parametrize(
    ("config", "parameters", "shapes"),
    [
        (SwinConfig(), 27_850_470, [(1, 768, 8, 2, 2)]),
        (SlowFastConfig(), 61_990_312, [(1, 2048, 4, 2, 2), (1, 256, 16, 2, 2)]),
    ],
    ids=["swin", "slowfast"],
)
def test_published_networks_have_their_size(
    config: BackboneConfig, parameters: int, shapes: list[tuple[int, ...]], reversible: bool
) -> None:
    backbone = build_backbone(config.model_copy(update={"reversible": reversible}))
    assert sum(p.numel() for p in backbone.parameters()) == parameters
    with torch.no_grad():
        outputs = backbone.network(torch.randn(1, 3, 16, 64, 64))
    assert [tuple(output.shape) for output in outputs] == shapes
    assert backbone.out_channels == sum(shape[1] for shape in shapes)


@pytest.mark.parametrize("config", [SMALL_SLOWFAST, SMALL_SWIN], ids=["slowfast", "swin"])
def test_frozen_norms_stay_as_they_are(config: BackboneConfig) -> None:
    backbone = build_backbone(config)
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm3d | nn.LayerNorm)]
    before = [value.clone() for norm in norms for value in norm.state_dict().values()]
    assert norms and not any(p.requires_grad for norm in norms for p in norm.parameters())
    backbone.train()
    assert backbone.training and not any(norm.training for norm in norms)
    backbone(frames(), 4).sum().backward()
    assert all(
        torch.equal(a, b) for a, b in zip(before, (v for n in norms for v in n.state_dict().values()), strict=True)
    )


def test_norms_train_when_they_are_not_frozen() -> None:
    backbone = build_backbone(SMALL_SLOWFAST.model_copy(update={"freeze_norms": False})).train()
    backbone(frames(), 4).sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in backbone.parameters())
    assert int(backbone.network.get_buffer("slow_path.conv1.bn.num_batches_tracked")) == 1


def test_constants_follow_the_device_and_stay_out_of_checkpoints() -> None:
    backbone: Backbone = build_backbone(SMALL_SWIN)
    assert {name for name, _ in backbone.named_buffers()} >= {
        f"network.patch_embed.normalise.{name}" for name in ("mean", "scale")
    }
    assert not any("pixel" in name for name in backbone.state_dict())


def test_slowfast_refuses_a_number_of_frames_that_would_not_meet() -> None:
    with pytest.raises(ValueError, match="divisible by 4, got 10"):
        build_backbone(SMALL_SLOWFAST)(frames(num_frames=10), 4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SlowFastConfig(blocks=(1, 1)), "one entry for each stage"),
        (lambda: SlowFastConfig(fusion_kernel=4), "must be odd"),
        (lambda: SlowFastConfig(blocks=(1, 1, 0, 1)), "greater than 0"),
        (lambda: SwinConfig(depths=(2, 2)), "one entry for each stage"),
        (lambda: SwinConfig(depths=(1,), num_heads=(3,)), "at least two blocks"),
        (lambda: SwinConfig(embed_dim=10), "10 channels, which 3 heads do not divide"),
        (lambda: SwinConfig(drop_path=1.0), "less than 1"),
        (lambda: SwinConfig(depth=(2,)), "depth"),
    ],
)
def test_wrong_sizes_are_named(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(("drawn", "deviation"), [("published", 0.02), ("by_width", 96**-0.5)])
def test_fresh_weights_of_a_swin_are_drawn_as_asked(drawn: str, deviation: float) -> None:
    torch.manual_seed(0)
    network = build_backbone(SwinConfig(depths=(2,), num_heads=(3,), fresh_weights=drawn)).network
    weight = network.get_parameter("features.0.0.attn.qkv.weight")
    assert float(weight.detach().std()) == pytest.approx(deviation, rel=0.05)
