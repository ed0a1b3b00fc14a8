"""What first makes a number that is not finite, or another result the second time, is named."""

import random

import faults
import pytest
import torch
from torch import Tensor, nn

from re2tal.reversible import ReversibleChain, first_non_finite, first_to_differ, rewire

from .networks import NETWORKS, loss_of, mlp_net, re2_swin
from .towers import Tower


@pytest.mark.filterwarnings("ignore::re2tal.reversible.StoredWarning")  # faults are put in by patching modules
def test_random_faults_in_training_steps_of_all_kinds_of_networks_are_named() -> None:
    rows = faults.inject(38, seed=1)
    assert sum(row["count"] for row in rows) >= 30
    assert not [row for row in rows if row["wrong"]]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_healthy_network_has_no_origin_and_is_left_as_it_was(network: str) -> None:
    torch.manual_seed(0)
    model, x = NETWORKS[network]()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert first_non_finite(model, lambda: loss_of(model(x))) is None
    assert first_to_differ(model, lambda: loss_of(model(x))) is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_layers_that_a_loop_calls_are_searched_too() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5)
    model = rewire(Tower(depth=4), example=x)
    with faults.infected(model.layers[2].mlp[1], float("nan"), in_gradient=True):
        origin = first_non_finite(model, lambda: loss_of(model(x)))
    assert origin is not None and origin.kind == "gradient"
    # Its branches are cut out of the layer and call functions and modules of it.
    assert origin.place.startswith("layers.2")


def test_what_a_module_does_itself_before_it_calls_another_is_its_own_fault() -> None:
    class Dividing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x / (x - x))

    model = nn.Sequential(nn.Tanh(), Dividing())
    origin = first_non_finite(model, lambda: model(torch.ones(2, 3)).sum())
    assert origin is not None
    assert str(origin) == (
        "1 is the first to make numbers that are not finite, in what it hands to 1.inner; it was given numbers up to "
        "0.762"
    )


def test_buffers_and_inputs_are_named_and_masks_of_minus_infinity_are_not() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)).eval()
    x = torch.randn(2, 3)
    model.register_buffer("mask", torch.full((2,), float("-inf")))
    assert first_non_finite(model, lambda: model(x).sum()) is None
    spoiled = x.clone()
    spoiled[1, 2] = float("nan")
    assert str(first_non_finite(model, lambda: model(spoiled).sum())) == "the model's input is not finite"
    model[0].running_var[1] = float("inf")
    found = first_non_finite(model, lambda: model(x).sum())
    assert str(found) == "0.running_var was not finite before the step"


def test_a_module_that_draws_from_another_generator_is_named_within_its_branch() -> None:
    class Drawing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * random.random()

    model, x = mlp_net()
    model.chain = ReversibleChain([nn.Tanh(), nn.Sequential(nn.Linear(6, 6), Drawing(), nn.Linear(6, 6)), nn.Tanh()])
    assert first_to_differ(model, lambda: loss_of(model(x))) == "chain.1.1"


def test_a_number_that_grows_too_large_for_half_precision_is_named() -> None:
    torch.manual_seed(0)
    model, x = re2_swin()
    with torch.no_grad():
        model.features.get_submodule("2.1.mlp.0").weight.mul_(1e9)

    def loss() -> Tensor:
        with torch.autocast("cpu", dtype=torch.float16):
            return loss_of(model.eval()(x))

    origin = first_non_finite(model, loss)
    assert origin is not None and origin.kind == "output" and origin.place.startswith("features.2.1.mlp.0")
