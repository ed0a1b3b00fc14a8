"""Streams that wait on the host: how many bytes are kept where, on a GPU that is not there, and the same gradients."""

import copy
import math

import pytest
import torch
from streams_on_host import bytes_kept
from torch import nn

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


def test_ends_of_streams_and_raw_frames_wait_on_the_host() -> None:
    without, with_host = (bytes_kept(CONFIG, clip=FRAMES, on_host=on_host) for on_host in (False, True))
    frames = math.prod(FRAMES)
    first_streams = 2 * 4 * (2 * 4 * 8 * 8 * 8)  # two, of int32: (B, T / 2, H / 4, W / 4, C)
    merging = first_streams // 2  # its input, which is what is read out of them
    assert without["cpu"] == 0 and with_host["cpu"] == frames + first_streams + merging
    assert without["cuda"] - with_host["cuda"] == with_host["cpu"]


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
