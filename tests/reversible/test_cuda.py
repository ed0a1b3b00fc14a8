"""The engine on a device: what it promises on a CPU, on a GPU."""

import copy
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from re2tal.experiments.device_check.measuring import REDUCED, PeakMemory, build_with, run_step, saving_elsewhere
from re2tal.experiments.device_check.sizes import StepStrategy
from re2tal.reversible import call_asking_once, headrooms, reconstruction_error, set_coefficients, set_mode, set_tiles
from tests.devices import DEVICES

from .networks import NETWORKS, MlpNet, assert_same_gradients, gradients, loss_of

pytestmark = pytest.mark.parametrize("device", DEVICES)

STRATEGIES: list[tuple[StepStrategy, StepStrategy]] = [
    *product(["plain"], ["checkpointed", "selective", "offloaded"]),  # type: ignore[list-item]
    *product(["stored"], ["whole", "reversible"]),  # type: ignore[list-item]
]
"""Each with one that has the same gradients."""


def network_of(name: str, device: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model, x = NETWORKS[name]()
    return model.to(device, dtype), x.to(device, dtype)


def in_mode(model: nn.Module, x: Tensor, mode: str, *, half: torch.dtype | None = None) -> dict[str, Tensor]:
    """Gradients, on the CPU, of a copy of the model, and what would be drawn next."""
    copied = copy.deepcopy(model)
    set_mode(copied, mode)  # type: ignore[arg-type]
    torch.manual_seed(0)
    with torch.autocast(x.device.type, half, enabled=half is not None):
        outputs = copied(x)
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    loss_of(tuple(output.to(torch.promote_types(output.dtype, torch.float32)).cpu() for output in outputs)).backward()
    if mode == "reversible":
        assert reconstruction_error(copied) == 0
    drawn = {"drawn next": torch.rand(4, device=x.device)}
    return {name: grad.cpu() for name, grad in (gradients(copied) | drawn).items()}


@pytest.mark.parametrize("tile_size", ["auto", 4096, None])
@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_equal_plain_backprop_with_dropout_on(network: str, tile_size: int | None, device: str) -> None:
    model, x = network_of(network, device, torch.float64)
    set_tiles(model, tile_size)
    assert_same_gradients(in_mode(model, x, "reversible"), in_mode(model, x, "store"), tolerance=1e-10)


@pytest.mark.parametrize("coefficients", [(1.0, 0.0), (0.5, 0.75), (1.0, 0.0625)])
def test_so_they_do_with_any_coefficients(coefficients: tuple[float, float], device: str) -> None:
    model, x = network_of("swin", device, torch.float64)
    set_coefficients(model, alpha=coefficients[0], beta=coefficients[1])
    assert_same_gradients(in_mode(model, x, "reversible"), in_mode(model, x, "store"), tolerance=1e-10)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("network", ["mlp", "swin", "slowfast"])
def test_streams_are_exact_in_mixed_precision(network: str, half: torch.dtype, device: str) -> None:
    model, x = network_of(network, device)
    ours, plain = (in_mode(model, x, mode, half=half) for mode in ("reversible", "store"))
    assert all(gradient.isfinite().all() for gradient in ours.values())
    assert_same_gradients(ours, plain, tolerance=2e-2 if half == torch.bfloat16 else 3e-3)


@pytest.mark.parametrize(("reference", "strategy"), STRATEGIES)
@pytest.mark.parametrize("network", REDUCED)
def test_all_training_strategies_give_the_same_gradients(
    network: str, reference: StepStrategy, strategy: StepStrategy, device: str
) -> None:
    frames = torch.randint(0, 256, (1, 3, 8, 32, 32), dtype=torch.uint8, device=device)
    found = []
    for chosen in (reference, strategy):
        torch.manual_seed(0)
        model = build_with(REDUCED[network], chosen).double().to(device)
        with saving_elsewhere(chosen, device=torch.device(device)):
            run_step(model, frames, 4, dtype=torch.float64)
        # torch's wrapper of blocks stands in their names.
        found.append({name.replace("._checkpoint_wrapped_module", ""): grad for name, grad in gradients(model).items()})
    assert_same_gradients(found[1], found[0], tolerance=1e-10)


def test_memory_does_not_grow_with_depth(device: str) -> None:
    def step_bytes(mode: str, depth: int) -> int:
        model, x = MlpNet(depth=depth, channels=32).to(device), torch.randn(8192, 5, device=device)
        set_mode(model, mode)  # type: ignore[arg-type]
        for _ in range(2):  # the first traces
            model.zero_grad(set_to_none=True)
            with PeakMemory(x.device) as peak:
                model(x).square().mean().backward()
        return peak.allocated

    assert step_bytes("reversible", 24) < 1.1 * step_bytes("reversible", 6) < 0.5 * step_bytes("store", 6)
    assert step_bytes("store", 24) > 3 * step_bytes("store", 6)


def test_streams_that_overflow_are_run_again_unseen(device: str) -> None:
    """On an accelerator it is seen at the network's end alone."""
    model, x = network_of("swin", device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1e5 if name.endswith("mlp.3.weight") else 1.0)
    before = max(headrooms(model))
    torch.manual_seed(0)
    (ours,) = call_asking_once(model, x)
    assert max(headrooms(model)) > before
    set_mode(model, "store")
    torch.manual_seed(0)
    (plain,) = call_asking_once(model, x)
    assert torch.equal(ours, plain)
