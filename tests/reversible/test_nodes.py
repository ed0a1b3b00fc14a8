"""A chain has a node of autograd's graph for every block, whose parameters' gradients are ready when it is undone."""

import copy

import pytest
import torch
from torch import Tensor

from re2tal.reversible import Branch, set_mode
from re2tal.reversible.observers import observed_by

from .networks import MlpNet, assert_same_gradients, gradients, loss_of


class Noted:
    """Notes which branches are computed, as an observer of the engine."""

    def __init__(self, model: MlpNet, events: list[str]) -> None:
        self.names = {id(branch): f"branch {place}" for place, branch in enumerate(model.chain.branches)}
        self.events = events

    def begins(self, branch: Branch, x: Tensor) -> None:
        self.events.append(self.names[id(branch)])

    def ended(self, branch: Branch, f: Tensor) -> None:
        pass


def example() -> tuple[MlpNet, Tensor]:
    torch.manual_seed(0)
    return MlpNet().double(), torch.randn(2, 5, dtype=torch.float64)


def test_gradients_of_the_last_block_alone_need_no_other_block() -> None:
    model, x = example()
    last = list(model.chain.get_submodule("3").parameters())
    loss_of(model(x)).backward()
    expected = [parameter.grad for parameter in last]
    model.zero_grad(set_to_none=True)
    loss, events = loss_of(model(x)), []
    with observed_by(Noted(model, events)):
        found = torch.autograd.grad(loss, last)
    assert events == ["branch 3"]
    assert not gradients(model)  # nothing is accumulated
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_blocks_before_the_first_one_that_learns_are_not_computed_again() -> None:
    model, x = example()
    for frozen in (model.stem, *(model.chain.get_submodule(name) for name in "01")):
        frozen.requires_grad_(False)
    plain = copy.deepcopy(model)
    set_mode(plain, "store")
    loss_of(plain(x)).backward()
    loss, events = loss_of(model(x)), []
    with observed_by(Noted(model, events)):
        loss.backward()
    assert events == ["branch 3", "branch 2"]
    assert_same_gradients(gradients(model), gradients(plain), tolerance=1e-10)


@pytest.mark.parametrize("mode", ["reversible", "store"])
def test_an_optimizer_may_step_and_drop_gradients_block_by_block(mode: str) -> None:
    model, x = example()
    plain = copy.deepcopy(model)
    set_mode(model, mode)  # type: ignore[arg-type]
    loss_of(plain(x)).backward()

    def update(parameter: Tensor) -> None:
        assert parameter.grad is not None
        with torch.no_grad():
            parameter.sub_(parameter.grad, alpha=0.1)
        parameter.grad = None

    for parameter in model.chain.parameters():
        parameter.register_post_accumulate_grad_hook(update)
    loss_of(model(x)).backward()
    for ours, other in zip(model.chain.parameters(), plain.chain.parameters(), strict=True):
        torch.testing.assert_close(ours, other - 0.1 * other.grad, rtol=1e-10, atol=1e-12)
        assert ours.grad is None
