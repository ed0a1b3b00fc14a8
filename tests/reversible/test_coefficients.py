"""Dr2Net's alpha and beta: from the network that was rewired to Re2TAL, streams coming back bit for bit all the way."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from re2tal.reversible import (
    Coefficients,
    Mode,
    ReversibleChain,
    chains,
    coefficients,
    reconstruction_error,
    rewire,
    set_coefficients,
    set_mode,
    verify,
)

from .networks import NETWORKS, Mlp, MlpNet, assert_same_gradients, gradients, loss_of
from .test_exact_streams import Growing

SOME = [(1.0, 0.0), (1.0, 1 / 4096), (1.0, 0.1), (0.4, 0.7), (0.0, 0.5), (1.0, 1.0)]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("beta", [0, 1 / 4096, 3 / 4096, 0.1, 1 / 8, 0.3, 0.5, 0.7, 0.9999, 1])
def test_scaled_whole_numbers_come_back(beta: float, dtype: torch.dtype) -> None:
    largest = 2**30 if dtype == torch.int32 else 2**62
    u, v = (torch.randint(-largest + 1, largest, (3, 101), dtype=dtype) for _ in range(2))
    for alpha in (0.0, 0.3, 1.0):
        chosen = Coefficients.nearest(alpha, beta)
        mixed = u.clone()
        dropped = chosen.mix(mixed, v, keep=True)
        if dtype == torch.int32:  # float64 computes their products exactly
            expected = (u.double() * chosen.beta).floor() + (v.double() * chosen.alpha).floor()
            assert torch.equal(mixed.double(), expected)
        chosen.unmix(mixed, v, dropped)
        assert torch.equal(mixed, u)
        bytes_kept = 0 if dropped is None else dropped.nbytes
        assert bytes_kept == (u.nbytes if beta == 0 else chosen.bits * -(-u.numel() // 8))


@pytest.mark.parametrize(("beta", "bits"), [(1, 0), (0.5, 1), (0.3, 2), (0.1, 4), (1 / 256, 8)])
def test_the_smaller_beta_the_more_bits_are_kept(beta: float, bits: int) -> None:
    assert Coefficients.nearest(1, beta).bits == bits


def test_the_chain_computes_the_equations_of_the_paper() -> None:
    """In Dr2Net's own form, in which the first stream holds beta."""
    branches = [Mlp(4).double() for _ in range(5)]
    x = torch.randn(2, 4, dtype=torch.float64)
    chain = ReversibleChain(branches)
    set_coefficients(chain, alpha=0.75, beta=0.25)
    u, v = 0.25 * x, x
    for f in branches:
        u, v = 0.25 * v, u + 0.75 * v + f(v)
    torch.testing.assert_close(chain(x), (u + v) / 1.25, rtol=1e-13, atol=1e-14)


def transformer() -> tuple[nn.Module, Tensor]:
    """Blocks that are called one by one."""
    model = VisionTransformer(
        image_size=16, patch_size=8, num_layers=4, num_heads=2, hidden_dim=8, mlp_dim=16, dropout=0.2
    )
    nn.init.normal_(model.heads[0].weight)  # torchvision starts with a head of zeros
    return model, torch.randn(2, 3, 16, 16)


def stepwise() -> tuple[nn.Module, Tensor]:
    model, x = transformer()
    return rewire(model, example=x), x


@pytest.mark.parametrize(("alpha", "beta"), SOME)
@pytest.mark.parametrize("network", [*NETWORKS.values(), stepwise])
def test_gradients_equal_plain_backprop(
    network: Callable[[], tuple[nn.Module, Tensor]], alpha: float, beta: float
) -> None:
    torch.manual_seed(1)
    model, x = network()
    model, x = model.double().train(), x.double()
    set_coefficients(model, alpha=alpha, beta=beta)
    results = {}
    for mode in ("store", "reversible"):
        copied, leaf = copy.deepcopy(model), x.clone().requires_grad_()
        set_mode(copied, mode)
        torch.manual_seed(0)
        loss = loss_of(copied(leaf))
        loss.backward()
        results[mode] = {**gradients(copied, leaf), "loss": loss.detach()}
    assert torch.equal(results["store"]["loss"], results["reversible"]["loss"])
    assert_same_gradients(results["reversible"], results["store"], tolerance=1e-10)
    assert reconstruction_error(copied) == 0


def test_gradients_are_those_of_autograd_through_the_equations() -> None:
    branches = nn.ModuleList(Mlp(6) for _ in range(6)).double()
    chain = ReversibleChain(branches)
    set_coefficients(chain, alpha=0.5, beta=0.125)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    names, parameters = zip(*branches.named_parameters(), strict=True)
    ours = torch.autograd.grad(loss_of(chain(x)), [x, *parameters])
    u, v = 0.125 * x, x
    for f in branches:
        u, v = 0.125 * v, u + 0.5 * v + f(v)
    plain = torch.autograd.grad(loss_of((u + v) / 1.125), [x, *parameters])
    names = ("input", *names)
    assert_same_gradients(dict(zip(names, ours, strict=True)), dict(zip(names, plain, strict=True)), tolerance=1e-10)


@pytest.mark.parametrize("network", [*NETWORKS.values(), stepwise])
def test_float32_streams_come_back_bit_for_bit(network: Callable[[], tuple[nn.Module, Tensor]]) -> None:
    model, x = network()
    for alpha, beta in SOME:
        set_coefficients(model, alpha=alpha, beta=beta)
        loss_of(model.train()(x)).backward(retain_graph=True)
        assert reconstruction_error(model) == 0, (alpha, beta)


def small_swin() -> tuple[nn.Module, Tensor]:
    model = SwinTransformer3d(
        patch_size=[2, 4, 4],
        embed_dim=8,
        depths=[2, 4],
        num_heads=[1, 2],
        window_size=[2, 3, 3],
        num_classes=3,
        patch_embed=PatchEmbed3d,
        norm_layer=nn.LayerNorm,
    )
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return model, torch.randn(1, 3, 8, 24, 24)


@pytest.mark.parametrize("network", [small_swin, transformer])
def test_near_alpha_1_beta_0_is_the_network_that_was_rewired(
    network: Callable[[], tuple[nn.Module, Tensor]],
) -> None:
    torch.manual_seed(2)
    model, x = network()
    model, x = model.double().eval(), x.double()
    with torch.no_grad():
        original = model(x)
        rewired = rewire(copy.deepcopy(model), example=x)
        set_coefficients(rewired, alpha=1, beta=0)
        torch.testing.assert_close(rewired(x), original, rtol=1e-10, atol=1e-10)
        errors = []
        for beta in (1 / 64, 1 / 256, 1 / 1024, 1 / 4096):
            set_coefficients(rewired, alpha=1, beta=beta)
            errors.append(float((rewired(x) - original).norm() / original.norm()))
        # In proportion to beta.
        assert all(3 < before / after < 5 for before, after in zip(errors, errors[1:], strict=False)), errors
        set_coefficients(rewired, alpha=0, beta=1)
        assert torch.equal(rewired(x), rewire(copy.deepcopy(model), example=x)(x))


@pytest.mark.parametrize("stepwise_blocks", [False, True])
def test_what_is_kept_is_the_bits_that_scaling_drops(stepwise_blocks: bool) -> None:
    x = torch.randn(2, 64, 6)

    def saved(depth: int, beta: float) -> int:
        if stepwise_blocks:
            layers = [nn.TransformerEncoderLayer(6, 1, 12, norm_first=True, batch_first=True) for _ in range(depth)]
            model: nn.Module = rewire(Loop(layers), example=x)
        else:
            model = ReversibleChain([Mlp(6) for _ in range(2 * depth)])
        set_coefficients(model, alpha=1, beta=beta)
        return verify(model, x).saved_bytes

    for beta, bytes_per_element in ((1, 0), (0.5, 1 / 8), (0.125, 3 / 8), (0, 4)):
        four_modules = saved(4, beta) - saved(2, beta)
        assert four_modules == 4 * x.numel() * bytes_per_element


class Loop(nn.Module):
    """Calls its layers one after the other."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize("mode", ["store", "reversible"])
def test_streams_that_grow_get_a_coarser_grid(mode: Mode) -> None:
    model = MlpNet(depth=1)
    model.chain = ReversibleChain([Growing(100.0), Growing(100.0), Growing(1.0)], mode=mode)
    set_coefficients(model, alpha=1, beta=0.25)
    prepared = copy.deepcopy(model)
    prepared.chain.chain.headroom = 16
    x = torch.randn(2, 5)
    outputs = []
    for copied in (model, prepared):
        torch.manual_seed(0)
        outputs.append(copied(x))
        outputs[-1].sum().backward()
    assert model.chain.chain.headroom == 16
    assert torch.equal(*outputs)
    assert_same_gradients(gradients(model), gradients(prepared), tolerance=0)


class Multiplying(nn.Module):
    """A residual block whose branch is larger than its input."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.linear, self.factor = nn.Linear(6, 6), factor

    def forward(self, x: Tensor) -> Tensor:
        return x + self.factor * self.linear(x)


def test_blocks_that_are_called_one_by_one_are_taken_back_for_a_coarser_grid() -> None:
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    model = rewire(Loop([Multiplying(20.0) for _ in range(4)]).double(), example=x)
    (chain,) = chains(model)
    set_coefficients(model, alpha=0.5, beta=0.3)
    prepared = copy.deepcopy(model)
    next(iter(chains(prepared))).headroom = 16
    outputs = [copied(x) for copied in (model, prepared)]
    assert chain.headroom == 16
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=0)
    outputs[0].sum().backward()
    assert reconstruction_error(model) == 0


def test_a_loss_of_what_a_block_in_the_middle_returned() -> None:
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    layers = [nn.TransformerEncoderLayer(6, 1, 12, norm_first=True, batch_first=True) for _ in range(4)]
    model = rewire(Loop(layers).double(), example=x)
    set_coefficients(model, alpha=0.5, beta=0.3)
    results = {}
    for mode in ("store", "reversible"):
        copied = copy.deepcopy(model)
        set_mode(copied, mode)
        torch.manual_seed(0)
        middle = copied.layers[1](copied.layers[0](x))
        last = copied.layers[3](copied.layers[2](middle))
        assert last.requires_grad
        loss_of(middle).backward()
        results[mode] = gradients(copied)
    assert_same_gradients(results["reversible"], results["store"], tolerance=1e-10)


def test_a_forward_pass_without_gradients_computes_the_same() -> None:
    model, x = NETWORKS["swin"]()
    set_coefficients(model.eval(), alpha=0.5, beta=0.1)
    with torch.no_grad():
        (quiet,) = model(x)
    assert torch.equal(quiet, model(x)[0])


def test_coefficients_are_checked_copied_and_told() -> None:
    model = MlpNet()
    assert coefficients(model) == [Coefficients()]
    set_coefficients(model, alpha=0.3, beta=1e-9)
    assert coefficients(copy.deepcopy(model)) == [Coefficients(1229 / 4096, 1 / 4096)]
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\], got 1.5"):
        set_coefficients(model, alpha=0, beta=1.5)
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got nan"):
        set_coefficients(model, alpha=float("nan"), beta=1)
    with pytest.raises(ValueError, match=r"multiples of 1/4096, got 0.3 and 1.0; Coefficients.nearest"):
        Coefficients(alpha=0.3)
    with pytest.raises(ValueError, match="holds no reversible chain"):
        set_coefficients(nn.Linear(2, 2), alpha=0, beta=1)
