"""A network that waits for its device once computes what it computes when every chain asks at once."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from re2tal.reversible import StoredWarning, call_asking_once, checks, headrooms, rewire, set_headrooms
from re2tal.reversible.fixed_point import FixedPoint

from .networks import assert_same_gradients, gradients, loss_of
from .test_tiles import slowfast, swin


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """As if the processor were waited for. Holds the number of times that a value was asked for."""
    asked = [0]
    original = FixedPoint.check

    def check(self: FixedPoint, *found: Tensor) -> None:
        asked[0] += 1
        original(self, *found)

    monkeypatch.setattr(FixedPoint, "check", check)
    monkeypatch.setattr(checks, "_is_waited_for", lambda device: True)
    yield asked


def step(model: nn.Module, x: Tensor, *, once: bool) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    outputs = call_asking_once(model, x) if once else model(x)
    loss_of(outputs).backward()
    return outputs, torch.rand(3)


@pytest.mark.parametrize("headroom", [8, -8])
@pytest.mark.parametrize("make", [lambda: swin(window=(2, 3, 3)), slowfast])
def test_the_same_to_the_bit_also_where_formats_do_not_hold(make: Any, headroom: int, waits: list[int]) -> None:
    ours = make()
    set_headrooms(ours, [headroom] * len(headrooms(ours)))
    theirs = copy.deepcopy(ours)
    x = torch.randn(1, 3, 8, 32, 32, dtype=torch.float64)
    found, after = step(ours, x, once=True)
    asked = waits[0]
    expected, expected_after = step(theirs, x, once=False)
    assert (asked == 0) == (headroom == 8), "a format that holds is asked for together with the others"
    assert waits[0] > asked
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
    assert_same_gradients(gradients(ours), gradients(theirs), tolerance=0)
    assert torch.equal(after, expected_after) and headrooms(ours) == headrooms(theirs)


def test_what_is_not_finite_is_where_it_should_be() -> None:
    model = swin(window=(2, 3, 3), drop_path=0.0)
    x = torch.randn(1, 3, 8, 32, 32, dtype=torch.float64)
    x[0, 0, 0, 0, 0] = torch.nan
    for ours, expected in zip(call_asking_once(model, x), model(x), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0, equal_nan=True)


def test_hooks_see_every_call_once() -> None:
    model = swin(window=(2, 3, 3))
    set_headrooms(model, [-8] * len(headrooms(model)))
    seen: list[int] = []
    model.norm.register_forward_hook(lambda *_: seen.append(1))
    call_asking_once(model, torch.randn(1, 3, 8, 32, 32, dtype=torch.float64))
    assert seen == [1]


class Noted(nn.Module):
    """A block that hands a tensor to somebody else."""

    def __init__(self, notes: list[Tensor]) -> None:
        super().__init__()
        self.linear, self.notes = nn.Linear(4, 4), notes

    def forward(self, x: Tensor) -> Tensor:
        self.notes.append(x)
        return x + self.linear(x)


class Steep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + 100 * self.linear(x)


def test_modules_that_may_hand_something_on_are_called_once() -> None:
    notes: list[Tensor] = []
    x = torch.randn(2, 4, dtype=torch.float64)
    model = rewire(nn.Sequential(Steep(), Steep(), Noted(notes), Steep()).double(), example=x)
    set_headrooms(model, [-8] * len(headrooms(model)))
    notes.clear()
    y = call_asking_once(model, x)
    assert len(notes) == 1
    torch.testing.assert_close(y, model(x), rtol=0, atol=0)


def test_a_block_that_is_stored_asks_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = swin(window=(2, 3, 3), drop_path=0.0)
    set_headrooms(model, [-8] * len(headrooms(model)))
    calls: list[int] = []
    model.features[2][1].mlp[1].register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(checks, "_is_seen", lambda model: False)
    x = torch.randn(1, 3, 8, 32, 32, dtype=torch.float64)
    with pytest.warns(StoredWarning):
        found = call_asking_once(model, x)
    assert calls == [1]
    for ours, expected in zip(found, model(x), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)
