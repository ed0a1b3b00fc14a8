"""Networks of torchvision, timm and transformers rewire as they are, and train as plain autograd trains them."""

import copy
import importlib.util

import pytest
import reduced_networks
import torch
from torch import Tensor, nn

from re2tal.networks.zoo import KNOWN
from re2tal.networks.zoo.measuring import in_dtype, wake
from re2tal.reversible import report_of, rewire, unrewire, verify
from re2tal.reversible.trees import tensors_in

# What other libraries warn of when they are imported and built is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


def outputs(model: nn.Module, example: object) -> list[Tensor]:
    torch.manual_seed(0)
    with torch.no_grad():
        return list(tensors_in(model(**example) if isinstance(example, dict) else model(example)))


def test_there_are_many_and_those_that_the_command_lists() -> None:
    assert len(KNOWN) >= 60 and tuple(reduced_networks.REDUCED) == KNOWN
    assert {name.partition(":")[0] for name in KNOWN} == {"torchvision", "timm", "transformers"}


@pytest.mark.parametrize("name", KNOWN)
def test_rewired_networks_train_as_plain_autograd_trains_them(name: str) -> None:
    library = name.partition(":")[0]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    network = reduced_networks.build_reduced(name)
    model, example = network.model.double(), in_dtype(network.example, torch.float64)
    wake(model)
    state = copy.deepcopy(model.state_dict())
    expected = outputs(model.eval(), example)

    rewired = rewire(model.train(), example=example)
    assert list(rewired.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in rewired.state_dict().items())
    report = report_of(rewired)
    assert report is not None and report.rewired > 0, str(report)

    verified = verify(rewired, example)
    assert verified.worst[1] <= 1e-10 and verified.output_error <= 1e-10, str(verified)
    assert verified.original_error is None or verified.original_error <= 1e-10, str(verified)
    assert verified.reconstruction_error == 0
    assert verified.saved_bytes < verified.saved_bytes_store

    original = unrewire(rewired)
    assert original is network.model
    assert all(torch.equal(a, b) for a, b in zip(outputs(original.eval(), example), expected, strict=True))
