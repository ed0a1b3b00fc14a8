"""Attention against loops over queries and keys."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from re2tal.experiments.planning.tracker import MemoryTracker
from re2tal.networks.pyramid.blocks import Attention, TransformerBlock

WINDOWS_AND_STRIDES = [(None, 1), (None, 2), (3, 1), (5, 2)]


def mask_of(*lengths: int, total: int) -> Tensor:
    return torch.arange(total) < torch.tensor(lengths)[:, None]


def plain_projection(attention: Attention, name: str, x: Tensor, mask: Tensor) -> Tensor:
    """(B, C, S) -> (B, Q, C): depthwise convolution, mask, layer norm over channels, linear map."""
    conv, norm, linear = (getattr(attention, name + suffix) for suffix in ("_conv", "_norm", ""))
    padded = F.pad(x, (1, 1))
    weight = conv.conv.weight[:, 0]  # (C, 3)
    stride = attention.stride
    steps = [(padded[:, :, s : s + 3] * weight).sum(-1) for s in range(0, x.shape[-1], stride)]
    y = torch.stack(steps, dim=1) * mask[:, ::stride, None]
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    return (y * norm.weight + norm.bias) @ linear.weight[:, :, 0].T + linear.bias


def plain_attention(attention: Attention, x: Tensor, mask: Tensor) -> Tensor:
    q, k, v = (plain_projection(attention, name, x, mask) for name in ("query", "key", "value"))
    mask = mask[:, :: attention.stride]
    size = q.shape[-1] // attention.num_heads
    out = torch.zeros_like(q)
    for clip in range(len(q)):
        for head in range(attention.num_heads):
            channels = slice(head * size, (head + 1) * size)
            for i in range(q.shape[1]):
                if not mask[clip, i]:
                    continue
                keys = [
                    j
                    for j in range(q.shape[1])
                    if mask[clip, j] and (attention.window is None or abs(i - j) <= attention.window // 2)
                ]
                logits = torch.stack([q[clip, i, channels] @ k[clip, j, channels] for j in keys]) / size**0.5
                out[clip, i, channels] = logits.softmax(0) @ v[clip, keys, channels]
    out = out @ attention.proj.weight[:, :, 0].T + attention.proj.bias
    return (out * mask[:, :, None]).transpose(1, 2)


@pytest.mark.parametrize(("window", "stride"), WINDOWS_AND_STRIDES)
def test_attention_and_its_gradient_equal_plain_loops(window: int | None, stride: int, total: int = 12) -> None:
    torch.manual_seed(0)
    attention = Attention(8, num_heads=2, stride=stride, window=window).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    x, mask = torch.randn(3, 8, total, dtype=torch.float64, requires_grad=True), mask_of(total, 7, 1, total=total)
    ours, plain = attention(x, mask), plain_attention(attention, x, mask)
    torch.testing.assert_close(ours, plain)
    direction = torch.randn_like(plain)
    (gradient,) = torch.autograd.grad(ours, x, direction)
    (plain_gradient,) = torch.autograd.grad(plain, x, direction)
    torch.testing.assert_close(gradient, plain_gradient)


@pytest.mark.parametrize(("window", "stride"), [(3, 1), (7, 1), (9, 2)])
@pytest.mark.parametrize("total", [16, 22])
def test_blocks_of_queries_change_nothing(
    window: int, stride: int, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("re2tal.networks.pyramid.blocks._LEAST_BLOCK", 2)
    test_attention_and_its_gradient_equal_plain_loops(window, stride, total=total)


@pytest.mark.parametrize("window", [None, 19])
def test_memory_of_attention_goes_with_the_number_of_steps(window: int | None) -> None:
    """Counted in tensors; a mask of all pairs of steps would take 16 times as much for four times the steps."""
    attention, taken = Attention(8, num_heads=2, stride=1, window=window), []
    for total in (1024, 4096):
        x = torch.randn(1, 8, total)
        with MemoryTracker(has_values=True) as tracker:
            attention(x, mask_of(total - 3, total=total)).sum().backward()
        taken.append(sum(tracker.peak().values()))
    assert taken[1] < 4.5 * taken[0]


def test_a_window_over_everything_equals_no_window() -> None:
    torch.manual_seed(0)
    full, local = (Attention(8, num_heads=2, stride=1, window=window) for window in (None, 23))
    local.load_state_dict(full.state_dict())
    x, mask = torch.randn(2, 8, 12), mask_of(12, 7, total=12)
    torch.testing.assert_close(local(x, mask), full(x, mask))


@pytest.mark.parametrize("stride", [1, 2])
def test_masked_out_steps_of_a_block_are_zero(stride: int) -> None:
    block = TransformerBlock(8, num_heads=2, stride=stride, window=None, drop_path=0.0)
    mask = mask_of(12, 6, total=12)
    out = block(torch.randn(2, 8, 12) * mask[:, None], mask)
    assert (out.transpose(1, 2)[~mask[:, ::stride]] == 0).all()
    assert (out.transpose(1, 2)[mask[:, ::stride]] != 0).all()


def test_a_block_begins_close_to_the_identity() -> None:
    block = TransformerBlock(8, num_heads=2, stride=1, window=None, drop_path=0.1).eval()
    x, mask = torch.randn(2, 8, 12), mask_of(12, 12, total=12)
    torch.testing.assert_close(block(x, mask), x, atol=1e-2, rtol=0)
