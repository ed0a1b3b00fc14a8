"""Small backbones with adapters."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.networks.adapters import AdapterSettings, LadderConfig, LowRankConfig, TemporalAdapterConfig
from re2tal.networks.backbones import (
    Backbone,
    FactoryConfig,
    NetworkConfig,
    PathwayConfig,
    SlowFastConfig,
    SwinConfig,
    build_backbone,
)
from re2tal.networks.backbones.internvideo2 import InternVideoConfig
from re2tal.networks.backbones.videomae import VideoMaeConfig, VjepaConfig
from tests.backbones.test_factory import VIDEOMAE

SIZES: dict[str, Any] = {
    "width": 12,
    "depth": 3,
    "heads": 2,
    "hidden": 16,
    "patch": 8,
    "size": (16, 16),
    "clip_frames": 4,
    "drop_path": 0.3,
}
NETWORKS: dict[str, NetworkConfig] = {
    "videomae": VideoMaeConfig(**SIZES),
    "vjepa2": VjepaConfig(**SIZES),
    "internvideo2": InternVideoConfig(**SIZES),
    "factory": FactoryConfig.model_validate({**VIDEOMAE.model_dump(), "reversible": False}),
    "swin": SwinConfig(embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=(2, 3, 3), drop_path=0.3),
    "slowfast": SlowFastConfig(
        blocks=(2, 2),
        slow=PathwayConfig(base_channels=4, stem_kernel=(1, 3, 3), temporal_stages=(False, True)),
        fast=PathwayConfig(base_channels=2, stem_kernel=(3, 3, 3), temporal_stages=(True, True)),
    ),
}
ADAPTERS: dict[str, AdapterSettings] = {
    "temporal": TemporalAdapterConfig(),
    "ladder": LadderConfig(from_block=2),
    "lora": LowRankConfig(rank=2),
}


def adapted(network: NetworkConfig, adapter: AdapterSettings | None, **changes: Any) -> NetworkConfig:
    """A config with an adapter; the file of pretrained weights is not read when it is built."""
    settings = {"adapter": None if adapter is None else adapter.model_dump(), "pretrained": Path("none.pth"), **changes}
    return type(network).model_validate({**network.model_dump(), **settings})


def build(config: NetworkConfig, *, trained: bool = False) -> Backbone:
    """With weights that depend on nothing else; if `trained`, adapters are no longer at zero."""
    torch.manual_seed(0)
    backbone = build_backbone(config)
    if trained:
        state = backbone.network.state_dict(keep_vars=True)
        for name in sorted(backbone.adapter_names):
            nn.init.normal_(state[name], std=0.3)
    return backbone


def clip(batch: int = 2, frames: int = 8) -> Tensor:
    return torch.randn(batch, 3, frames, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gradients_of(backbone: Backbone) -> dict[str, Tensor]:
    """Of a loss of a copy in float64, with the same paths dropped."""
    copied = copy.deepcopy(backbone).double().train()
    torch.manual_seed(1)
    copied(clip(), 8).square().sum().backward()
    return {name: p.grad for name, p in copied.named_parameters() if p.grad is not None}
