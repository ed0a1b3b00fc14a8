"""Rewired networks hooked, checkpointed, compiled, in half precision, exported: right, stored, or refused."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from re2tal.reversible import ReversibleChain, rewire, set_coefficients, set_mode

from .modified import NETWORKS, Block, Loop, X, assert_same_step, blocks_of, pair, sequential, step
from .networks import assert_same_gradients, gradients, loss_of

# 8. Hooks on blocks


@pytest.mark.parametrize("network", NETWORKS)
def test_hooks_on_blocks_see_what_they_see_in_the_network_that_was_not_rewired(network: str) -> None:
    plain, ours, x = pair(network)
    seen: list[list[Tensor]] = []
    for model in (plain, ours):
        calls: list[Tensor] = []
        seen.append(calls)
        for block in blocks_of(model):
            block.register_forward_hook(lambda module, args, y, calls=calls: calls.append(y.detach().clone()))
            block.register_full_backward_hook(lambda m, into, out, calls=calls: calls.extend((into[0], out[0])))
        step(model, x)
    assert len(seen[0]) == len(seen[1]) == 12
    for ours_saw, plain_saw in zip(seen[1], seen[0], strict=True):
        torch.testing.assert_close(ours_saw, plain_saw, rtol=1e-9, atol=1e-11)


def test_gradients_of_block_outputs_can_be_retained_asked_for_and_changed() -> None:
    plain, ours, x = pair("loop")
    results = []
    for model in (plain, ours):
        torch.manual_seed(1)
        outputs = []
        y = x.clone().requires_grad_()
        for block in blocks_of(model):
            y = block(y)
            outputs.append(y)
        outputs[0].retain_grad()
        outputs[1].register_hook(lambda grad: grad * 0.5)
        loss = loss_of(y) + outputs[2].square().sum()
        (asked,) = torch.autograd.grad(loss, [outputs[2]], retain_graph=True)
        loss.backward()
        results.append(gradients(model) | {"retained": outputs[0].grad, "asked": asked})
    assert_same_gradients(results[1], results[0], tolerance=1e-9)


# 9. Around: checkpoints, compilers


class Checkpointed(nn.Module):
    def __init__(self, block: nn.Module, *, reentrant: bool) -> None:
        super().__init__()
        self.block, self.reentrant = block, reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.block, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("wrapped", [(0, 1, 2, 3), (2, 3), (1,)])
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("mode", ["reversible", "store"])
def test_checkpoints_around_blocks_change_nothing(mode: Any, reentrant: bool, wrapped: tuple[int, ...]) -> None:
    results = []
    for around in (False, True):
        model = rewire(Loop(), example=X)
        set_mode(model, mode)
        if around:
            for index in wrapped:
                model.blocks[index] = Checkpointed(model.blocks[index], reentrant=reentrant)
        results.append(list(step(model, X).values()))
    for ours, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_a_compiled_network_trains_and_meets_new_kinds_of_calls() -> None:
    plain, ours, x = pair("loop")
    ours.eval()
    compiled = torch.compile(ours, backend="aot_eager")
    for model in (plain, ours):
        model.train()  # which no call has met yet
    assert_same_step(plain, compiled, x)


# 10. Half precision


@pytest.mark.parametrize("network", NETWORKS)
def test_parameters_in_bfloat16_train(network: str) -> None:
    plain, _, x = pair(network)
    plain = plain.float().eval()
    exact = step(plain, x.float())
    model = rewire(copy.deepcopy(plain).bfloat16(), example=x.bfloat16())
    set_coefficients(model, alpha=1, beta=0)
    found = step(model, x.bfloat16())
    assert found["output"].dtype == torch.bfloat16
    for name in ("output", "input"):
        assert (found[name].float() - exact[name]).norm() < 5e-2 * exact[name].norm()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


# 11. Export


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("network", NETWORKS)
def test_a_rewired_network_is_exported_and_traced(network: str) -> None:
    make, x = NETWORKS[network]
    x = x.float()
    model, fresh = (rewire(make().float(), example=x).eval() for _ in range(2))
    fresh.load_state_dict(model.state_dict())
    exported, traced = torch.export.export(model, (x,)).module(), torch.jit.trace(fresh, x)
    assert all(module.training is False for module in model.modules())
    for program in (exported, traced):
        torch.testing.assert_close(program(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_network_that_reads_functions_which_an_export_replaces_is_exported() -> None:
    timm = pytest.importorskip("timm")
    x = torch.randn(1, 3, 32, 32)
    model = rewire(timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32), example=x).eval()
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_an_export_of_a_kind_of_call_that_was_never_met_is_an_error_with_the_fix() -> None:
    make, x = NETWORKS["loop"]
    model = rewire(make().float(), example=x.float()).eval().double()
    with pytest.raises(RuntimeError, match=r"call the network once with this input .*, or unrewire it"):
        torch.export.export(model, (x,))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("network", NETWORKS)
def test_scripting_is_an_error_with_the_fix(network: str) -> None:
    _, ours, _ = pair(network)
    with pytest.raises(AttributeError, match=r"use torch.jit.trace or torch.export, or unrewire"):
        torch.jit.script(ours.float())


@pytest.mark.parametrize("network", NETWORKS)
def test_rewiring_leaves_training_flags_and_random_state_alone(network: str) -> None:
    make, x = NETWORKS[network]
    model = make()
    next(model.children()).eval()
    flags, state = [module.training for module in model.modules()], torch.get_rng_state()
    rewire(model, example=x)
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.filterwarnings("ignore")
def test_a_rewired_network_runs_in_onnx_runtime(tmp_path: Any) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, x = rewire(sequential().float(), example=X.float()).eval(), X.float()
    expected = model(x)
    torch.onnx.export(model, (x,), tmp_path / "model.onnx", dynamo=True, verbose=False)
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-5, atol=1e-5)


# 12. Errors and edges


@pytest.mark.parametrize("network", NETWORKS)
def test_an_empty_batch_works_as_it_does_in_plain_training(network: str) -> None:
    plain, ours, x = pair(network)
    if network == "swin":
        plain(x[:1])
    assert ours(x[:0]).shape == plain(x[:0]).shape


def test_a_branch_that_returns_a_tuple_is_an_error_that_says_so() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(ValueError, match="must return a tensor, but Two returned a tuple"):
        ReversibleChain([Two()])(X)


def test_transforms_of_torch_func_see_the_function_of_the_chain() -> None:
    model = rewire(Loop(lambda: Block(nn.Linear(8, 8))), example=X).eval()
    model(X)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    found = torch.func.grad(lambda p: torch.func.functional_call(model, p, (X,)).square().sum())(parameters)
    expected = torch.autograd.grad(model(X).square().sum(), list(model.parameters()))
    for ours, reference in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-11)
