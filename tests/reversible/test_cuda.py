"""The engine on a CUDA device."""

import copy

import pytest
import torch

from re2tal.reversible import reconstruction_error, set_mode

from .networks import NETWORKS, assert_same_gradients, gradients, loss_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_equal_plain_backprop_with_dropout_on(network: str) -> None:
    torch.manual_seed(0)
    model, x = NETWORKS[network]()
    model, x = model.double().cuda(), x.double().cuda()
    results, drawn = {}, {}
    for mode in ("store", "reversible"):
        copied = copy.deepcopy(model)
        set_mode(copied, mode)
        torch.manual_seed(0)
        outputs = copied(x)
        outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
        loss_of(tuple(output.cpu() for output in outputs)).backward()
        results[mode] = {name: grad.cpu() for name, grad in gradients(copied).items()}
        drawn[mode] = torch.rand(4, device="cuda")
    assert_same_gradients(results["reversible"], results["store"], tolerance=1e-10)
    assert torch.equal(drawn["reversible"], drawn["store"])


def test_fp16_autocast_keeps_float32_streams() -> None:
    torch.manual_seed(0)
    model, x = NETWORKS["swin"]()
    model = model.cuda()
    with torch.autocast("cuda", torch.float16):
        (output,) = model(x.cuda())
    output.float().square().mean().backward()
    error = reconstruction_error(model)
    assert error is not None and error < 1e-4
    assert all(p.grad.isfinite().all() for p in model.parameters())
