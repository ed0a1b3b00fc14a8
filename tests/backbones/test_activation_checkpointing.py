"""Checkpointed blocks compute what plain ones do and store less."""

from typing import Any

import pytest
import torch

from re2tal.networks.backbones import (
    Backbone,
    BackboneConfig,
    FactoryConfig,
    InternVideoConfig,
    PathwayConfig,
    SlowFastConfig,
    SwinConfig,
    VideoMaeConfig,
    VjepaConfig,
    build_backbone,
)
from re2tal.reversible.debug.verify import count_saved_bytes

pytest.importorskip("transformers")

TINY: dict[str, Any] = {"width": 12, "depth": 4, "heads": 2, "hidden": 48, "patch": 8, "size": (32, 40)}
CONFIGS: dict[str, BackboneConfig] = {
    "slowfast": SlowFastConfig(
        blocks=(2, 3),
        slow=PathwayConfig(base_channels=4, stem_kernel=(1, 3, 3), temporal_stages=(False, True)),
        fast=PathwayConfig(base_channels=2, stem_kernel=(3, 3, 3), temporal_stages=(True, True)),
    ),
    "swin": SwinConfig(embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=(2, 3, 3), drop_path=0.5),
    "videomae": VideoMaeConfig(**TINY, clip_frames=4, drop_path=0.5),
    "vjepa2": VjepaConfig(**{**TINY, "size": (32, 32)}, clip_frames=4, drop_path=0.5),
    "internvideo2": InternVideoConfig(**TINY, clip_frames=4, drop_path=0.5),
    "factory": FactoryConfig(
        factory="torchvision:r3d_18", left_out=("fc",), clip_frames=4, size=(32, 40), out_channels=512
    ),
}


@pytest.fixture(params=CONFIGS)
def pair(request: pytest.FixtureRequest) -> tuple[Backbone, Backbone]:
    """The same network plain and with checkpoints."""
    config: BackboneConfig = CONFIGS[request.param]
    plain = build_backbone(config).double()
    checkpointed = build_backbone(config.model_copy(update={"activation_checkpointing": True})).double()
    checkpointed.load_state_dict(plain.state_dict(), strict=True)
    return plain.train(), checkpointed.train()


def clip(backbone: Backbone) -> torch.Tensor:
    size = getattr(getattr(backbone.network, "config", None), "size", (32, 40))
    return torch.randint(0, 256, (2, 3, 8, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_gradients_equal_those_of_the_plain_network(pair: tuple[Backbone, Backbone]) -> None:
    gradients = []
    for backbone in pair:
        torch.manual_seed(1)  # the same paths are dropped
        backbone.network(clip(backbone).double() / 128 - 1)[0].square().sum().backward()
        gradients.append({name: p.grad for name, p in backbone.named_parameters() if p.requires_grad})
    for name, expected in gradients[0].items():
        if expected is not None:  # the fast pathway's last stage is in the other output
            torch.testing.assert_close(gradients[1][name], expected, rtol=1e-10, atol=1e-12)


def test_less_is_stored(pair: tuple[Backbone, Backbone]) -> None:
    totals = []
    for backbone in pair:
        with count_saved_bytes(backbone) as saved:
            backbone(clip(backbone), 4)
        totals.append(saved[0])
    assert totals[1] < 0.6 * totals[0]


def test_reversible_and_checkpointed_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="two ways to the same end"):
        SwinConfig(reversible=True, activation_checkpointing=True)
