"""What a chain stores changes the time and the memory of a step, and no bit of its gradients."""

import copy
import gc
import itertools
import weakref
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from re2tal.reversible import (
    chains,
    fastest_storage,
    headrooms,
    measure_costs,
    reconstruction_error,
    rewire,
    set_coefficients,
    set_mode,
    set_storage,
    set_tiles,
    storage,
    stored_bytes,
)
from re2tal.reversible.branch import Branch
from re2tal.reversible.observers import observed_by
from re2tal.reversible.spending import BranchCost, PartCost
from re2tal.reversible.storage import StoredGradients

from .networks import NETWORKS, assert_same_gradients, gradients, loss_of
from .towers import example

Choice = dict[str, tuple[int, int]]


def tower() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Layers that a loop calls one by one, with a mask that learns."""
    model, x, mask = example(dropout=0.3)
    return rewire(model.train(), example=(x, mask)), (x.detach(), mask.detach())


BUILD: dict[str, Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]] = {
    **{name: lambda build=build: ((made := build())[0], (made[1],)) for name, build in NETWORKS.items()},  # type: ignore[misc]
    "tower": tower,
}


def everywhere(model: nn.Module, activations: int, inputs: int) -> Choice:
    return dict.fromkeys(storage(model), (activations, inputs))


def step(
    model: nn.Module, inputs: tuple[Tensor, ...], choice: Choice, *, mode: str = "reversible"
) -> dict[str, Tensor]:
    """Outputs, gradients and buffers of a step of a copy."""
    model = copy.deepcopy(model)
    set_mode(model, mode)  # type: ignore[arg-type]
    set_storage(model, choice)
    torch.manual_seed(3)
    inputs = tuple(x.clone().requires_grad_(x.is_floating_point()) for x in inputs)
    outputs = model(*inputs)
    loss_of(outputs).backward()
    found = gradients(model) | {f"input {n}": x.grad for n, x in enumerate(inputs) if x.grad is not None}
    found |= {f"buffer {name}": buffer for name, buffer in model.named_buffers()}
    return found | {
        f"output {n}": y.detach() for n, y in enumerate((outputs,) if isinstance(outputs, Tensor) else outputs)
    }


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


CHOICES = [(99, 0), (0, 99), (1, 0), (1, 1), (0, 2), (2, 99)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", BUILD)
def test_whatever_is_stored_all_bits_are_the_same(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, inputs = BUILD[name]()
    model, inputs = model.train().to(dtype), tuple(x.to(dtype) for x in inputs)
    set_tiles(model, 2**13)
    nothing = step(model, inputs, {})
    for activations, kept in CHOICES:
        assert_equal(step(model, inputs, everywhere(model, activations, kept)), nothing)
    mixed = {part: CHOICES[n % len(CHOICES)] for n, part in enumerate(storage(model))}
    assert_equal(step(model, inputs, mixed), nothing)
    if dtype == torch.float64:
        set_tiles(model, None)  # plain autograd knows nothing of tiles
        plain = step(model, inputs, {}, mode="store")
        learnt = {name: value for name, value in nothing.items() if not name.startswith("buffer")}
        assert_same_gradients(learnt, {name: plain[name] for name in learnt}, tolerance=1e-11)


@pytest.mark.parametrize("alpha, beta", [(0.3, 0.4), (1.0, 0.0)])
def test_other_coefficients_give_the_same_bits_too(alpha: float, beta: float) -> None:
    torch.manual_seed(0)
    model, x = NETWORKS["swin"]()
    set_coefficients(model, alpha=alpha, beta=beta)
    nothing = step(model.train(), (x,), {})
    for choice in CHOICES:
        assert_equal(step(model, (x,), everywhere(model, *choice)), nothing)


def test_half_precision_gives_the_same_bits_too() -> None:
    torch.manual_seed(0)
    model, x = NETWORKS["swin"]()
    with torch.autocast("cpu", torch.bfloat16):
        nothing = step(model.train(), (x,), {})
        assert_equal(step(model, (x,), everywhere(model, 1, 1)), nothing)
        assert_equal(step(model, (x,), everywhere(model, 99, 0)), nothing)


def test_a_graph_that_is_retained_is_walked_twice() -> None:
    torch.manual_seed(0)
    model, x = NETWORKS["swin"]()
    set_storage(model, everywhere(model, 1, 1))
    loss = loss_of(model.train()(x))
    loss.backward(retain_graph=True)
    once = gradients(model)
    loss.backward()
    assert_equal(gradients(model), {name: 2 * grad for name, grad in once.items()})
    with pytest.raises(RuntimeError, match="second time|used up|freed"):
        loss.backward()


class Computed:
    """Counts branches that are computed in backward passes."""

    def __init__(self) -> None:
        self.count = 0

    def begins(self, branch: Branch, x: Tensor) -> None:
        self.count += torch._C._current_graph_task_id() != -1

    def ended(self, branch: Branch, f: Tensor) -> None:
        pass


def test_what_is_stored_is_not_computed_again_nor_are_streams_recovered_for_it() -> None:
    model, x = NETWORKS["mlp"]()  # four branches
    for choice, again in {(0, 0): 4, (3, 0): 1, (0, 4): 4, (4, 0): 0}.items():
        set_storage(model, everywhere(model, *choice))
        with observed_by(computed := Computed()):
            loss_of(model(x)).backward()
        assert computed.count == again
        assert (reconstruction_error(model) is None) == (sum(choice) > 0)


def test_what_is_stored_is_freed_by_the_backward_pass() -> None:
    model, x = NETWORKS["swin"]()
    set_storage(model, everywhere(model, 99, 0))
    loss = loss_of(model(x))
    held = [found for found in gc.get_objects() if type(found) is StoredGradients]
    assert len(held) == 1 + 4 + 1 + 4  # a stem, two stages of two blocks, and what stands between
    graphs = [weakref.ref(x) for found in held for x, _, _ in found._graphs.values()]
    del held
    loss.backward()
    assert graphs
    assert all(reference() is None for reference in graphs)


def test_names_and_numbers_that_mean_nothing_are_refused() -> None:
    model, _ = NETWORKS["swin"]()
    with pytest.raises(ValueError, match="'head' is no chain or stem of this SwinTrunk"):
        set_storage(model, {"head": (1, 0)})
    with pytest.raises(ValueError, match="counted from 0"):
        set_storage(model, everywhere(model, -1, 0))
    set_storage(model, everywhere(model, 2, 1))
    assert storage(model) == everywhere(model, 2, 1)


def test_measuring_leaves_no_trace() -> None:
    torch.manual_seed(0)
    model, x = NETWORKS["slowfast"]()
    set_storage(model.train(), everywhere(model, 1, 0))
    before = copy.deepcopy(model.state_dict()), torch.get_rng_state(), headrooms(model), storage(model)
    costs = measure_costs(model, lambda: loss_of(model(1e3 * torch.rand_like(x))).float())
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before[0].values(), strict=True))
    assert torch.equal(torch.get_rng_state(), before[1])
    assert (headrooms(model), storage(model)) == before[2:]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert costs.keys() == storage(model).keys()
    assert sum(len(cost.branches) for cost in costs.values() if cost.is_chain) == sum(c.length for c in chains(model))
    for cost in costs.values():
        for branch in cost.branches:
            assert branch.recomputation_s > 0
            assert branch.activation_bytes > branch.input_bytes > 0


def test_bytes_of_activations_are_those_that_autograd_keeps() -> None:
    model, x = NETWORKS["swin"]()
    costs = measure_costs(model, lambda: loss_of(model(x)).float())

    def saved(choice: Choice) -> int:
        storages: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            held = tensor.untyped_storage()
            storages[held._cdata] = held.nbytes()
            return tensor

        set_storage(model, choice)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = loss_of(model(x))
        del loss
        return sum(storages.values())

    everything = everywhere(model, 99, 0)
    planned = stored_bytes(costs, {name: (len(cost.branches), 0) for name, cost in costs.items()})
    assert saved(everything) - saved({}) == pytest.approx(planned, rel=0.15)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), budget=st.integers(0, 4000))
def test_no_other_choice_that_fits_saves_more(data: st.DataObject, budget: int) -> None:
    number = st.integers(0, 20)
    costs = {
        name: PartCost(
            [
                BranchCost(
                    data.draw(number) / 4, data.draw(number) / 16, 40 * data.draw(number), 10 * data.draw(number)
                )
                for _ in range(data.draw(st.integers(1, 3)))
            ],
            is_chain=name != "stem",
        )
        for name in ("stem", "first", "second")
    }
    chosen = fastest_storage(costs, budget=budget)
    assert stored_bytes(costs, chosen) <= budget
    options = [list(cost.options()) for cost in costs.values()]
    saved = {name: {choice: s for choice, s, _ in cost.options()} for name, cost in costs.items()}
    # Bytes are rounded up to a thousandth of the budget, once for each part.
    tight = budget * (1 - len(costs) / 1000)
    best = max(
        (sum(s for _, s, _ in some) for some in itertools.product(*options) if sum(size for *_, size in some) <= tight),
        default=0.0,
    )
    assert sum(saved[name][choice] for name, choice in chosen.items()) >= best - 1e-9
