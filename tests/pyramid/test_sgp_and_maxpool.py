"""TriDet's and TemporalMaxer's pyramids against loops over steps; padding, masks, half precision, sizes."""

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from re2tal.networks.heads import HeadConfig, TridentHeadConfig
from re2tal.networks.pyramid import MaxPoolPyramidConfig, PyramidSettings, SgpPyramidConfig
from re2tal.networks.pyramid.maxpool import BlockPyramid, MaskedMaxPool
from re2tal.networks.pyramid.sgp import MaskedGroupNorm, SgpBlock

SGP = SgpPyramidConfig(channels=16, arch=(1, 1, 3), window=3, window_scale=1.5, mlp_channels=24, drop_path=0.0)
MAX_POOL = MaxPoolPyramidConfig(channels=16, arch=(1, 3))
BOTH = pytest.mark.parametrize("config", [SGP, MAX_POOL], ids=["sgp", "max_pool"])


def mask_of(*lengths: int, total: int) -> Tensor:
    return torch.arange(total) < torch.tensor(lengths)[:, None]


def lively(module: nn.Module) -> nn.Module:
    """With parameters of which every one counts."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_(generator=generator).mul_(0.5)
    return module


def built(config: PyramidSettings) -> BlockPyramid:
    pyramid = config.build(in_channels=6)
    assert isinstance(pyramid, BlockPyramid)
    return lively(pyramid).double().eval()


def plain_pool(x: list[Tensor]) -> list[Tensor]:
    """The largest of up to three real neighbours: S vectors (C,) -> ceil(S / 2)."""
    return [torch.stack(x[max(step - 1, 0) : step + 2]).amax(0) for step in range(0, len(x), 2)]


def plain_depthwise(conv: nn.Conv1d, x: list[Tensor]) -> list[Tensor]:
    """Every channel by its own kernel; steps beyond the video are 0."""
    kernel, half = conv.weight[:, 0], conv.weight.shape[-1] // 2  # (C, k)
    assert conv.bias is not None
    out = []
    for step in range(len(x)):
        value = conv.bias
        for tap in range(kernel.shape[1]):
            if 0 <= step + tap - half < len(x):
                value = value + kernel[:, tap] * x[step + tap - half]
        out.append(value)
    return out


def plain_block(block: SgpBlock, x: list[Tensor]) -> list[Tensor]:
    """f(x) = phi FC(y) + psi(y) (Conv_w(y) + Conv_kw(y)) + y, of a video of S real steps: S vectors (C,)."""
    if block.downsample is not None:
        x = plain_pool(x)
    y = [(v - v.mean()) / (v.var(correction=0) + 1e-5).sqrt() * block.ln.weight + block.ln.bias for v in x]
    mean = sum(y[1:], y[0]) / len(y)
    assert block.global_fc.bias is not None
    phi = (block.global_fc.weight[:, 0, 0] * mean + block.global_fc.bias).clamp(min=0)
    fc, psi, near, far = (plain_depthwise(conv, y) for conv in (block.fc, block.psi, block.convw, block.convkw))
    scale_out, scale_mlp = (
        getattr(path, "scale", torch.ones(1, 1, 1)).flatten() for path in (block.drop_path_out, block.drop_path_mlp)
    )
    x = [v + scale_out * (phi * a + p * (n + w) + u) for v, a, p, n, w, u in zip(x, fc, psi, near, far, y, strict=True)]
    groups = torch.stack(x).unflatten(1, (16, -1))  # (S, 16, C / 16)
    centred = groups - groups.mean((0, 2), keepdim=True)
    normed = (centred / (centred.square().mean((0, 2), keepdim=True) + 1e-5).sqrt()).flatten(1)
    first, last = block.mlp[0], block.mlp[2]
    inside = [first.weight[:, :, 0] @ (g * block.gn.weight + block.gn.bias) + first.bias for g in normed]
    gelu = [h * 0.5 * (1 + torch.erf(h / 2**0.5)) for h in inside]
    return [v + scale_mlp * (last.weight[:, :, 0] @ h + last.bias) for v, h in zip(x, gelu, strict=True)]


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("length", [12, 7, 1])
def test_a_block_and_its_gradients_equal_plain_loops_over_the_real_steps(halves: bool, length: int) -> None:
    config = SGP.model_copy(update={"channels": 32})
    block = lively(SgpBlock(config, halves=halves)).double()
    mask = mask_of(12, length, total=12)
    x = (torch.randn(2, 32, 12, dtype=torch.float64) * mask[:, None]).requires_grad_()
    out = block(x, mask)
    plain = torch.stack(plain_block(block, list(x[1, :, :length].T)), dim=1)
    ours = out[1, :, : plain.shape[1]]
    assert not out[1, :, plain.shape[1] :].any()
    torch.testing.assert_close(ours, plain)
    direction, wanted = torch.randn_like(plain), [x, *block.parameters()]
    for mine, theirs in zip(
        torch.autograd.grad(ours, wanted, direction),
        torch.autograd.grad(plain, wanted, direction),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_max_pooling_and_its_gradient_equal_plain_loops_over_the_real_steps() -> None:
    mask = mask_of(8, 5, total=8)
    x = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    out = MaskedMaxPool()(x, mask)
    for clip, length in enumerate((8, 5)):
        plain = torch.stack(plain_pool(list(x[clip, :, :length].T)), dim=1)
        assert torch.equal(out[clip, :, : plain.shape[1]], plain) and not out[clip, :, plain.shape[1] :].any()
        direction = torch.randn_like(plain)
        mine, theirs = (
            torch.autograd.grad(y, x, direction, retain_graph=True)[0] for y in (out[clip, :, : plain.shape[1]], plain)
        )
        assert torch.equal(mine, theirs)


def test_group_norm_over_a_whole_clip_is_that_of_pytorch() -> None:
    ours, theirs = lively(MaskedGroupNorm(4, 8)), nn.GroupNorm(4, 8)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 8, 5)
    torch.testing.assert_close(ours(x, mask_of(5, 5, total=5)), theirs(x))


@BOTH
@pytest.mark.parametrize(("num_steps", "padded"), [(1, 8), (5, 8), (16, 16), (17, 24)])
def test_clips_are_padded_to_the_deepest_stride(config: PyramidSettings, num_steps: int, padded: int) -> None:
    x = torch.randn(2, 6, num_steps, dtype=torch.float64)
    levels, masks = built(config)(x, mask_of(num_steps, 1, total=num_steps))
    assert config.strides == built(config).strides == (1, 2, 4, 8)
    assert [tuple(level.shape) for level in levels] == [(2, 16, padded // stride) for stride in config.strides]
    assert [mask.sum().item() for mask in masks] == [-(-num_steps // stride) + 1 for stride in config.strides]
    assert all(level.isfinite().all() for level in levels)


@BOTH
@pytest.mark.parametrize("garbage", [1e3, float("inf"), float("nan")])
def test_padding_changes_nothing(config: PyramidSettings, garbage: float) -> None:
    """Neither what stands in it nor how long it is: a clip of its own, and in a longer batch beside another."""
    pyramid, x = built(config), torch.randn(1, 6, 9, dtype=torch.float64)
    alone, alone_masks = pyramid(x, mask_of(9, total=9))
    batch = torch.full((2, 6, 32), garbage, dtype=torch.float64)
    batch[1, :, :9], batch[0] = x[0], torch.randn(6, 32)
    levels, masks = pyramid(batch, mask_of(32, 9, total=32))
    for level, mask, expected, expected_mask in zip(levels, masks, alone, alone_masks, strict=True):
        torch.testing.assert_close(level[1, :, mask[1]], expected[0, :, expected_mask[0]])
        assert not level[1, :, ~mask[1]].any()


@BOTH
def test_gradients_are_finite_even_for_a_clip_without_any_real_step(config: PyramidSettings) -> None:
    pyramid = built(config).train()
    x = torch.randn(2, 6, 16, dtype=torch.float64, requires_grad=True)
    levels, _ = pyramid(x, mask_of(16, 0, total=16))
    sum(level.square().sum() for level in levels).backward()
    assert x.grad is not None and x.grad.isfinite().all() and not x.grad[1].any()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in pyramid.parameters())


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single(config: PyramidSettings, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    pyramid, x, mask = config.build(in_channels=6), torch.randn(2, 6, 16), mask_of(16, 9, total=16)
    exact, _ = pyramid(x, mask)
    with torch.autocast("cpu", dtype=dtype):
        rough, _ = pyramid(x, mask)
    for one, other in zip(exact, rough, strict=True):
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, one, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(("std", "learns"), [(0.0, False), (0.1, True)])
def test_branches_that_begin_at_zero_never_learn(std: float, learns: bool) -> None:
    torch.manual_seed(0)
    pyramid = SGP.model_copy(update={"branch_std": std}).build(in_channels=6)
    levels, _ = pyramid(torch.randn(2, 6, 16), mask_of(16, 16, total=16))
    sum(level.square().sum() for level in levels).backward()
    for block in (*pyramid.stem, *pyramid.branch):
        for conv in (block.psi, block.fc, block.convw, block.convkw):
            assert bool(conv.weight.grad.any()) == learns


def test_noise_is_added_in_training_to_real_steps_alone() -> None:
    noisy = SGP.model_copy(update={"input_noise": 0.5}).build(in_channels=6).eval()
    x, mask = torch.randn(2, 6, 16), mask_of(16, 9, total=16)
    quiet = noisy(x, mask)[0][0]
    assert torch.equal(quiet, noisy(x, mask)[0][0])
    loud = noisy.train()(x, mask)[0][0]
    assert not torch.equal(loud, noisy(x, mask)[0][0])
    assert (loud != quiet).any(1).sum() == 16 + 9


def test_parameter_counts_are_those_of_the_published_detectors() -> None:
    """TemporalMaxer's paper tells 7.1 M of it; TriDet's layers are counted one by one."""
    strides, conv, norm = (1, 2, 4, 8, 16, 32), 3 * 512 * 512, 2 * 512
    embedding = 3 * 2048 * 512 + conv + 2 * norm
    towers = 4 * (conv + norm)
    max_pool = embedding + 6 * norm + towers + (3 * 512 + 1) * (20 + 2) + 6
    block = 2 * norm + sum(512 * (kernel + 1) for kernel in (1, 1, 1, 11, 1)) + 2 * 512 * 768 + 768 + 512
    trident = 2 * towers + (3 * 512 + 1) * (3 * 20 + 2 * 17) + 6
    tridet = embedding + 7 * block + 5 * 2 * 512 + 6 * norm + trident
    for pyramid, head, expected in (
        (MaxPoolPyramidConfig(), HeadConfig(), max_pool),
        (SgpPyramidConfig(), TridentHeadConfig(), tridet),
    ):
        with torch.device("meta"):
            modules = pyramid.build(in_channels=2048), head.build(in_channels=512, num_classes=20, strides=strides)
        assert sum(p.numel() for module in modules for p in module.parameters()) == expected
    assert round(max_pool / 1e6, 1) == 7.1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SgpPyramidConfig(channels=40), "channels must be a multiple of 16, got 40; write 48"),
        (lambda: SgpPyramidConfig(window=4), "window must be odd, got 4; write 5"),
        (lambda: SgpPyramidConfig(arch=(0, 2, 5)), "greater than 0"),
        (lambda: MaxPoolPyramidConfig(arch=(2, -1)), "greater than or equal to 0"),
        (lambda: MaxPoolPyramidConfig(max_steps=16), "max_steps"),
    ],
)
def test_settings_that_do_not_fit_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build()
