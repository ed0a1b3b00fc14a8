"""What is trained of a network by depth, what is held in eval mode, and rates that decay from block to block."""

from typing import Any

import pytest
import torch
from torch import nn

from re2tal.networks.adapters import TemporalAdapterConfig
from re2tal.networks.adapters.blocks import blocks_of, depths_of
from re2tal.networks.backbones import NetworkConfig
from re2tal.training import TrainingConfig, parameter_groups
from tests.adapters.networks import NETWORKS, adapted, build, clip, gradients_of

pytest.importorskip("transformers")

BLOCKS = {
    "videomae": [f"net.encoder.layer.{n}" for n in range(3)],
    "vjepa2": [f"net.encoder.layer.{n}" for n in range(3)],
    "internvideo2": [f"net.blocks.{n}" for n in range(3)],
    "factory": [f"net.encoder.layer.{n}" for n in range(3)],
    "swin": ["features.0.0", "features.0.1", "features.2.0", "features.2.1"],
    "slowfast": [f"{path}_path.layer{n}.{k}" for path in ("slow", "fast") for n in (1, 2) for k in (0, 1)],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_blocks_of_a_network(name: str) -> None:
    assert list(blocks_of(build(adapted(NETWORKS[name], None)).network)) == BLOCKS[name]


def test_a_network_without_blocks_has_none() -> None:
    assert blocks_of(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == {}


def test_depths_go_from_the_stem_to_what_stands_behind_the_last_block() -> None:
    names = ["cls", "stem.w", "stages.0.a.w", "stages.0.b.w", "merging.w", "stages.1.a.w", "norm.w"]
    depths = depths_of(names, ["stages.0.a", "stages.0.b", "stages.1.a"])
    assert list(depths.values()) == [0, 0, 1, 2, 2, 3, 4]


@pytest.mark.parametrize(("name", "first"), [("videomae", 1), ("swin", 3)])
def test_training_begins_at_a_block(name: str, first: int) -> None:
    backbone = build(adapted(NETWORKS[name], None, train_from=first, freeze_norms=False)).train()
    frozen = {n for n, p in backbone.named_parameters() if not p.requires_grad}
    below = ("network.patch_embed", "network.net.embeddings", *(f"network.{block}." for block in BLOCKS[name][:first]))
    between = ("network.features.1.",) if name == "swin" else ()
    assert frozen == {n for n, _ in backbone.named_parameters() if n.startswith((*below, *between))} != set()
    assert gradients_of(backbone).keys() == {n for n, p in backbone.named_parameters() if p.requires_grad}
    for block, module in blocks_of(backbone.network).items():
        trains = BLOCKS[name].index(block) >= first
        assert all(inner.training == trains for inner in module.modules()), block
    assert not any(module.training for module in backbone.eval().modules())


def test_nothing_below_is_kept_for_the_backward_pass() -> None:
    backbone = build(adapted(NETWORKS["videomae"], None, train_from=2)).train()
    outputs = []
    for layer in backbone.network.net.encoder.layer:
        layer.register_forward_hook(lambda _, args, out: outputs.append(out.requires_grad))
    backbone(clip().float(), 4)
    assert outputs == [False, False, True]


def test_beside_adapters_only_drop_path_goes_on() -> None:
    backbone = build(adapted(NETWORKS["videomae"], TemporalAdapterConfig(from_block=2))).train()
    assert {n for n, p in backbone.named_parameters() if p.requires_grad} == {
        n for n, _ in backbone.named_parameters() if n.startswith("network.net.encoder.layer.2.adapter.")
    }
    training = {type(m).__name__ for n, m in backbone.network.named_modules() if m.training and ".adapter" not in n}
    assert training == {"StochasticDepth"}
    assert backbone.network.net.encoder.layer[2].adapter.training


class Model(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.backbone = build(config)
        self.head = nn.Linear(2, 2)


def groups(config: NetworkConfig, **settings: Any) -> dict[str, tuple[float, set[str]]]:
    model = Model(config)
    names = {id(p): n for n, p in model.named_parameters()}
    config_of_training = TrainingConfig(epochs=10, backbone_learning_rate=1e-3, **settings)
    found = parameter_groups(model, config=config_of_training)
    return {group["name"]: (group["lr"], {names[id(p)] for p in group["params"]}) for group in found}


def test_rates_decay_from_block_to_block() -> None:
    found = groups(adapted(NETWORKS["vjepa2"], TemporalAdapterConfig(), train_from=0), layer_decay=0.5)
    rates = {name: rate for name, (rate, _) in found.items() if name.startswith("backbone")}
    assert rates == pytest.approx(
        {"backbone": 1e-3, "backbone/1": 5e-4, "backbone/2": 2.5e-4, "backbone/3": 1.25e-4, "backbone/4": 6.25e-5}
    )
    layer = "backbone.network.net.encoder.layer"
    assert all(name.startswith(f"{layer}.2.") and ".adapter." not in name for name in found["backbone/1"][1])
    assert all(name.startswith(f"{layer}.0.") for name in found["backbone/3"][1])
    assert all(".embeddings." in name for name in found["backbone/4"][1])
    top = {name for name in found["backbone"][1] if ".adapter." not in name}
    assert top == {"backbone.network.net.encoder.layernorm.weight", "backbone.network.net.encoder.layernorm.bias"}
    assert len(found["backbone"][1] - top) == 3 * 9


def test_without_decay_there_is_one_group_and_pathways_side_by_side_are_refused() -> None:
    assert [name for name in groups(adapted(NETWORKS["vjepa2"], None)) if name.startswith("backbone")] == ["backbone"]
    with pytest.raises(ValueError, match="is no sequence of blocks, .* set training.layer_decay=1"):
        groups(adapted(NETWORKS["slowfast"], None), layer_decay=0.5)
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="a Linear does not tell its own; set it to 1"):
        parameter_groups(model, config=TrainingConfig(epochs=10, layer_decay=0.9))


def test_weights_without_adapters_are_taken_and_those_with_other_ones_are_not(tmp_path: Any) -> None:
    from re2tal.weights import WeightsError, load_pretrained

    plain, wide = (build(adapted(NETWORKS["factory"], a)) for a in (None, TemporalAdapterConfig(hidden_ratio=0.5)))
    for name, backbone in (("plain", plain), ("wide", wide)):
        torch.save(backbone.network.net.state_dict(), tmp_path / f"{name}.pth")
    backbone = build(adapted(NETWORKS["factory"], TemporalAdapterConfig()))
    names = backbone.adapter_names
    found = load_pretrained(
        backbone.network, path=tmp_path / "plain.pth", kind="factory", reversible=False, adapters=names
    )
    assert not found.placement.differences() and len(found.placement.placed) == len(plain.network.state_dict())
    with pytest.raises(WeightsError, match="of another shape"):
        load_pretrained(backbone.network, path=tmp_path / "wide.pth", kind="factory", reversible=False, adapters=names)
