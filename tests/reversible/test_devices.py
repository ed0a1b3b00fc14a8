"""What is chosen for a device, seen on a processor that is taken for another one."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from launches import Counted
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from re2tal.networks.backbones import PathwayConfig, SlowFastConfig, build_backbone
from re2tal.reversible import (
    Branch,
    ReversibleChain,
    StreamOverflowError,
    devices,
    reconstruction_error,
    set_coefficients,
    set_tiles,
)
from re2tal.reversible.branch_call import BranchCall
from re2tal.reversible.guards import Guard
from re2tal.reversible.rng import GeneratorState, preserved

from .networks import assert_same_gradients, gradients, loss_of, re2_slowfast, re2_swin
from .test_compiled import re2_vit

CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)


@pytest.fixture
def like_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processors are taken for GPUs."""
    monkeypatch.setitem(devices._KNOWN, "cpu", devices._CUDA)
    yield


class Orders(TorchDispatchMode):
    """Notes tensors of 3-D convolutions, forward and backward, that are not channels-last.

    A processor's kernels choose an order as they like; here they keep that of their first tensor, as cuDNN's do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.others = 0, []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CONVOLUTIONS:
            given = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and leaf.dim() == 5]
            self.seen += len(given)
            self.others += [tuple(t.shape) for t in given if t.stride(1) != 1]  # with gaps: of joined tensors
        result = func(*args, **(kwargs or {}))
        is_kernel = func in CONVOLUTIONS or "batch_norm" in str(func) or "max_pool3d" in str(func)
        if is_kernel and not args[0].is_contiguous():
            return tree_map_only(Tensor, _last, result)
        return result


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d) if x.dim() == 5 else x


def slowfast(**changes: Any) -> nn.Module:
    config = SlowFastConfig(
        blocks=(2, 3),
        slow=PathwayConfig(base_channels=4, stem_kernel=(1, 3, 3), temporal_stages=(False, True)),
        fast=PathwayConfig(base_channels=2, stem_kernel=(3, 3, 3), temporal_stages=(True, True)),
        **changes,
    )
    return build_backbone(config).train()


@pytest.mark.parametrize("tiles", [None, 200_000])
def test_every_3d_convolution_of_a_gpu_is_channels_last(like_cuda: None, tiles: int | None) -> None:
    torch.manual_seed(0)
    model = slowfast(reversible=True).to("cpu")  # as it would be moved to one
    set_tiles(model, tiles)
    frames = torch.randint(0, 256, (1, 3, 12, 32, 32), dtype=torch.uint8)
    with Orders() as orders:
        model(frames, 6).square().mean().backward()
    assert orders.seen > 100 and not orders.others
    assert reconstruction_error(model) == 0


def test_the_order_of_memory_changes_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    plain = slowfast(reversible=True).double()
    frames = torch.randint(0, 256, (1, 3, 12, 32, 32), dtype=torch.uint8)
    other = copy.deepcopy(plain)
    loss_of(plain(frames, 6)).backward()
    monkeypatch.setitem(devices._KNOWN, "cpu", devices._CUDA)
    loss_of(other.to("cpu")(frames, 6)).backward()
    assert_same_gradients(gradients(other), gradients(plain), tolerance=1e-10)


def test_weights_that_come_back_from_a_gpu_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    model = slowfast()
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv3d)]
    with monkeypatch.context() as patch:
        patch.setitem(devices._KNOWN, "cpu", devices._CUDA)
        model.to("cpu")
        assert not all(weight.is_contiguous() for weight in weights)
    model.to("cpu")
    assert all(weight.is_contiguous() for weight in weights)


# MPS: no numbers of 64 bits but as indices

_INDEXING = ("index", "max_pool3d", "_to_copy", "detach", "alias", "view", "slice", "select", "empty")


class Wide(Counted):
    """Notes operations on the meta device that compute with 64 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        result = super().__torch_dispatch__(func, types, args, kwargs)
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, Tensor) and leaf.is_meta:
                indexes = leaf.dtype == torch.int64 and name.startswith(_INDEXING)
                if leaf.dtype in (torch.float64, torch.int64) and not indexes:
                    self.found.add(f"{name} {leaf.dtype}")
        return result


@pytest.mark.parametrize("make", [re2_swin, re2_slowfast, re2_vit])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_a_step_computes_with_no_numbers_of_64_bits(make: Any, beta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices._KNOWN, "meta", devices._MPS)
    model, x = make()
    set_coefficients(model.eval().to("meta"), alpha=1 - beta, beta=beta)
    for _ in range(2):  # the first step traces
        with Wide() as wide:
            outputs = model(x.to("meta"))
            first = outputs if isinstance(outputs, Tensor) else outputs[0]
            first.square().mean().backward()
        assert not wide.found


def test_where_there_are_no_numbers_of_64_bits_streams_do_not_get_wider() -> None:
    model = ReversibleChain([Steep() for _ in range(6)])
    x = torch.ones(2, 3)
    model(x)
    assert model.chain.headroom > 12
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StreamOverflowError, match=r"more than 2 \*\* 12 times"):
        patch.setitem(devices._KNOWN, "cpu", devices._MPS)
        model.chain.headroom = 8
        model(x)


class Steep(nn.Module):
    """Streams grow eight times with each."""

    def forward(self, x: Tensor) -> Tensor:
        return 8 * x


class TwoGenerators:
    """Of two accelerators that are not there."""

    def __init__(self) -> None:
        self.states = {torch.device("cuda", n): torch.tensor([n], dtype=torch.uint8) for n in range(2)}

    def get_rng_state(self, device: torch.device) -> Tensor:
        return self.states[device].clone()

    def set_rng_state(self, state: Tensor, device: torch.device) -> None:
        self.states[device] = state.clone()


def test_generators_of_all_devices_are_replayed_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    generators = TwoGenerators()
    monkeypatch.setattr(torch, "get_device_module", lambda device: generators)
    both = tuple(generators.states)
    before = GeneratorState.snapshot(*both)
    assert GeneratorState.snapshot(*both, previous=before) is before
    with preserved(*both):
        generators.set_rng_state(torch.tensor([9], dtype=torch.uint8), both[1])
        drawn = GeneratorState.snapshot(*both, previous=before)
        assert drawn is not before
        before.restore()
        assert [int(state) for state in generators.states.values()] == [0, 1]
        drawn.restore()
        assert [int(state) for state in generators.states.values()] == [0, 9]
    assert [int(state) for state in generators.states.values()] == [0, 1]


def test_a_branch_draws_on_every_device_that_it_holds_something_on() -> None:
    branch = Branch(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2, device="meta")]))
    call = BranchCall(branch, Guard(branch.owner), (1, 2), args=False, limit=None, device=torch.device("cpu"))
    assert {device.type for device in call.devices} == {"cpu", "meta"}
