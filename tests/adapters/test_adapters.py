"""Adapters: nothing at first, AdaTAD's formula, and gradients that are those of plain autograd."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.networks.adapters import AdapterSettings, LadderConfig, LowRankConfig, TemporalAdapterConfig
from re2tal.networks.adapters.blocks import blocks_of
from re2tal.networks.backbones import Backbone, NetworkConfig
from re2tal.reversible import reconstruction_error, report_of, set_mode
from re2tal.reversible.blocks import split_block
from re2tal.reversible.debug.verify import count_saved_bytes
from re2tal.reversible.tiles import part_of, put_into
from tests.adapters.networks import ADAPTERS, NETWORKS, adapted, build, clip, gradients_of
from tests.reversible.networks import assert_same_gradients

pytest.importorskip("transformers")
pytest.importorskip("peft")

POSSIBLE = [
    pytest.param(network, adapter, id=f"{name}-{kind}")
    for name, network in NETWORKS.items()
    for kind, adapter in ADAPTERS.items()
    if (name, kind) not in {("slowfast", "ladder"), ("slowfast", "lora")}
]
INSIDE = [param for param in POSSIBLE if "ladder" not in str(param.id)]


@pytest.mark.parametrize(("network", "adapter"), POSSIBLE)
def test_a_new_adapter_changes_no_bit_and_no_name(network: NetworkConfig, adapter: AdapterSettings) -> None:
    plain = build(adapted(network, None)).eval()
    backbone = build(adapted(network, adapter)).eval()
    loaded = backbone.load_state_dict(plain.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert set(loaded.missing_keys) == {f"network.{name}" for name in backbone.adapter_names} != set()
    frames = clip().float()
    with torch.no_grad():
        assert torch.equal(backbone(frames, 8), plain(frames, 8))
    trained = build(adapted(network, adapter), trained=True).eval()
    assert not torch.equal(trained(frames, 8), plain(frames, 8))


@pytest.mark.parametrize(("network", "adapter"), [param for param in INSIDE if "slowfast" not in str(param.id)])
@pytest.mark.parametrize(("alpha", "beta"), [(0, 1), (1, 0)])
def test_a_new_adapter_changes_no_bit_of_a_rewired_network(
    network: NetworkConfig, adapter: AdapterSettings, alpha: float, beta: float
) -> None:
    rewired = {"reversible": True, "alpha": alpha, "beta": beta}
    plain, backbone = (
        build(adapted(network, None, **rewired)).eval(),
        build(adapted(network, adapter, **rewired)).eval(),
    )
    backbone.load_state_dict(plain.state_dict(), strict=False)
    frames = clip().float()
    with torch.no_grad():
        assert torch.equal(backbone(frames, 8), plain(frames, 8))


@pytest.mark.parametrize(("network", "adapter"), INSIDE)
def test_gradients_of_checkpointed_blocks_are_those_of_plain_autograd(
    network: NetworkConfig, adapter: AdapterSettings
) -> None:
    plain = build(adapted(network, adapter), trained=True)
    checkpointed = build(adapted(network, adapter, activation_checkpointing=True))
    checkpointed.load_state_dict(plain.state_dict())
    assert_same_gradients(gradients_of(checkpointed), gradients_of(plain), tolerance=1e-10)


@pytest.mark.parametrize(("network", "adapter"), INSIDE)
@pytest.mark.parametrize(("train_from", "alpha", "beta"), [("none", 0, 1), (0, 0.5, 0.25)])
def test_gradients_of_a_rewired_network_are_those_of_plain_autograd(
    network: NetworkConfig, adapter: AdapterSettings, train_from: Any, alpha: float, beta: float
) -> None:
    config = adapted(network, adapter, train_from=train_from, reversible=True, alpha=alpha, beta=beta)
    backbone = build(config, trained=True).double().train()
    results: dict[str, dict[str, Tensor]] = {}
    for mode in ("store", "reversible"):
        copied: Backbone = copy.deepcopy(backbone)
        set_mode(copied, mode)
        torch.manual_seed(1)
        copied(clip(), 8).square().sum().backward()
        results[mode] = {name: p.grad for name, p in copied.named_parameters() if p.grad is not None}
    assert_same_gradients(results["reversible"], results["store"], tolerance=1e-10)
    assert results["store"].keys() == {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert reconstruction_error(copied) == 0
    if not hasattr(network, "factory"):  # as without adapters, in tiles
        names = blocks_of(build(adapted(network, None)).network)
        splits = [split_block(copied.network.get_submodule(name)) for name in names]
        assert all(split is not None and (split.exact or not split.branches) for split in splits)
    report = report_of(copied.network.get_submodule("net") if hasattr(network, "factory") else copied.network)
    assert report is not None and not any(block.stored for block in report.blocks)


def test_it_is_the_published_formula_along_the_time_of_the_whole_clip() -> None:
    """Written out from the paper: down, GELU, depthwise and pointwise convolution along time, up, a factor."""
    backbone = build(adapted(NETWORKS["videomae"], TemporalAdapterConfig(hidden_ratio=0.5)), trained=True).double()
    layer = backbone.network.net.encoder.layer[1]
    given: dict[str, Tensor] = {}
    layer.adapter.register_forward_hook(lambda _, args, out: given.update(x=args[0], added=out))
    backbone.eval()(clip(), 8)
    x, w = given["x"], {name: p for name, p in layer.adapter.named_parameters()}  # (2 * 2, 2 * 4, 12)
    assert x.shape == (4, 8, 12) and w["down_proj.weight"].shape == (6, 12)
    hidden = F.gelu(x @ w["down_proj.weight"].T + w["down_proj.bias"])
    times = hidden.reshape(2, 4, 4, 6)  # clip, time of two sub-clips, place, channel
    padded = F.pad(times, (0, 0, 0, 0, 1, 1))
    depthwise = sum(padded[:, k : k + 4] * w["dwconv.weight"][:, 0, k] for k in range(3)) + w["dwconv.bias"]
    pointwise = depthwise @ w["conv.weight"][..., 0].T + w["conv.bias"]
    hidden = hidden + pointwise.reshape(4, 8, 6)
    expected = (hidden @ w["up_proj.weight"].T + w["up_proj.bias"]) * w["gamma"]
    torch.testing.assert_close(given["added"], expected)


def test_a_ladder_adds_its_adapters_to_the_last_block_and_the_network_keeps_nothing() -> None:
    network = NETWORKS["videomae"]
    backbone = build(adapted(network, LadderConfig(from_block=1)), trained=True).double().eval()
    plain = build(adapted(network, None)).double().eval()
    plain.load_state_dict({k: v for k, v in backbone.state_dict().items() if ".adapter." not in k})
    outputs: list[Tensor] = []
    for layer in plain.network.net.encoder.layer:
        layer.register_forward_hook(lambda _, args, out: outputs.append(out))
    plain(clip(), 4)
    found = backbone(clip(), 4)
    adapters = [layer.adapter for layer in backbone.network.net.encoder.layer[1:]]
    tokens = outputs[2] + adapters[0](outputs[1]) + adapters[1](outputs[2])
    expected = tokens.reshape(2, 4, 4, 12).mean(2).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    grads = gradients_of(backbone)
    assert len(grads) == 2 * 9 and all(".adapter." in name for name in grads)
    with count_saved_bytes(backbone) as beside:
        backbone.train()(clip(), 4)
    inside = build(adapted(network, TemporalAdapterConfig()), trained=True).double().train()
    with count_saved_bytes(inside) as through:
        inside(clip(), 4)
    assert beside[0] < through[0] / 2


def test_a_call_that_failed_leaves_nothing_in_a_ladder() -> None:
    backbone = build(adapted(NETWORKS["videomae"], LadderConfig(from_block=1)), trained=True).eval()
    expected = backbone(clip().float(), 4)
    last = backbone.network.net.encoder.layer[2].adapter
    weight, last.up_proj.weight = last.up_proj.weight, nn.Parameter(torch.zeros(1, 1))
    with pytest.raises(RuntimeError):
        backbone(clip().float(), 4)
    last.up_proj.weight = weight
    assert torch.equal(backbone(clip().float(), 4), expected)


def test_sub_clips_see_each_other_and_so_are_not_shared() -> None:
    for adapter, shared in ((TemporalAdapterConfig(), False), (LowRankConfig(rank=2), True)):
        backbone = build(adapted(NETWORKS["videomae"], adapter), trained=True).double().eval()
        changed = clip()
        changed[:, :, 4:] += 1
        first = [backbone(frames, 4)[..., :2] for frames in (clip(), changed)]
        assert torch.equal(*first) == shared
        assert (backbone.sub_clip_frames == 4) == shared


def test_clips_of_several_lengths_before_one_backward_pass() -> None:
    """How many sub-clips make a clip is told before a call; the recomputation of an earlier one has to know, too."""
    config = adapted(NETWORKS["factory"], TemporalAdapterConfig(), train_from=0, reversible=True)
    backbone = build(config, trained=True).double().train()
    results = []
    for mode in ("store", "reversible"):
        copied = copy.deepcopy(backbone)
        set_mode(copied, mode)
        losses = [copied(clip(batch, frames), 4).square().sum() for batch, frames in ((1, 8), (2, 4), (1, 16))]
        sum(losses).backward()
        results.append({name: p.grad for name, p in copied.named_parameters()})
    assert_same_gradients(results[1], results[0], tolerance=1e-10)


@pytest.mark.parametrize("name", ["videomae", "internvideo2", "swin"])
def test_places_are_computed_in_tiles_and_come_back(name: str) -> None:
    config = adapted(NETWORKS[name], TemporalAdapterConfig(), train_from=0, reversible=True, tile_mib=1e-4)
    backbone = build(config, trained=True).train()
    block = next(m for m in backbone.network.modules() if hasattr(type(m), "adapted"))
    block.adapter.sub_clips = 2 if name != "swin" else 1
    shape = {"videomae": (4, 8, 12), "internvideo2": (4, 17, 12), "swin": (2, 4, 4, 4, 8)}[name]
    tiling, x = type(block.adapter).tiling, torch.randn(shape)
    tiles = tiling.tiles(block.adapter, shape, 1)
    assert tiles is not None and len(tiles) > 4
    expected, found = block.adapter(x), torch.full(shape, torch.nan)
    for tile in tiles:
        put_into(found, tile.write, tiling.compute(block.adapter, part_of(x, tile.read), (), tile))
    torch.testing.assert_close(found, expected)
    backbone(clip().float(), 4).square().sum().backward()
    assert reconstruction_error(backbone) == 0


def test_class_tokens_are_adapted_alone() -> None:
    backbone = build(adapted(NETWORKS["internvideo2"], TemporalAdapterConfig()), trained=True).double().eval()
    adapter = backbone.network.net.blocks[0].adapter
    adapter.sub_clips = 2
    x = torch.randn(2, 1 + 4 * 4, 12, dtype=torch.float64)
    other = x.clone()
    other[0, 5] += 1  # a token of the second time of the first sub-clip
    moved = (adapter(x) - adapter(other)).abs().amax(-1) > 0
    assert moved.nonzero().tolist() == [[0, 1], [0, 5], [0, 9]]


@pytest.mark.parametrize("targets", [("query", "value"), ("output.dense",)])
def test_lora_stands_where_it_is_told(targets: tuple[str, ...]) -> None:
    backbone = build(adapted(NETWORKS["videomae"], LowRankConfig(rank=2, targets=targets)))
    places = {name.partition(".lora_")[0] for name in backbone.adapter_names}
    assert places and all(place.endswith(targets) for place in places)
    grads = gradients_of(backbone)
    assert len(grads) == 2 * len(places)


def test_lora_of_swin_leaves_alone_what_is_not_called() -> None:
    backbone = build(adapted(NETWORKS["swin"], LowRankConfig(rank=2)), trained=True)
    assert all(".mlp." in name for name in backbone.adapter_names)
    assert all(bool(grad.any()) for grad in gradients_of(backbone).values())
    with pytest.raises(ValueError, match=r"no linear layer .* ends with one of backbone.adapter.targets, \('qkv',\)"):
        build(adapted(NETWORKS["swin"], LowRankConfig(targets=("qkv",))))


def changed(**settings: Any) -> NetworkConfig:
    return adapted(NETWORKS["videomae"], settings.pop("adapter", TemporalAdapterConfig()), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frozen": True}, "got frozen=True beside an adapter or train_from"),
        ({"adapter": None, "train_from": "none"}, "trains nothing of the backbone; set backbone.frozen=True"),
        ({"pretrained": None}, "pretrained=None means random ones; set backbone.pretrained, or"),
        ({"adapter": LadderConfig(), "reversible": True}, "there is nothing to train, to recompute or to reverse"),
        ({"adapter": LadderConfig(), "train_from": 0}, "there is nothing to train, to recompute or to reverse"),
        ({"adapter": TemporalAdapterConfig(from_block=3)}, "from_block counts blocks from 0, .* has 3; got 3"),
        ({"adapter": None, "train_from": 3}, "train_from counts blocks from 0, and VideoMaeTrunk has 3; got 3"),
        ({"adapter": {"kind": "prompt"}}, "temporal.*ladder.*lora"),
    ],
)
def test_what_contradicts_itself_is_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given = settings.get("adapter")
        if isinstance(given, dict):
            type(NETWORKS["videomae"]).model_validate({**NETWORKS["videomae"].model_dump(), "adapter": given})
        build(changed(**settings))


def test_an_even_kernel_and_blocks_that_do_not_suit_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size must be odd, got 4; write 5"):
        TemporalAdapterConfig(kernel_size=4)
    ladder = build(adapted(NETWORKS["swin"], LadderConfig()))
    with pytest.raises(ValueError, match="adds up what blocks of one size give"):
        ladder(clip().float(), 4)
    with pytest.raises(ValueError, match="pathways side by side"):
        build(adapted(NETWORKS["slowfast"], LadderConfig()))
    with pytest.raises(ValueError, match="is no sequence of blocks of which backbone.train_from could be one"):
        build(adapted(NETWORKS["slowfast"], None, train_from=1))
