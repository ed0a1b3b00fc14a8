"""Streams come back bit for bit, grow with what they hold, and say when they cannot."""

import copy
import random

import pytest
import torch
from torch import Tensor, nn

from re2tal.reversible import Mode, ReversibleChain, chains, reconstruction_error

from .networks import NETWORKS, MlpNet, assert_same_gradients, gradients, loss_of


def test_reconstruction_error_is_there_after_every_backward() -> None:
    model = MlpNet()
    assert reconstruction_error(model) is None
    for _ in range(2):
        next(iter(chains(model))).reconstruction_error = None
        model(torch.randn(4, 5)).sum().backward()
        error = reconstruction_error(model)
        assert error is not None and 0 <= error < 1e-5


def test_recovered_streams_are_the_original_ones_bit_for_bit() -> None:
    for network in NETWORKS:
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(1)
            model, x = NETWORKS[network]()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                outputs = model.train()(x)
            loss_of(outputs).backward()
            assert reconstruction_error(model) == 0, f"{network} in {dtype}"


def test_a_branch_that_computes_something_else_the_second_time_is_warned_about() -> None:
    class Drawing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (1 + random.random())  # from another generator than torch's

    model = MlpNet(depth=1)
    model.chain = ReversibleChain([Drawing(), Drawing()])
    model(torch.randn(2, 5)).sum().backward()
    with pytest.warns(UserWarning, match="recovered streams of chain.0 to chain.1 are off by .* computed again"):
        assert reconstruction_error(model) > 0.1


class Growing(nn.Module):
    """Multiplies what comes in, with dropout."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.dropout, self.norm = factor, nn.Dropout(0.5), nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        self.norm(x)
        return self.dropout(x) * self.factor


@pytest.mark.parametrize("mode", ["store", "reversible"])
def test_streams_that_grow_get_a_coarser_grid_as_if_nothing_had_happened(mode: Mode) -> None:
    model = MlpNet(depth=1)
    model.chain = ReversibleChain([Growing(100.0), Growing(100.0)], mode=mode)
    prepared = copy.deepcopy(model)
    prepared.chain.chain.headroom = 16
    x = torch.randn(2, 5)
    drawn = []
    for copied in (model, prepared):
        torch.manual_seed(0)
        output = copied(x)
        output.sum().backward()
        drawn.append((output.detach(), torch.rand(3)))
    assert model.chain.chain.headroom == 16
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
    for (name, ours), expected in zip(model.named_buffers(), prepared.buffers(), strict=True):
        assert torch.equal(ours, expected), name
    assert_same_gradients(gradients(model), gradients(prepared), tolerance=0)


@pytest.mark.parametrize("factor", [1.0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize("mode", ["store", "reversible"])
def test_small_values_are_as_precise_however_far_streams_grow(mode: Mode, factor: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), ReversibleChain([nn.Linear(6, 6) for _ in range(4)], mode=mode))
    with torch.no_grad():
        model[1].branches[3].owner.weight.mul_(factor)  # behind three that see the input's own size
    exact = copy.deepcopy(model).double()
    x = torch.randn(3, 5)
    results = []
    for copied, given in ((model, x), (exact, x.double())):
        y = copied(given)
        loss_of(y).backward()
        results.append({"output": y.detach().double(), **{k: g.double() for k, g in gradients(copied).items()}})
    assert_same_gradients(*results, tolerance=1e-4)
    assert mode == "store" or reconstruction_error(model) == reconstruction_error(exact) == 0


def test_streams_that_outgrow_every_grid_are_an_error_that_says_what_to_do() -> None:
    model = MlpNet(depth=1)
    model.chain = ReversibleChain([Growing(1e8), Growing(1e8)])
    model.eval()
    with pytest.raises(
        OverflowError, match=r"^streams grow to more than 2 \*\* 44 times [^(]*\(a .*; lower the learning"
    ):
        model(torch.randn(2, 5))
