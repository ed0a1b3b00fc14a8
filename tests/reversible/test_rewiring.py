"""`rewire` changes how a network is wired and nothing else; `verify` notices when gradients are wrong."""

import copy
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import swin_t
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video import r3d_18, swin3d_t

from re2tal.networks.backbones import PathwayConfig, SlowFast, SlowFastConfig, SwinConfig, SwinTrunk
from re2tal.reversible import ReversibleChain, chains, report_of, rewire, set_mode, set_tiles, verify

from .networks import re2_slowfast, re2_swin


def small_slowfast() -> nn.Module:
    return SlowFast(
        SlowFastConfig(
            blocks=(2, 1, 3),
            slow=PathwayConfig(base_channels=4, stem_kernel=(1, 7, 7), temporal_stages=(False, True, True)),
            fast=PathwayConfig(base_channels=2, stem_kernel=(5, 7, 7), temporal_stages=(True, True, True)),
        )
    )


def small_swin() -> nn.Module:
    return SwinTrunk(SwinConfig(embed_dim=8, depths=(1, 2, 3), num_heads=(1, 2, 4), window_size=(2, 3, 3)))


@pytest.mark.parametrize("build", [small_slowfast, small_swin])
def test_names_values_and_weights_survive(build: Callable[[], nn.Module]) -> None:
    original = build()
    rewired = rewire(copy.deepcopy(original))
    assert [name for name, _ in rewired.named_parameters()] == [name for name, _ in original.named_parameters()]
    assert list(rewired.state_dict()) == list(original.state_dict())
    loaded = rewire(build())  # weights loaded after rewiring, not before
    loaded.load_state_dict(original.state_dict())
    x = torch.randn(1, 3, 4, 32, 32)
    for ours, expected in zip(loaded.eval()(x), rewired.eval()(x), strict=True):
        assert torch.equal(ours, expected)


def test_a_swin_stage_follows_the_paper() -> None:
    stage = SwinTrunk(SwinConfig(embed_dim=8, depths=(2,), num_heads=(2,), window_size=(2, 3, 3))).double().eval()
    first, second = stage.features[0]
    x = torch.randn(1, 4, 6, 6, 8, dtype=torch.float64)

    def attention(block: nn.Module, x: Tensor) -> Tensor:
        return block.attn(block.norm1(x))

    def mlp(block: nn.Module, x: Tensor) -> Tensor:
        return block.mlp(block.norm2(x))

    x1 = x + attention(first, x)
    x2 = x + mlp(first, x1)
    x3 = x1 + attention(second, x2)
    x4 = x2 + mlp(second, x3)
    torch.testing.assert_close(rewire(stage).features[0](x), (x3 + x4) / 2, rtol=1e-12, atol=1e-14)


def test_a_bottleneck_stage_follows_the_paper() -> None:
    layer = small_slowfast().double().eval().slow_path.layer3
    entry, first, second = layer
    x = torch.randn(1, 32 + 32, 4, 6, 6, dtype=torch.float64)
    start = torch.relu(entry.residual(x)) + entry.downsample(x)
    x1 = start + torch.relu(first.residual(start))
    x2 = start + torch.relu(second.residual(x1))
    holder = rewire(nn.Sequential(layer))
    torch.testing.assert_close(holder(x), (x1 + x2) / 2, rtol=1e-12, atol=1e-14)


def test_a_stage_of_one_block_moves_its_activation_too() -> None:
    (block,) = layer = rewire(small_slowfast()).double().eval().slow_path.layer2
    x = torch.randn(1, 16 + 16, 4, 6, 6, dtype=torch.float64)
    expected = torch.relu(block.residual(x)) + block.downsample(x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-14)


def test_every_block_but_the_first_of_a_stage_is_in_a_chain() -> None:
    report = report_of(rewire(small_slowfast()))
    assert report is not None and sorted(report.chains) == [1, 1, 2, 2]  # (2, 1, 3) in two pathways
    report = report_of(rewire(small_swin()))
    assert report is not None and report.chains == (1, 2, 3)
    assert {block.branches for block in report.blocks} == {2}


@pytest.mark.parametrize(
    ("build", "shape"),
    [(swin3d_t, (1, 3, 4, 32, 32)), (swin_t, (1, 3, 64, 64)), (r3d_18, (1, 3, 4, 32, 32))],
    ids=["swin3d_t", "swin_t", "r3d_18"],
)
def test_torchvision_networks_rewire_and_verify(build: Callable[..., nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    report = verify(rewire(build(weights=None)), torch.randn(shape))
    assert report.passed, str(report)
    assert (report.original_error is None) == (build is r3d_18)  # whose activations follow its additions
    assert report.saved_bytes < report.saved_bytes_store


@pytest.mark.parametrize("build", [re2_swin, re2_slowfast])
def test_verify_passes_in_double_precision_and_changes_nothing(build: Callable[[], tuple[nn.Module, Tensor]]) -> None:
    model, x = build()
    model, x = model.double(), x.double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    report = verify(model, x)
    assert report.passed and report.tolerance == 1e-10, str(report)
    assert "passed" in str(report) and "saved for backward" in str(report)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_verify_notices_what_both_modes_ignore(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_norm(block: SwinTransformerBlock, x: Tensor) -> Tensor:
        return block.stochastic_depth(block.mlp(x))

    torch.manual_seed(0)
    model, x = swin_t(weights=None), torch.randn(1, 3, 64, 64)
    report = verify(rewire(copy.deepcopy(model)), x)
    assert report.original_error is not None and report.original_error < 1e-4 and report.passed
    monkeypatch.setattr("re2tal.reversible.blocks.swin._mlp", without_norm)
    set_tiles(rewire(model), None)
    report = verify(model, x)
    assert report.original_error is not None
    assert report.worst[1] < 1e-4 < report.original_error and not report.passed


def test_verify_notices_a_branch_that_is_not_the_same_twice() -> None:
    class Drawing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) * random.random()  # recomputation sees another factor

    report = verify(ReversibleChain([Drawing(), Drawing()]), torch.randn(2, 4))
    assert not report.passed
    assert "FAILED" in str(report)


def test_set_mode_switches_every_chain() -> None:
    model = rewire(small_slowfast(), mode="store")
    assert {chain.mode for chain in chains(model)} == {"store"}
    set_mode(model, "reversible")
    assert {chain.mode for chain in chains(model)} == {"reversible"}


def test_what_cannot_be_rewired_is_named_and_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match=r"found no residual block.*known: .*SwinTransformerBlock"):
        rewire(model)
    assert not any("forward" in vars(module) for module in model.modules())
