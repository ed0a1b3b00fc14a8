"""Blocks of unknown classes: which are cut into branches, and how; which are left alone, and why."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.video import r3d_18, swin3d_t

from re2tal.reversible import (
    StoredWarning,
    chains,
    examine,
    report_of,
    rewire,
    set_mode,
    set_tiles,
    verify,
)
from re2tal.reversible.blocks import split_block
from re2tal.reversible.rewire.patching import blocks_in
from re2tal.reversible.tracing import find_blocks, record

from .networks import assert_same_gradients, loss_of
from .towers import example, step


class Parallel(nn.Module):
    """Attention and MLP beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.one, self.two = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.one(y).tanh() + self.two(y)


class PostActivation(nn.Module):
    """With batch norm; writes to what it adds."""

    def __init__(self, *, channels: int = 4, out: int = 4) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv1d(channels, out, 3, padding=1), nn.BatchNorm1d(out), nn.ReLU(True)
        self.across = nn.Conv1d(channels, out, 1) if channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        y += x if self.across is None else self.across(x)
        return self.act(y)


class Moving(nn.Module):
    """Moves the channels behind, adds twice, and moves them back."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, *space = x.shape
        y = x.flatten(2).transpose(1, 2)
        y = y + self.one(y)
        y = y + self.two(y)
        return y.transpose(1, 2).reshape(batch, channels, *space)


class Inner(nn.Module):
    """Two children that add to their input themselves."""

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, x: Tensor, scale: float) -> tuple[Tensor, None]:
            return x + scale * self.linear(self.norm(x)), None

    def __init__(self) -> None:
        super().__init__()
        self.halves = nn.ModuleList(Inner.Half() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for half in self.halves:
            x = half(x, 0.5)[0]
        return x


TOKENS, SERIES, PICTURES = (2, 5, 8), (3, 4, 9), (2, 4, 3, 5)


@pytest.mark.parametrize(
    ("build", "shape", "blocks", "branches"),
    [(Parallel, TOKENS, 3, 1), (PostActivation, SERIES, 3, 1), (Moving, PICTURES, 3, 2), (Inner, TOKENS, 6, 1)],
)
def test_blocks_of_many_kinds_are_cut_and_train(
    build: Callable[[], nn.Module], shape: tuple[int, ...], blocks: int, branches: int
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(build() for _ in range(3))).double()
    x = torch.randn(shape, dtype=torch.float64)
    model = rewire(model, example=x)
    report = report_of(model)
    assert report is not None and report.rewired == blocks and report.chains == (blocks,)
    assert {block.branches for block in report.blocks if block.reason is None} == {branches}
    verified = verify(model, x)
    assert verified.passed and verified.reconstruction_error == 0, str(verified)


def test_the_activation_behind_an_addition_moves_into_the_branch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(PostActivation() for _ in range(3))).double().eval()
    x = torch.randn(SERIES, dtype=torch.float64)
    u = v = x
    for block in model:
        u, v = v, u + torch.relu(block.norm(block.conv(v)))
    torch.testing.assert_close(rewire(model, example=x)(x), (u + v) / 2, rtol=1e-13, atol=1e-14)


def test_running_statistics_are_updated_once_and_by_the_model_s_own_call_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(PostActivation() for _ in range(3))).double()
    x = torch.randn(SERIES, dtype=torch.float64)
    rewire(model, example=x)
    assert [int(block.norm.num_batches_tracked) for block in model] == [0, 0, 0]
    stored = copy.deepcopy(model)
    set_mode(stored, "store")
    for network in (model, stored):
        loss_of(network(x)).backward()
    assert [int(block.norm.num_batches_tracked) for block in model] == [1, 1, 1]
    for a, b in zip(model, stored, strict=True):
        assert torch.equal(a.norm.running_mean, b.norm.running_mean)
        assert torch.equal(a.norm.running_var, b.norm.running_var)


@pytest.mark.parametrize("size", [256, None])
def test_mlps_of_any_class_are_computed_in_tiles(size: int | None) -> None:
    tower, x, mask = example()
    x = torch.randn(3, 6, 5, dtype=torch.float64)
    rewire(tower, example=(x, mask))
    tower(x, mask)
    for split in blocks_in(tower)[0]._splits.values():
        assert [branch.tiling is not None for branch in split.branches] == [False, True]
    whole = step(tower, x, mask)
    set_tiles(tower, size)
    assert_same_gradients(step(tower, x, mask), whole, tolerance=1e-12)


@pytest.mark.parametrize(("build", "shape"), [(swin3d_t, (1, 3, 4, 32, 32)), (r3d_18, (2, 3, 4, 32, 32))])
def test_known_splitters_and_tracing_cut_the_same_branches(
    build: Callable[..., nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model = build(weights=None).double().eval()
    x = torch.randn(shape, dtype=torch.float64)
    recording = record(model, lambda: model(x), device=x.device)
    blocks = find_blocks(recording).blocks
    assert blocks
    for block in blocks[:4]:
        known = split_block(block.call.module)
        assert known is not None
        start = recording.stream_of(block.call)
        assert start is not None
        stream = torch.randn(recording.shapes[start], dtype=torch.float64)
        for ours, theirs in zip(block.split.branches, known.branches, strict=True):
            torch.testing.assert_close(ours(stream), theirs(stream), rtol=1e-12, atol=1e-12)


# What cannot be rewired


class PostNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.linear(x))


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x) if float(x.sum()) < 1e9 else x


class Caching(nn.Module):
    class Cache:
        def __init__(self) -> None:
            self.entries: list[Tensor] = []

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        if cache is not None:
            cache.entries.append(x)
        return x + self.linear(x)


class Telling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.linear(x)
        return x + y, y.sum(-1)


class Holding(nn.Module):
    """Calls its only block."""

    def __init__(self, block: nn.Module, *more: Any) -> None:
        super().__init__()
        self.block, self.more = block, more

    def forward(self, x: Tensor) -> Any:
        return self.block(x, *self.more)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: Holding(PostNorm()), r"PostNorm block: stays: a LayerNorm stands in its stream.*\(post-norm\)"),
        (lambda: Holding(Deciding()), "its own code decides by the values of a tensor"),
        (lambda: Holding(Caching(), Caching.Cache()), r"it is given a Cache, which may change.*use_cache=False"),
        (lambda: Holding(Telling()), r"it returns a second tensor, \(2, 5\), beside its stream"),
    ],
)
def test_what_cannot_be_rewired_is_left_alone_with_a_reason(build: Callable[[], nn.Module], reason: str) -> None:
    model = build()
    with pytest.raises(ValueError, match=f"no block of Holding can be rewired; 0 of 1.*(?s:.*){reason}"):
        rewire(model, example=torch.randn(TOKENS))
    assert not any(True for _ in chains(model)) and not any("forward" in vars(m) for m in model.modules())


def test_blocks_that_stay_are_told_beside_those_that_do_not() -> None:
    model = nn.Sequential(PostActivation(), PostActivation(out=6), PostActivation(channels=6, out=6))
    report = examine(model, torch.randn(SERIES))
    assert not any(True for _ in chains(model))
    assert [(block.name, block.branches) for block in report.blocks] == [("0", 1), ("1", 0), ("2", 1)]
    assert report.blocks[1].reason == "it changes the shape, (3, 4, 9) to (3, 6, 9)"
    assert "2 of 3 blocks rewired; blocks in each chain: 1, 1" in str(report)


def test_a_call_that_is_no_residual_block_s_is_left_to_the_block_with_a_warning() -> None:
    block, x = Caching(), torch.randn(TOKENS)
    model = rewire(Holding(block), example=x)
    cache = Caching.Cache()
    model.more = (cache,)
    with pytest.warns(StoredWarning, match=r"block \(Caching\) is trained by plain autograd.*: it is given a Cache"):
        y = model(x)
    assert torch.equal(y, x + block.linear(x)) and len(cache.entries) == 1
    report = report_of(model)
    assert report is not None and "it is given a Cache" in report.blocks[0].stored[0]


def test_wrong_use_is_answered_with_value_and_rule() -> None:
    tower, x, _ = example()
    with pytest.raises(ValueError, match=r"Tower cannot be called with this example \(RuntimeError: .*a tuple of its"):
        rewire(tower, example=torch.randn(3, 3))
    with pytest.raises(ValueError, match="give an example of the model's input"):
        rewire(tower)
    with pytest.raises(ValueError, match="no module adds to what it is given"):
        rewire(nn.Sequential(nn.Linear(5, 5)).double(), example=x)
    rewire(tower, example=x)
    with pytest.raises(ValueError, match="is rewired already; unrewire it first"):
        rewire(tower, example=x)
    with pytest.raises(ValueError, match="mode must be one of store, reversible, got 'fast'"):
        set_mode(tower, "fast")  # type: ignore[arg-type]


# Additions in the code of the parent


class Loop(nn.Module):
    """Adds in its own code, between a stem and a head that change the shape; parts of its layers lie in lists."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [nn.LayerNorm(8), nn.Linear(8, 8), nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.Tanh())]
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        for norm, mix, mlp in self.layers:
            x = mix(norm(x).cumsum(1)) * scale + x
            x = mlp(x) + x
        return self.head(self.norm(x).mean(1))


def test_additions_in_the_loop_of_the_parent_make_a_chain_too() -> None:
    torch.manual_seed(0)
    model, scale = Loop().double(), torch.rand(8, dtype=torch.float64)
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    u = v = torch.tanh(model.stem(x))
    for norm, mix, mlp in model.layers:
        u, v = v, u + mix(norm(v).cumsum(1)) * scale
        u, v = v, u + mlp(v)
    expected = model.head(model.norm((u + v) / 2).mean(1))
    rewire(model, example=(x, scale))
    report = report_of(model)
    assert report is not None and [(b.kind, b.branches) for b in report.blocks] == [("Loop", 6)]
    torch.testing.assert_close(model(x, scale), expected, rtol=1e-12, atol=1e-14)
    verified = verify(model, (x, scale))
    assert verified.passed and verified.reconstruction_error == 0
    assert verified.saved_bytes < verified.saved_bytes_store
