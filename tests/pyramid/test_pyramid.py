"""The pyramid: levels, masks, padding, position code, drop path."""

import math

import pytest
import torch
from pydantic import ValidationError

from re2tal.networks.heads import Head, HeadConfig
from re2tal.networks.pyramid import Pyramid, PyramidConfig
from re2tal.networks.pyramid.blocks import ScaledDropPath
from re2tal.networks.pyramid.pyramid import sinusoid_code


def tiny(**options: object) -> Pyramid:
    """Three levels of 8 channels; every residual branch counts, so that mistakes in one show."""
    torch.manual_seed(0)
    config = PyramidConfig(**{"channels": 8, "num_heads": 2, "arch": (1, 1, 2), "max_steps": 16} | options)
    pyramid = Pyramid(config, in_channels=6)
    for module in pyramid.modules():
        if isinstance(module, ScaledDropPath):
            torch.nn.init.ones_(module.scale)
    return pyramid


def mask_of(*lengths: int, total: int) -> torch.Tensor:
    return torch.arange(total) < torch.tensor(lengths)[:, None]


def test_each_level_halves_the_steps_and_the_mask() -> None:
    mask = mask_of(16, 7, total=16)
    levels, masks = tiny().eval()(torch.randn(2, 6, 16), mask)
    assert [tuple(level.shape) for level in levels] == [(2, 8, 16), (2, 8, 8), (2, 8, 4)]
    assert torch.equal(masks[1], mask[:, ::2])
    assert torch.equal(masks[2], mask[:, ::4])


@pytest.mark.parametrize(("num_steps", "padded"), [(5, 16), (16, 16), (17, 20), (20, 20)])
def test_clips_are_padded_to_the_training_length_or_the_deepest_stride(num_steps: int, padded: int) -> None:
    levels, masks = tiny().eval()(torch.randn(1, 6, num_steps), mask_of(num_steps, total=num_steps))
    assert levels[0].shape[-1] == padded
    assert masks[0].sum() == num_steps


@pytest.mark.parametrize("window", [None, 3])
def test_what_stands_in_masked_out_steps_changes_nothing(window: int | None) -> None:
    """But for the one step next to the end, which the first convolution reads, as the reference's does."""
    pyramid = tiny(attention_window=window, position_code=True, arch=(2, 2, 2)).eval()
    mask = mask_of(16, 9, total=16)
    x = torch.randn(2, 6, 16)
    garbage = x.clone()
    garbage[1, :, 10:] = 1e3
    clean_levels, masks = pyramid(x, mask)
    levels, _ = pyramid(garbage, mask)
    for clean, level, valid in zip(clean_levels, levels, masks, strict=True):
        assert torch.equal(level.transpose(1, 2)[valid], clean.transpose(1, 2)[valid])


def test_gradients_are_finite_even_for_a_clip_without_any_real_step() -> None:
    for window in (None, 3):
        x = torch.randn(2, 6, 16, requires_grad=True)
        levels, _ = tiny(attention_window=window).train()(x, mask_of(16, 0, total=16))
        sum(level.square().sum() for level in levels).backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_each_level_has_its_own_window() -> None:
    """A step sees as far as the windows of its level and of those before it reach; None sees all."""
    x = torch.randn(1, 6, 64)
    far = x.clone()
    far[:, :, 0] += 100.0
    mask = mask_of(64, total=64)
    near, whole = (
        tiny(attention_window=windows, arch=(1, 1, 2), max_steps=64).eval() for windows in ((3, 3, 3), (3, 3, None))
    )
    for pyramid, reaches in ((near, False), (whole, True)):
        (levels, _), (changed, _) = pyramid(x, mask), pyramid(far, mask)
        assert torch.equal(levels[1][..., -1], changed[1][..., -1])
        assert torch.equal(levels[2][..., -1], changed[2][..., -1]) is not reaches


def test_dropout_is_of_training_alone() -> None:
    x, mask = torch.randn(1, 6, 16), mask_of(16, total=16)
    plain = tiny().eval()(x, mask)[0]
    for option in ("dropout", "input_dropout"):
        pyramid = tiny(**{option: 0.5}, drop_path=0.0)
        assert all(map(torch.equal, pyramid.eval()(x, mask)[0], plain))
        torch.manual_seed(1)
        first = pyramid.train()(x, mask)[0]
        assert not torch.equal(first[0], pyramid(x, mask)[0][0])


def test_a_dropped_channel_of_the_input_is_dropped_at_all_steps() -> None:
    pyramid = tiny(input_dropout=0.5).train()
    seen: list[torch.Tensor] = []
    pyramid.embed[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    pyramid(torch.ones(1, 6, 16), mask_of(16, total=16))
    assert {tuple(channel.unique().tolist()) for channel in seen[0][0]} == {(0.0,), (2.0,)}


def test_position_code_equals_its_formula() -> None:
    code = sinusoid_code(5, channels=6)
    for channel in range(6):
        for step in range(5):
            angle = step / 10_000 ** (2 * (channel // 2) / 6)
            expected = (math.sin(angle) if channel % 2 == 0 else math.cos(angle)) / math.sqrt(6)
            assert code[0, channel, step].item() == pytest.approx(expected, abs=1e-7)


def test_without_position_code_the_pyramid_has_none() -> None:
    assert tiny().position_code is None
    assert not any("position" in name for name in tiny(position_code=True).state_dict())


def test_training_clip_longer_than_the_position_code_is_refused_with_the_fix() -> None:
    pyramid = tiny(position_code=True)
    x, mask = torch.randn(1, 6, 17), mask_of(17, total=17)
    with pytest.raises(ValueError, match=r"clip of 20 steps .* code of 16; set pyramid.max_steps=20"):
        pyramid.train()(x, mask)
    pyramid.eval()(x, mask)


def test_training_clip_may_be_long_without_position_code() -> None:
    levels, _ = tiny().train()(torch.randn(1, 6, 17), mask_of(17, total=17))
    assert levels[0].shape[-1] == 20


def test_drop_path_drops_whole_samples_anew_each_time_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = ScaledDropPath(3, drop_prob=0.25)
    torch.nn.init.constant_(drop.scale, 2.0)
    x = torch.ones(4000, 3, 2)
    first, second = drop(x), drop(x)
    assert first.unique().tolist() == pytest.approx([0.0, 2 / 0.75])
    assert torch.equal(first.amax((1, 2)), first.amin((1, 2)))
    assert not torch.equal(first, second)
    assert first.mean().item() == pytest.approx(2.0, rel=0.05)
    assert torch.equal(drop.eval()(x), 2 * x)


def test_parameter_counts_of_the_published_pyramids_and_heads() -> None:
    published = {
        (512, 768, 20): 27_285_532,
        (512, 2304, 20): 29_644_828,
        (256, 768, 1): 7_140_105,
        (256, 2304, 1): 8_319_753,
    }
    for (channels, in_channels, num_classes), expected in published.items():
        with torch.device("meta"):
            pyramid = Pyramid(PyramidConfig(channels=channels), in_channels=in_channels)
            head = Head(HeadConfig(), in_channels=channels, num_classes=num_classes, strides=pyramid.strides)
        modules = (pyramid, head)
        assert sum(p.numel() for module in modules for p in module.parameters()) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 10, "num_heads": 4}, "channels must be a multiple of num_heads, got 10 and 4; 8 channels fit"),
        ({"attention_window": 4}, "attention_window must be odd, got 4; write 5"),
        ({"attention_window": (3, 3, 3, 4, 3, None)}, "attention_window must be odd"),
        ({"attention_window": (3, 3)}, "one for each of the 6 levels"),
        ({"max_steps": 100}, "max_steps must be a multiple of the deepest stride 32, got 100; write 128"),
        ({"arch": (0, 2, 5)}, "arch must begin with at least one convolution"),
        ({"drop_path": 1.0}, "less than 1"),
        ({"attention_windows": 5}, "attention_windows"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_the_fix(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PyramidConfig(**options)
