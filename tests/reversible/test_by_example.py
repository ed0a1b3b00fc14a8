"""Blocks of unknown classes: found, cut into branches, and called one by one by code that knows nothing of chains."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.video import r3d_18, swin3d_t

from re2tal.reversible import (
    chains,
    reconstruction_error,
    report_of,
    rewire,
    set_mode,
    unrewire,
    verify,
)

from .networks import assert_same_gradients, gradients, loss_of
from .towers import Layer, example, step, two_streams


def test_a_loop_over_layers_computes_the_equations_of_the_paper() -> None:
    tower, x, mask = example()
    *_, last = two_streams(tower, x, mask)
    loss_of(tower.norm(last)).backward()
    expected = gradients(tower) | {"mask": mask.grad}
    tower.zero_grad()
    mask.grad = None
    assert rewire(tower, example=(x, mask)) is tower
    y = tower(x, mask)
    torch.testing.assert_close(y, tower.norm(last), rtol=1e-13, atol=1e-13)
    loss_of(y).backward()
    assert_same_gradients(gradients(tower) | {"mask": mask.grad}, expected, tolerance=1e-12)


def test_what_a_layer_returns_is_what_a_chain_that_ends_there_gives_and_has_its_gradients() -> None:
    tower, x, mask = example()
    means = two_streams(tower, x, mask)
    loss_of(tuple(means[:2])).backward()  # not of the last: the walk has to pass it
    expected = gradients(tower)
    tower.zero_grad()
    rewire(tower, example=(x, mask))
    hidden = tower(x, mask, hidden=True)
    for ours, reference in zip(hidden, means, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-13, atol=1e-13)
    loss_of(hidden[:2]).backward()
    found = gradients(tower)
    assert_same_gradients({name: found[name] for name in expected}, expected, tolerance=1e-12)


@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"skip": (1,)}])
def test_dropout_and_skipped_layers_train_as_plain_autograd_trains_them(options: dict[str, Any]) -> None:
    tower, x, mask = example(**options)
    rewire(tower.train(), example=(x, mask))
    assert_same_gradients(step(tower, x, mask), step(tower, x, mask, mode="store"), tolerance=1e-12)
    tower.skip = (0,)  # a layer that is skipped from now on
    assert_same_gradients(step(tower, x, mask), step(tower, x, mask, mode="store"), tolerance=1e-12)


def test_names_values_and_classes_are_untouched_and_unrewire_gives_the_original_back() -> None:
    tower, x, mask = example()
    state, expected = copy.deepcopy(tower.state_dict()), tower(x, mask)
    attributes = [set(vars(module)) for module in tower.modules()]
    rewire(tower, example=(x, mask))
    assert list(tower.state_dict()) == list(state) and all(type(layer) is Layer for layer in tower.layers)
    assert not torch.equal(tower(x, mask), expected)
    unrewire(tower)
    assert torch.equal(tower(x, mask), expected)
    assert [set(vars(module)) for module in tower.modules()] == attributes
    with pytest.raises(ValueError, match="holds no reversible chain; there is nothing to undo"):
        unrewire(tower)


@pytest.mark.parametrize("build", [swin3d_t, r3d_18])
def test_sequentials_of_known_blocks_are_given_back_too(build: Callable[..., nn.Module]) -> None:
    model = build(weights=None).eval()
    x = torch.randn(1, 3, 4, 32, 32)
    expected, kinds = model(x), [type(module) for module in model.modules()]
    rewire(model, example=x)
    assert report_of(model) is not None
    assert unrewire(model) is model
    assert [type(module) for module in model.modules()] == kinds
    assert torch.equal(model(x), expected)


def test_other_shapes_modes_and_arguments_than_the_example_s_are_traced_when_they_are_met() -> None:
    tower, x, mask = example(dropout=0.4)
    rewire(tower.eval(), example=x)  # no mask, no dropout
    longer = torch.randn(3, 6, 5, dtype=torch.float64)
    tower.train()
    assert_same_gradients(step(tower, longer, mask), step(tower, longer, mask, mode="store"), tolerance=1e-12)


def test_a_tensor_that_was_changed_on_the_way_starts_new_streams() -> None:
    tower, x, mask = example(depth=2)
    rewire(tower, example=(x, mask))
    first, second = tower.layers
    start = tower.stem(x)
    y, _ = first(start, mask=mask, position=tower.position)
    alone, _ = second(y.clone(), mask=mask, position=tower.position)
    y.mul_(1)  # in place: the tensor is the same, what it holds may not be
    after, _ = second(y, mask=mask, position=tower.position)
    assert torch.equal(alone, after)


def test_streams_are_walked_twice_over_a_retained_graph_and_not_otherwise() -> None:
    tower, x, mask = example()
    rewire(tower, example=(x, mask))
    loss = loss_of(tower(x, mask))
    parameters = list(tower.layers.parameters())
    late = list(tower.layers[2].parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    some = torch.autograd.grad(loss, late, retain_graph=True)
    second = torch.autograd.grad(loss, parameters)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(first[-len(late) :], some, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(RuntimeError, match="a second time|used up by the first"):
        torch.autograd.grad(loss, parameters)


def test_recovered_streams_are_exact_and_nothing_grows_with_depth() -> None:
    saved = []
    for depth in (2, 8):
        tower, x, mask = example(depth=depth)
        rewire(tower, example=(x, mask))
        report = verify(tower, (x, mask))
        assert report.passed and report.reconstruction_error == 0
        saved.append(report.saved_bytes)
    assert saved[0] == saved[1]


@pytest.mark.parametrize("mode", ["store", "reversible"])
def test_streams_that_outgrow_the_grid_are_run_again_as_if_nothing_had_happened(mode: str) -> None:
    tower, x, mask = example(dropout=0.2)
    with torch.no_grad():
        tower.layers[2].mlp[3].weight.mul_(1e6)
    rewire(tower.train(), example=(x, mask))
    (chain,) = chains(tower)
    set_mode(tower, mode)  # type: ignore[arg-type]
    torch.manual_seed(0)
    first = tower(x, mask)
    drawn = torch.rand(2)
    assert chain.headroom > 8
    torch.manual_seed(0)
    assert torch.allclose(tower(x, mask), first, rtol=1e-12)
    assert torch.equal(torch.rand(2), drawn)
    assert_same_gradients(step(tower, x, mask), step(tower, x, mask, mode="store"), tolerance=1e-10)


def test_gradients_after_an_overflow_are_those_of_plain_autograd() -> None:
    tower, x, mask = example(dropout=0.2)
    with torch.no_grad():
        tower.layers[2].mlp[3].weight.mul_(1e6)
    rewire(tower.train(), example=(x, mask))
    assert_same_gradients(step(tower, x, mask), step(tower, x, mask, mode="store"), tolerance=1e-10)


def test_copies_and_pickles_train_their_own_parameters() -> None:
    tower, x, mask = example()
    rewire(tower, example=(x, mask))
    expected = step(tower, x, mask)
    other = pickle.loads(pickle.dumps(tower))
    assert_same_gradients(step(other, x, mask), expected, tolerance=1e-13)
    loss_of(copy.deepcopy(tower)(x, mask)).backward()
    assert all(parameter.grad is None for parameter in tower.parameters())


def test_a_parameter_changed_before_backward_is_an_error() -> None:
    tower, x, mask = example()
    rewire(tower, example=(x, mask))
    loss = loss_of(tower(x, mask))
    with torch.no_grad():
        tower.layers[1].scale.mul_(2)
    with pytest.raises(RuntimeError, match="modified in place between its forward and its backward pass"):
        loss.backward()


def test_bfloat16_autocast_and_no_grad() -> None:
    tower, x, mask = example()
    tower, x, mask = tower.float(), x.float(), mask.detach().float()
    rewire(tower, example=(x, mask))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same_gradients(step(tower, x, mask), step(tower, x, mask, mode="store"), tolerance=2e-2)
    with torch.no_grad():
        quiet = tower(x, mask)
    assert not quiet.requires_grad and torch.equal(quiet, tower(x, mask))
    assert reconstruction_error(tower) is None
