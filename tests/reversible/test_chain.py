"""A reversible chain trains exactly as plain autograd would train the same computation."""

import copy

import pytest
import torch
from torch import Tensor, nn

from re2tal.reversible import Branch, Mode, ReversibleChain, reconstruction_error, set_mode

from .networks import NETWORKS, Mlp, MlpNet, assert_same_gradients, gradients, loss_of, worst_error


def train_step(model: nn.Module, x: Tensor, mode: Mode, *, seed: int = 0, steps: int = 1) -> dict[str, Tensor]:
    """Gradients of a copy of the model after `steps` accumulated backward passes; "output" is the last output."""
    model = copy.deepcopy(model)
    x = x.clone().requires_grad_()
    set_mode(model, mode)
    torch.manual_seed(seed)
    for _ in range(steps):
        outputs = model(x)
        loss_of(outputs).backward()
    first = outputs if isinstance(outputs, Tensor) else outputs[0]
    return {**gradients(model, x), "output": first.detach()}


@pytest.mark.parametrize("network", NETWORKS)
def test_outputs_and_gradients_equal_plain_backprop_with_dropout_on(network: str) -> None:
    torch.manual_seed(1)
    model, x = NETWORKS[network]()
    model, x = model.double().train(), x.double()
    ours, plain = train_step(model, x, "reversible"), train_step(model, x, "store")
    assert torch.equal(ours["output"], plain["output"])
    assert_same_gradients(ours, plain, tolerance=1e-10)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_float32_gradients_equal_plain_backprop(network: str, training: bool) -> None:
    torch.manual_seed(1)
    model, x = NETWORKS[network]()
    model.train(training)
    ours, plain = train_step(model, x, "reversible"), train_step(model, x, "store")
    assert torch.equal(ours["output"], plain["output"])
    tolerance = 1e-5
    if network == "slowfast" and training:
        # Statistics of small batches amplify rounding: plain float32 is itself this far from float64.
        tolerance = 8 * worst_error(plain, train_step(model.double(), x.double(), "store"))[0]
        assert tolerance < 1e-3
    assert_same_gradients(ours, plain, tolerance=tolerance)


def test_the_chain_computes_the_equations_of_the_paper() -> None:
    f, g, h = (Mlp(4).double() for _ in range(3))
    x = torch.randn(2, 4, dtype=torch.float64)
    u0 = v0 = x
    x1 = u0 + f(v0)  # every module adds to the stream before the last
    x2 = v0 + g(x1)
    x3 = x1 + h(x2)
    torch.testing.assert_close(ReversibleChain([f, g, h])(x), (x2 + x3) / 2, rtol=1e-14, atol=0)


def test_dropout_mask_differs_between_steps_and_is_replayed() -> None:
    model = MlpNet(dropout=0.5).double().train()
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.manual_seed(0)
    first, second = model(x), model(x)
    assert not torch.equal(first, second)
    ours, plain = (train_step(model, x, mode, steps=3) for mode in ("reversible", "store"))
    assert_same_gradients(ours, plain, tolerance=1e-10)


@pytest.mark.parametrize("network", ["mlp", "swin"])
def test_random_state_is_left_as_plain_training_leaves_it(network: str) -> None:
    model, x = NETWORKS[network]()
    drawn = {}
    for mode in ("store", "reversible"):
        train_step(model.train(), x, mode, seed=3)
        drawn[mode] = torch.rand(4)
    assert torch.equal(drawn["store"], drawn["reversible"])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("subset", range(6))
def test_gradients_are_right_whatever_is_frozen(network: str, subset: int) -> None:
    torch.manual_seed(subset)
    model, x = NETWORKS[network]()
    model, x = model.double(), x.double()
    for parameter in model.parameters():
        parameter.requires_grad_(bool(torch.rand(()) < 0.4))
    results = {}
    for mode in ("store", "reversible"):
        copied = copy.deepcopy(model)
        set_mode(copied, mode)
        torch.manual_seed(0)
        loss_of(copied(x)).backward()  # the input needs no gradient
        results[mode] = gradients(copied)
    assert results["store"]
    assert_same_gradients(results["reversible"], results["store"], tolerance=1e-10)


def test_a_frozen_stem_leaves_the_first_stage_trainable() -> None:
    model = MlpNet().double()
    model.stem.requires_grad_(False)
    loss_of(model(torch.randn(2, 5, dtype=torch.float64))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.chain.parameters())


def test_only_the_input_needs_a_gradient() -> None:
    model, x = MlpNet().double().requires_grad_(False), torch.randn(2, 5, dtype=torch.float64)
    assert_same_gradients(train_step(model, x, "reversible"), train_step(model, x, "store"), tolerance=1e-10)


def test_autograd_grad_equals_backward() -> None:
    model = MlpNet().double()
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss_of(model(x)), [*parameters, x])
    ours = dict(zip([*names, "input"], found, strict=True))
    assert all(p.grad is None for p in parameters)
    loss_of(model(x)).backward()
    assert_same_gradients(ours, gradients(model, x), tolerance=1e-12)


def test_two_backward_passes_over_a_retained_graph_agree() -> None:
    model = MlpNet().double()
    loss = loss_of(model(torch.randn(2, 5, dtype=torch.float64)))
    loss.backward(retain_graph=True)
    once = gradients(model)
    loss.backward()
    assert_same_gradients(gradients(model), {name: 2 * grad for name, grad in once.items()}, tolerance=1e-14)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_parameter_and_module_hooks_run_once_with_the_whole_gradient() -> None:
    x = torch.randn(2, 5, dtype=torch.float64)
    model = MlpNet().double()
    plain = copy.deepcopy(model)
    set_mode(plain, "store")
    calls: list[str] = []
    for copied in (model, plain):
        parameter = copied.chain.get_parameter("1.first.weight")
        parameter.register_hook(lambda grad: calls.append("tensor") or 2 * grad)
        parameter.register_post_accumulate_grad_hook(lambda p: calls.append("accumulated"))
        copied.chain.get_submodule("1.second").register_full_backward_hook(lambda *_: calls.append("module"))
        loss_of(copied(x)).backward()
    assert calls[:3].count("tensor") == calls[:3].count("accumulated") == calls[:3].count("module") == 1
    assert len(calls) == 6
    assert_same_gradients(gradients(model), gradients(plain), tolerance=1e-10)


def test_shared_parameters_get_the_sum() -> None:
    shared = Mlp(6)
    model = MlpNet(depth=1)
    model.chain = ReversibleChain([shared, Mlp(6), shared, Mlp(6)])
    model.chain.get_submodule("1").first = shared.first  # inside another branch too
    x = torch.randn(2, 5)
    ours, plain = (train_step(model.double(), x.double(), mode) for mode in ("reversible", "store"))
    assert_same_gradients(ours, plain, tolerance=1e-10)


def test_a_parameter_added_as_it_is_gets_its_own_gradient() -> None:
    class Code(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Parameter(torch.randn(2, 6))  # its gradient is the incoming gradient itself

        def forward(self, x: Tensor) -> Tensor:
            return x.sin() + self.code

    model = MlpNet(depth=1)
    model.chain = ReversibleChain([Code() for _ in range(5)] + [nn.Identity()])
    x = torch.randn(2, 5)
    ours, plain = (train_step(model.double(), x.double(), mode) for mode in ("reversible", "store"))
    assert_same_gradients(ours, plain, tolerance=1e-10)


def _biased(owner: nn.Module, x: Tensor, bias: Tensor, scale: float, mask: Tensor) -> Tensor:
    return owner(x + bias) * scale * mask


def test_extra_arguments_get_gradients_too() -> None:
    branches = [Branch(Mlp(6).double(), _biased) for _ in range(3)]
    x, mask = torch.randn(2, 6, dtype=torch.float64), torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    found = []
    for mode in ("store", "reversible"):
        bias = torch.full((6,), 0.1, dtype=torch.float64, requires_grad=True)
        loss_of(ReversibleChain(branches, mode=mode)(x, bias, 0.5, mask)).backward()
        found.append(bias.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=0)


def test_parameters_given_to_a_branch_by_name_are_trained() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma, self.mlp = nn.Parameter(torch.full((6,), 0.5)), Mlp(6)

    blocks = [Scaled() for _ in range(2)]
    model = MlpNet(depth=1)
    model.chain = ReversibleChain([Branch(block, _scaled, ("gamma", "mlp")) for block in blocks])
    x = torch.randn(2, 5)
    ours, plain = (train_step(model.double(), x.double(), mode) for mode in ("reversible", "store"))
    assert "chain.0.gamma" in ours
    assert_same_gradients(ours, plain, tolerance=1e-10)


def _scaled(owner: nn.Module, x: Tensor) -> Tensor:
    return owner.gamma * owner.mlp(x)


def test_functional_call_differentiates_the_parameters_it_was_given() -> None:
    model, x = MlpNet().double(), torch.randn(2, 5, dtype=torch.float64)
    given = {name: (2 * p.detach()).requires_grad_() for name, p in model.named_parameters()}
    grads = {}
    for mode in ("store", "reversible"):
        set_mode(model, mode)
        loss = loss_of(torch.func.functional_call(model, given, x))
        grads[mode] = dict(zip(given, torch.autograd.grad(loss, list(given.values())), strict=True))
    assert_same_gradients(grads["reversible"], grads["store"], tolerance=1e-10)


def test_batch_norm_statistics_are_updated_once() -> None:
    models = {}
    for mode in ("store", "reversible"):
        torch.manual_seed(0)
        model, x = NETWORKS["slowfast"]()
        set_mode(model.train(), mode)
        loss_of(model(x)).backward()
        models[mode] = dict(model.named_buffers())
    assert int(models["reversible"]["slow_path.layer1.1.conv1.bn.num_batches_tracked"]) == 1
    for name, expected in models["store"].items():
        torch.testing.assert_close(models["reversible"][name], expected)


@pytest.mark.parametrize("network", NETWORKS)
def test_under_bf16_autocast_gradients_equal_plain_backprop(network: str) -> None:
    torch.manual_seed(1)
    model, x = NETWORKS[network]()

    def step(mode: Mode, *, bf16: bool) -> tuple[Tensor, Tensor]:
        copied = copy.deepcopy(model)
        set_mode(copied, mode)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            outputs = copied(x)
        loss_of(outputs).backward()  # outside autocast, as training does
        output = outputs if isinstance(outputs, Tensor) else outputs[0]
        return output, torch.cat([grad.flatten() for grad in gradients(copied).values()])

    (output, ours), (expected_output, plain) = step("reversible", bf16=True), step("store", bf16=True)
    _, exact = step("store", bf16=False)
    assert torch.equal(output, expected_output)
    print("RATIO", network, float((ours - plain).norm() / plain.norm()), float((plain - exact).norm() / plain.norm()))
    assert (ours - plain).norm() < 5e-2 * plain.norm()


def test_weights_cast_by_autocast_keep_their_gradients_outside_the_chain() -> None:
    layer = nn.Linear(6, 6)
    chain = ReversibleChain([layer])
    with torch.autocast("cpu", torch.bfloat16):
        chain(torch.randn(2, 6))
        layer(torch.randn(2, 6)).float().sum().backward()
    assert layer.weight.grad is not None


def test_no_grad_gives_the_same_output_and_no_graph() -> None:
    model, x = MlpNet().eval(), torch.randn(2, 5)
    expected = model(x)
    with torch.no_grad():
        assert torch.equal(model(x), expected)
    with torch.inference_mode():
        output = model(x)
    assert torch.equal(output, expected) and not output.requires_grad
    assert reconstruction_error(model) is None


def test_the_input_is_not_overwritten() -> None:
    for depth in (1, 2, 3):
        chain = ReversibleChain([Mlp(6) for _ in range(depth)])
        x = torch.randn(2, 6, requires_grad=True)
        before = x.detach().clone()
        chain(x).sum().backward()
        assert torch.equal(x, before)


def test_a_deep_copy_trains_its_own_parameters() -> None:
    model = MlpNet()
    copied = copy.deepcopy(model)
    copied(torch.randn(2, 5)).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in copied.parameters())
    with torch.no_grad():
        copied.chain.get_parameter("0.first.weight").zero_()
    assert not torch.equal(copied(torch.ones(1, 5)), model(torch.ones(1, 5)))


def test_state_dict_round_trip() -> None:
    model, other = MlpNet(), MlpNet()
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 5)
    assert torch.equal(model(x), other(x))
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("mode", ["reversible", "store"])
def test_saved_activations_do_not_grow_with_depth(mode: Mode) -> None:
    saved = {}
    for depth in (2, 24):
        model = MlpNet(depth=depth, channels=16)
        set_mode(model, mode)
        parameters = {p.data_ptr() for p in model.parameters()}
        count = [0]

        def pack(tensor: Tensor, parameters: set[int] = parameters, count: list[int] = count) -> Tensor:
            if tensor.data_ptr() not in parameters:
                count[0] += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.randn(8, 5))
        saved[depth] = count[0]
    if mode == "reversible":
        assert saved[24] == saved[2]
    else:
        assert saved[24] > 6 * saved[2]


def test_gradients_survive_hooks_that_move_saved_tensors() -> None:
    model, x = MlpNet().double(), torch.randn(2, 5, dtype=torch.float64)
    expected = train_step(model, x, "store")
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t.clone()):
        ours = train_step(model, x, "reversible")
    assert_same_gradients(ours, expected, tolerance=1e-10)


def test_a_parameter_changed_before_backward_is_an_error() -> None:
    model = MlpNet()
    loss = model(torch.randn(2, 5)).sum()
    with torch.no_grad():
        model.chain.get_parameter("0.first.weight").mul_(2)
    with pytest.raises(RuntimeError, match="modified in place"):
        loss.backward()


def test_a_parameter_of_a_stem_changed_before_backward_is_an_error_too() -> None:
    model, x = NETWORKS["swin"]()
    loss = loss_of(model(x))
    with torch.no_grad():
        model.patch_embed.proj.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified in place"):
        loss.backward()


def test_second_derivatives_are_refused() -> None:
    x = torch.randn(2, 5, requires_grad=True)
    (grad,) = torch.autograd.grad(MlpNet()(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice, .* set_mode"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ReversibleChain([]), "at least one branch"),
        (lambda: ReversibleChain([nn.Identity()], mode="fast"), "mode must be one of store, reversible, got 'fast'"),
        (lambda: ReversibleChain([nn.Linear(6, 7)])(torch.ones(1, 6)), r"made \(1, 7\) of \(1, 6\)"),
        (lambda: set_mode(nn.Linear(1, 1), "store"), "no reversible chain"),
    ],
)
def test_wrong_use_is_answered_with_value_and_rule(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
