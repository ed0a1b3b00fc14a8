"""Whatever is done to a rewired network, a call is right, stored with a warning, or an error that says what to do.

At alpha = 1, beta = 0 a rewired network computes what it did before, so the yardstick is the same network, changed in
the same way, that was never rewired.
"""

import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from re2tal.reversible import ReversibleChain, StoredWarning, report_of, rewire, set_coefficients, set_mode

from .modified import CLIP, NETWORKS, Block, Loop, X, assert_same_step, blocks_of, pair, step, swin
from .networks import assert_same_gradients, gradients, loss_of

# 1. What is not finite


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("mode", ["reversible", "store"])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_not_finite_is_where_plain_training_has_it(network: str, mode: Any, value: float) -> None:
    plain, ours, x = pair(network)
    set_mode(ours, mode)
    x = x.clone()
    x.view(-1)[3] = value
    found, expected = step(ours, x), step(plain, x)
    assert found.keys() == expected.keys() and not expected["output"].isfinite().all()
    for name, tensor in expected.items():
        assert torch.equal(found[name].isfinite(), tensor.isfinite()), name
        torch.testing.assert_close(found[name].nan_to_num(0, 0, 0), tensor.nan_to_num(0, 0, 0), rtol=1e-9, atol=1e-11)


def test_a_chain_of_modules_passes_them_on_too() -> None:
    chain = ReversibleChain([nn.Linear(8, 8).double() for _ in range(3)])
    x = X.clone()
    x[0, 1, 2] = float("nan")
    y = chain(x)
    assert y[0, 1].isnan().all() and y[1].isfinite().all()


# 2. The recomputation sees what the forward pass saw


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.eval(),
        lambda model: [setattr(block, "scale", 0.1) for block in blocks_of(model)],
        lambda model: [setattr(block, "doubled", True) for block in blocks_of(model)],
        lambda model: [setattr(block.f[2], "p", 0.9) for block in blocks_of(model)],
        lambda model: [block.f.register_forward_hook(lambda *_: 1 / 0) for block in blocks_of(model)],
        lambda model: [setattr(block, "f", nn.Identity()) for block in blocks_of(model)],
    ],
)
@pytest.mark.parametrize("network", ["loop", "sequential"])
def test_what_changes_between_forward_and_backward_pass_changes_nothing(network: str, change: Any) -> None:
    make, x = NETWORKS[network]
    found = []
    for _ in range(2):
        ours = rewire(make(), example=x)
        parameters, leaf = list(ours.parameters()), x.clone().requires_grad_()  # of the blocks as they are
        torch.manual_seed(1)
        loss = loss_of(ours(leaf))
        if found:
            change(ours)
        found.append(torch.autograd.grad(loss, [leaf, *parameters]))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_network_that_is_frozen_before_the_backward_pass_gives_its_input_its_gradient() -> None:
    results = []
    for frozen in (False, True):
        model, leaf = rewire(Loop(), example=X), X.clone().requires_grad_()
        torch.manual_seed(1)
        loss = loss_of(model(leaf))
        model.requires_grad_(not frozen)
        loss.backward()
        results.append(leaf.grad)
    assert torch.equal(*results)


def test_an_adapter_that_is_switched_off_before_the_backward_pass_still_counts() -> None:
    peft = pytest.importorskip("peft")

    def build(rewired: bool) -> nn.Module:
        torch.manual_seed(0)
        config = peft.LoraConfig(target_modules=["f.0"], init_lora_weights=False)
        model = Loop()
        model = peft.get_peft_model(model, config).double()
        if rewired:
            rewire(model.base_model.model, example=X)
            set_coefficients(model.base_model.model, alpha=1, beta=0)
        return model

    grads = []
    for rewired in (False, True):
        model = build(rewired)
        torch.manual_seed(1)
        leaf = X.clone().requires_grad_()
        loss = loss_of(model(leaf))
        with model.disable_adapter():
            grads.append(torch.autograd.grad(loss, [leaf])[0])
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda block: block.norm.requires_grad_(False).weight.mul_(2),
            "weight of a LayerNorm .* was modified in place",
        ),
        (lambda block: block.gain.mul_(2), "gain of a reversible block was modified in place"),
        (lambda block: block.settings.update(shift=1.0), "settings of a reversible block was written to"),
    ],
)
def test_what_is_written_to_before_the_backward_pass_is_an_error(change: Any, message: str) -> None:
    ours = rewire(Loop(), example=X)
    loss = loss_of(ours(X))
    with torch.no_grad():
        change(ours.get_submodule("blocks.1"))
    with pytest.raises(RuntimeError, match=message):
        loss.backward()


# 3. What leaves a branch sideways


class Telling(nn.Module):
    """Keeps a tensor for the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.told = nn.Linear(8, 8), None

    def forward(self, x: Tensor) -> Tensor:
        self.told = self.linear(x)
        return self.told.tanh()


@pytest.mark.parametrize("network", ["loop", "sequential"])
@pytest.mark.parametrize("how", ["attribute", "hook"])
def test_tensors_kept_for_the_loss_have_their_gradients(network: str, how: str) -> None:
    plain, ours, x = pair(network, lambda: Block(Telling()))
    results = []
    for model in (plain, ours):
        kept: list[Tensor] = []
        if how == "hook":
            for block in blocks_of(model):
                block.f.linear.register_forward_hook(lambda module, args, y, kept=kept: kept.append(y))
        with pytest.warns(StoredWarning) if model is ours else warnings.catch_warnings():
            loss = loss_of(model(x))
        kept = kept or [block.f.told for block in blocks_of(model)]
        assert len(kept) == 4
        (loss + sum(tensor.square().sum() for tensor in kept)).backward()
        results.append(gradients(model))
    assert_same_gradients(results[1], results[0], tolerance=1e-9)
    report = report_of(ours)
    assert report is not None and all(block.stored for block in report.blocks)
    assert "stored: " in str(report)


# 4. Parameters that are not registered


class Borrowing(nn.Module):
    def __init__(self, lender: nn.Module) -> None:
        super().__init__()
        self.linear, self.lent = nn.Linear(8, 8), [lender]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.lent[0](x)


def test_a_module_in_a_plain_list_gets_its_gradient() -> None:
    lender = nn.Linear(8, 8).double()
    model = rewire(Loop(lambda: Block(Borrowing(lender))), example=X)
    set_coefficients(model, alpha=1, beta=0)
    with pytest.warns(StoredWarning, match="needs a gradient and is no parameter of it"):
        loss = loss_of(model(X))
    (found,) = torch.autograd.grad(loss, [lender.weight])
    (expected,) = torch.autograd.grad(loss_of(Loop(lambda: Block(Borrowing(lender)))(X)), [lender.weight])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


# 5. Buffers that move


class Moving(nn.Module):
    """Centres what it is given by a running mean, which it replaces or writes to, in every call or every second."""

    def __init__(self, *, replaces: bool = False, every: int = 1) -> None:
        super().__init__()
        self.linear, self.replaces, self.every, self.calls = nn.Linear(8, 8), replaces, every, 0
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x - self.mean)
        self.calls += 1
        if self.calls % self.every == 0:
            new = 0.9 * self.mean + 0.1 * y.detach().mean((0, 1))
            if self.replaces:
                self.mean = new
            else:
                self.mean.copy_(new)
        return y


@pytest.mark.parametrize(
    "branch",
    [
        Moving,
        lambda: Moving(replaces=True),
        lambda: Moving(every=2),
        lambda: parametrizations.spectral_norm(nn.Linear(8, 8)),
        lambda: nn.Sequential(nn.Linear(8, 8), nn.Flatten(0, 1), nn.BatchNorm1d(8), nn.Unflatten(0, (2, 5))),
    ],
)
@pytest.mark.parametrize("network", ["loop", "sequential"])
def test_buffers_move_once_a_step(network: str, branch: Callable[[], nn.Module]) -> None:
    plain, ours, x = pair(network, lambda: Block(branch()))
    for _ in range(3):
        assert_same_step(plain, ours, x)


# 6. Nothing stale


class Halved(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


CHANGES: dict[str, Callable[[nn.Module], Any]] = {
    "number": lambda block: setattr(block, "scale", 0.25),
    "flag": lambda block: setattr(block, "doubled", True),
    "dropout": lambda block: setattr(block, "p", 0.5),
    "bare tensor": lambda block: setattr(block, "gain", torch.tensor(0.25)),
    "in a dict": lambda block: block.settings.update(shift=0.5),
    "class": lambda block: setattr(block.f[0], "__class__", Halved),
    "child": lambda block: setattr(block, "norm", nn.Identity()),
    "forward of a child": lambda block: setattr(block.f[0], "forward", lambda x: x.sin()),
    "forward": lambda block: setattr(block, "forward", types.MethodType(lambda self, x: x + self.norm(x), block)),
    "hook": lambda block: block.f[1].register_forward_hook(lambda module, args, y: y * 0.5),
    "hook before": lambda block: block.f[2].register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
    "hook on the block": lambda block: block.register_forward_hook(lambda module, args, y: y * 0.5),
}


@pytest.mark.filterwarnings("ignore::re2tal.reversible.StoredWarning")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("network", ["loop", "sequential"])
def test_changes_have_their_effect(network: str, change: str, when: str) -> None:
    make, x = NETWORKS[network]
    plain, ours = make(), make()
    CHANGES[change](blocks_of(plain)[1])
    if when == "before":
        CHANGES[change](blocks_of(ours)[1])
    ours = rewire(ours, example=x)
    set_coefficients(ours, alpha=1, beta=0)
    if when == "after":
        ours(x)
        CHANGES[change](blocks_of(ours)[1])
    assert_same_step(plain, ours, x)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_replaced_block_is_replaced(network: str) -> None:
    plain, ours, x = pair(network)
    for model in (plain, ours):
        parent = model.features[0] if network == "swin" else model if network == "sequential" else model.blocks
        parent[1] = nn.Identity()
    assert_same_step(plain, ours, x)


# 7. Tiles only where they are proven


class Adapted(nn.Module):
    """LoRA."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.down = base, nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


class OverTokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean((1, 2, 3), keepdim=True)


def _adapt(block: nn.Module) -> None:
    torch.manual_seed(5)
    block.mlp[0], block.mlp[3] = Adapted(block.mlp[0]).double(), Adapted(block.mlp[3]).double()


def _patch(block: nn.Module) -> None:
    old = block.attn.forward
    block.attn.forward = lambda x: old(x) * 0.5


@pytest.mark.filterwarnings("ignore::re2tal.reversible.StoredWarning")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "change",
    [
        _adapt,
        _patch,
        lambda block: setattr(block, "norm1", OverTokens()),
        lambda block: block.attn.register_forward_hook(lambda module, args, y: y * 0.5),
        lambda block: parametrizations.weight_norm(block.mlp[0]),
    ],
)
def test_a_changed_swin_computes_what_it_says(change: Callable[[nn.Module], Any], when: str) -> None:
    plain, ours = swin(), swin()
    for block in blocks_of(plain):
        change(block)
    for moment in ("before", "rewire", "after"):
        if moment == "rewire":
            rewire(ours)
            set_coefficients(ours, alpha=1, beta=0)
        elif moment == when:
            for block in blocks_of(ours):
                change(block)
    assert_same_step(plain, ours, CLIP)
