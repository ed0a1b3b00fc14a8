"""Streams that wait on the host: how many bytes are kept where, on a GPU that is not there, and the same gradients."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from re2tal.networks.backbones import SwinConfig, build_backbone
from re2tal.reversible import chains, host_memory, keep_on_host, reconstruction_error
from re2tal.reversible.patched import patched
from re2tal.reversible.rewire.patching import PatchedBetween

from .networks import assert_same_gradients, gradients, loss_of

CONFIG = SwinConfig(
    embed_dim=8,
    depths=(2, 2),
    num_heads=(1, 2),
    patch_size=(2, 4, 4),
    window_size=(2, 3, 3),
    reversible=True,
    tile_mib=1,
    drop_path=0,
)
FRAMES = (2, 3, 8, 32, 32)


class NoValues(TorchDispatchMode):
    """Answers what is asked of tensors that have no values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else False
        if func is torch.ops.aten.equal.default:
            return True
        return func(*args, **(kwargs or {}))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes that were handed to the hooks, by where they are kept."""
    found = {"cuda": 0, "cpu": 0}
    to_host = host_memory._to_host

    def counted(tensor: Tensor) -> tuple[torch.device, Tensor]:
        packed = to_host(tensor)
        found[packed[1].device.type] += packed[1].nbytes
        return packed

    monkeypatch.setattr(host_memory, "_to_host", counted)
    return found


def test_ends_of_streams_and_raw_frames_wait_on_the_host(kept: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.zeros(1, dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
    on_device: list[int] = []
    for wanted in (False, True):
        with FakeTensorMode(allow_non_fake_inputs=True), NoValues():
            with torch.device("cuda"):
                model = build_backbone(CONFIG.model_copy(update={"streams_on_host": wanted})).train()
                frames = torch.zeros(FRAMES, dtype=torch.uint8)
            own = {id(parameter) for parameter in model.parameters()}
            bytes_kept = [0]

            def pack(tensor: Tensor, own: set[int] = own, bytes_kept: list[int] = bytes_kept) -> Tensor:
                bytes_kept[0] += 0 if id(tensor) in own else tensor.nbytes
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                model.network(frames)
        on_device.append(bytes_kept[0])
    first_streams = 2 * 4 * (2 * 4 * 8 * 8 * 8)  # two, of int32: (B, T / 2, H / 4, W / 4, C)
    merging = first_streams // 2  # its input, which is what is read out of them
    assert kept == {"cuda": 0, "cpu": frames.nbytes + first_streams + merging}
    assert on_device[0] - on_device[1] == kept["cpu"]


def test_gradients_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = build_backbone(CONFIG).double()
    other = copy.deepcopy(model)
    keep_on_host(other.network)
    monkeypatch.setattr(host_memory, "_WHERE_HOST_IS", ())  # as if the processor were a device of its own
    moved: list[torch.Size] = []
    back = host_memory._back
    monkeypatch.setattr(host_memory, "_back", lambda kept: moved.append(kept[1].shape) or back(kept))
    frames = torch.randint(0, 256, FRAMES, dtype=torch.uint8)
    for network in (model, other):
        loss = loss_of(network(frames, 4))
        loss.backward(retain_graph=True)
        loss.backward()
    assert len(moved) == 2 * 4  # streams, the input of patch merging, and frames, in each pass
    assert_same_gradients(gradients(other), gradients(model), tolerance=0)
    assert reconstruction_error(other) == 0


def test_it_can_be_switched_off_again() -> None:
    network: nn.Module = build_backbone(CONFIG.model_copy(update={"streams_on_host": True})).network
    assert _on_host(network) == [True, False, True, True]
    keep_on_host(network, False)
    assert not any(_on_host(network))


def _on_host(network: nn.Module) -> list[bool]:
    """Of both chains, the stem and the merging."""
    between = [patch.on_host for patch in patched(network) if isinstance(patch, PatchedBetween)]
    return [*(chain.on_host for chain in chains(network)), *between]
