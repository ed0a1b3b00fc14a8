"""Branches computed in tiles give what they give as a whole, whatever the size of the tiles."""

import copy
import itertools
import re
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from re2tal.networks.backbones import PathwayConfig, SlowFast, SlowFastConfig, SwinConfig, SwinTrunk
from re2tal.reversible import (
    branch_call,
    headrooms,
    malloc,
    reconstruction_error,
    rewire,
    set_headrooms,
    set_mode,
    set_tiles,
    streams,
    verify,
)
from re2tal.reversible.malloc import LARGE, SECONDS_BETWEEN, return_freed_memory
from re2tal.reversible.rewire.patching import blocks_in
from re2tal.reversible.tiles import leading_boxes

from .networks import assert_same_gradients, gradients, loss_of


def swin(*, window: tuple[int, int, int], drop_path: float = 0.3) -> nn.Module:
    model = rewire(
        SwinTrunk(SwinConfig(embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=window, drop_path=drop_path))
    )
    for name, parameter in model.named_parameters():
        if "bias_table" in name:
            nn.init.normal_(parameter)
    return model.double().train()


def slowfast() -> nn.Module:
    config = SlowFastConfig(
        blocks=(2, 3),
        slow=PathwayConfig(base_channels=4, stem_kernel=(1, 3, 3), temporal_stages=(False, True)),
        fast=PathwayConfig(base_channels=2, stem_kernel=(3, 3, 3), temporal_stages=(True, True)),
    )
    return rewire(SlowFast(config)).double().eval()


def assert_tiles_change_nothing(model: nn.Module, x: Tensor, *, limit: int) -> None:
    """A reversible step in tiles equals plain autograd through whole branches, which know nothing of tiles."""
    whole = copy.deepcopy(model)
    set_mode(whole, "store")
    set_tiles(whole, None)
    set_tiles(model, limit)
    outputs = []
    for network in (model, whole):
        torch.manual_seed(0)
        outputs.append(network(x))
        loss_of(outputs[-1]).backward()
    for ours, expected in zip(*outputs, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)
    assert_same_gradients(gradients(model), gradients(whole), tolerance=1e-10)
    assert reconstruction_error(model) == 0


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 2),
    frames=st.integers(1, 24),
    height=st.integers(16, 40),
    width=st.integers(16, 40),
    window=st.tuples(st.integers(1, 5), st.integers(2, 5), st.integers(2, 5)),
    limit=st.sampled_from([1, 20_000, 200_000, 2**30]),
    few=st.booleans(),
)
def test_window_attention_is_exact_for_every_size_in_many_tiles_and_in_few(
    batch: int, frames: int, height: int, width: int, window: tuple[int, int, int], limit: int, few: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, 3, frames, height, width, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branch_call, "prefers_few_tiles", lambda device: few)
        assert_tiles_change_nothing(swin(window=window), x, limit=limit)


@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 2),
    frames=st.integers(1, 6),
    size=st.tuples(st.integers(20, 50), st.integers(20, 50)),
    limit=st.sampled_from([1, 20_000, 200_000, 2**30]),
    few=st.booleans(),
)
def test_bottlenecks_are_exact_for_every_size_in_many_tiles_and_in_few(
    batch: int, frames: int, size: tuple[int, int], limit: int, few: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, 3, 4 * frames, *size, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branch_call, "prefers_few_tiles", lambda device: few)
        assert_tiles_change_nothing(slowfast(), x, limit=limit)


@settings(max_examples=100, deadline=None)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), size=st.integers(1, 40), full=st.booleans())
def test_boxes_cover_everything_once_and_are_no_larger_than_asked(shape: list[int], size: int, full: bool) -> None:
    count = torch.zeros(shape)
    for box in leading_boxes(shape, size, full=full):
        assert count[box].numel() <= size
        count[box] += 1
    assert torch.equal(count, torch.ones(shape))


def test_active_dropout_inside_a_branch_is_computed_whole() -> None:
    model = swin(window=(2, 3, 3))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    set_tiles(model, 1)
    x = torch.randn(1, 3, 8, 24, 24, dtype=torch.float64)
    assert verify(model, x).passed


def test_batch_norms_in_training_see_the_whole_clip() -> None:
    model = slowfast().train()
    set_tiles(model, 1)
    assert verify(model, torch.randn(2, 3, 8, 32, 32, dtype=torch.float64)).passed


def test_running_statistics_change_once_where_everything_is_computed_twice() -> None:
    x = torch.randn(2, 3, 8, 32, 32, dtype=torch.float64)
    found = []
    for mode in ("store", "reversible"):
        torch.manual_seed(0)
        model = slowfast().train()
        set_mode(model, mode)
        loss_of(model(x)).backward()
        found.append(dict(model.named_buffers()))
    for name, buffer in found[0].items():
        torch.testing.assert_close(found[1][name], buffer, rtol=1e-12, atol=1e-14)


def test_what_stands_between_the_chains_keeps_its_input_alone_even_with_batch_norms_that_train() -> None:
    model = slowfast().train()
    x = torch.randn(2, 3, 8, 32, 32, dtype=torch.float64)
    verification = verify(model, x)
    assert verification.passed
    assert verification.saved_bytes < 0.5 * verification.saved_bytes_store


def test_memory_for_one_branch_follows_the_tiles() -> None:
    sizes = [len(list(itertools.chain.from_iterable(_tiles(limit)))) for limit in (2**30, 200_000, 1)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3


def _tiles(limit: int):
    for block in blocks_in(swin(window=(2, 3, 3))):
        member = block.member_for(torch.zeros(1))
        assert member is not None
        for branch in member.branches:
            yield branch.tiling.tiles(branch.owner, (1, 8, 12, 12, 8), limit)


def test_raw_pixels_enter_the_stem_tile_by_tile_and_nothing_larger_is_kept() -> None:
    for model in (swin(window=(2, 3, 3)), slowfast()):
        model.float()
        frames = torch.randint(0, 256, (1, 3, 8, 48, 48), dtype=torch.uint8)
        saved: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t) or t, lambda t: t):
            model(frames)
        assert any(tensor.dtype == torch.uint8 for tensor in saved)
        assert not any(tensor.is_floating_point() and tensor.shape[1:2] == (3,) for tensor in saved)


def test_growing_depth_saves_nothing_more() -> None:
    saved = []
    for depths in ((2, 2), (2, 8)):
        torch.manual_seed(0)
        model = rewire(SwinTrunk(SwinConfig(embed_dim=8, depths=depths, num_heads=(1, 2), window_size=(2, 3, 3))))
        saved.append(verify(model, torch.randn(1, 3, 8, 32, 32)).saved_bytes)
    assert saved[0] == saved[1]


@pytest.mark.parametrize("size", [0, -1, "large", 1.5])
def test_a_wrong_size_of_tiles_is_answered_with_value_and_rule(size: object) -> None:
    with pytest.raises(ValueError, match=f"must be 'auto', a number of bytes above 0, or None, got {size!r}"):
        set_tiles(slowfast(), size)


def test_headrooms_are_those_of_the_chains() -> None:
    model = swin(window=(2, 3, 3))
    set_headrooms(model, [12, 16])
    assert headrooms(model) == headrooms(copy.deepcopy(model)) == [12, 16]
    with pytest.raises(ValueError, match="has 2 reversible chains, but headrooms are given for 1"):
        set_headrooms(model, [12])


def test_memory_of_tiles_is_handed_back_from_the_first_large_stream_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = torch.empty(LARGE, dtype=torch.uint8)
    if return_freed_memory(stream) is False:
        pytest.skip("needs glibc")
    monkeypatch.setattr(malloc, "_has_met_large", False)
    blocks = [torch.zeros(2**18) for _ in range(200)]  # 1 MiB each, from the heap
    kept, full = blocks[::10], _resident_mib()
    del blocks
    time.sleep(SECONDS_BETWEEN)
    assert not return_freed_memory(stream[1:])
    assert _resident_mib() > full - 10
    return_freed_memory(stream)
    assert _resident_mib() < full - 100 and len(kept) == 20
    assert return_freed_memory(stream[1:])


def test_tiles_leave_no_small_tensors_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between large ones they would keep the heap from joining its holes: it grew by 500 MiB with Swin-T."""
    model = swin(window=(2, 3, 3))
    x = torch.randn(1, 3, 8, 24, 24, dtype=torch.float64)
    counts = {}
    for limit in (None, 1):
        set_tiles(model, limit)
        found: list[int] = []
        monkeypatch.setattr(streams, "require_kept", lambda _, magnitudes, found=found: found.append(len(magnitudes)))
        loss_of(model(x)).backward()
        counts[limit] = found
    assert counts[None] == counts[1] and counts[1]


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def test_the_example_of_a_branch_with_tiles_of_its_own() -> None:
    page = (Path(__file__).parents[2] / "docs" / "engine.md").read_text(encoding="utf-8")
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "Tiling" in code)
    names: dict[str, Any] = {}
    exec(code, names)
    chain = names["chain"].double()
    whole = copy.deepcopy(chain)
    whole.chain.mode, whole.chain.tile_size = "store", None
    x = torch.randn(2, 1000, 64, dtype=torch.float64)
    assert len(names["runs_of_tokens"](None, x.shape, 2**20)) == 6
    for network in (chain, whole):
        loss_of(network(x)).backward()
    assert_same_gradients(gradients(chain), gradients(whole), tolerance=1e-10)
