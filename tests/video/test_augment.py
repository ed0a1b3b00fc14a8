"""The random changes of a training clip: the same in every frame, drawn anew for every clip."""

import pickle
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from re2tal.video import (
    AugmentConfig,
    CropConfig,
    JitterConfig,
    RandAugmentConfig,
    augment,
    center_crop,
    pixel_ops,
)
from re2tal.video.augment import _draw_crop
from re2tal.video.rand_augment import OperationName, OperationSettings
from tests.devices import CUDA

NOTHING = AugmentConfig(
    crop=None,
    flip_probability=0,
    rand_augment=RandAugmentConfig(num_operations=0),
    jitter=JitterConfig(brightness=0, contrast=0, saturation=0, hue=0),
)


def frames_of(*, num_frames: int = 4, height: int = 40, width: int = 52) -> Tensor:
    """(T, H, W, 3) noise, as a reader gives it."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator).to(torch.uint8)


def one_by_one(frames: Tensor) -> list[Tensor]:
    """T frames (3, H, W), as a reader streams them."""
    return list(frames.permute(0, 3, 1, 2))


def still(*, num_frames: int = 4) -> Tensor:
    """One frame, repeated."""
    return frames_of(num_frames=1).expand(num_frames, -1, -1, -1).contiguous()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(40))
def test_every_frame_is_changed_in_the_same_way(seed: int) -> None:
    clip = augment(still(), rng=rng(seed), config=AugmentConfig(), size=(24, 32))
    assert clip.shape == (3, 4, 24, 32) and clip.dtype == torch.uint8 and clip.is_contiguous()
    assert (clip == clip[:, :1]).all()


def test_clips_differ_and_equal_seeds_agree() -> None:
    clips = [augment(frames_of(), rng=rng(seed), config=AugmentConfig(), size=(24, 24)) for seed in (0, 0, 1, 2)]
    assert torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[0], clips[2]) and not torch.equal(clips[2], clips[3])


def test_global_random_state_and_the_input_are_left_alone() -> None:
    frames = frames_of()
    before = frames.clone()
    torch_state, numpy_state = torch.get_rng_state(), str(np.random.get_state())
    for seed in range(10):
        augment(frames, rng=rng(seed), config=AugmentConfig(), size=(24, 24))
    assert torch.equal(frames, before)
    assert torch.equal(torch.get_rng_state(), torch_state) and str(np.random.get_state()) == numpy_state


def test_both_layouts_of_a_clip_are_accepted() -> None:
    frames = frames_of()
    last = augment(frames, rng=rng(), config=AugmentConfig(), size=(24, 24))
    first = augment(frames.permute(3, 0, 1, 2), rng=rng(), config=AugmentConfig(), size=(24, 24))
    assert torch.equal(first, last)


@pytest.mark.parametrize(
    "frames", [torch.zeros(4, 8, 8, 3), torch.zeros(8, 8, 3, dtype=torch.uint8), torch.zeros(4, 8, 8, 4).byte()]
)
def test_other_layouts_are_refused(frames: Tensor) -> None:
    with pytest.raises(ValueError, match=r"frames must be \(T, H, W, 3\) or \(3, T, H, W\) uint8, got"):
        augment(frames, rng=rng(), config=AugmentConfig(), size=(4, 4))


def test_everything_switched_off_is_the_centre_crop() -> None:
    frames = frames_of()
    clip = augment(frames, rng=rng(), config=NOTHING, size=(30, 41))
    expected = reference.center_crop(frames.permute(3, 0, 1, 2), [30, 41])
    assert torch.equal(clip, expected)
    assert torch.equal(center_crop(frames, size=(30, 41)), expected)


def test_a_crop_larger_than_the_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="41 x 20 pixels must fit.*frames of 40 x 52; lower the crop size"):
        center_crop(frames_of(), size=(41, 20))


def test_flipping_mirrors_left_and_right() -> None:
    frames = frames_of()
    always = NOTHING.model_copy(update={"flip_probability": 1.0})
    assert torch.equal(augment(frames, rng=rng(), config=always, size=(40, 52)), frames.permute(3, 0, 1, 2).flip(-1))
    half = NOTHING.model_copy(update={"flip_probability": 0.5})
    flipped = [
        not torch.equal(augment(frames, rng=rng(s), config=half, size=(40, 52)), frames.permute(3, 0, 1, 2))
        for s in range(200)
    ]
    assert 70 < sum(flipped) < 130


def test_the_random_crop_is_resized_as_torchvision_resizes_it() -> None:
    frames = frames_of()
    config = NOTHING.model_copy(update={"crop": CropConfig()})
    top, left, height, width = _draw_crop(rng(3), CropConfig(), height=40, width=52)
    expected = reference.resized_crop(frames.permute(0, 3, 1, 2), top, left, height, width, [24, 28], antialias=True)
    assert torch.equal(augment(frames, rng=rng(3), config=config, size=(24, 28)), expected.transpose(0, 1))


@pytest.mark.parametrize(("height", "width"), [(256, 340), (40, 400), (400, 40), (1, 1)])
def test_crops_keep_to_the_ranges_of_area_and_aspect(height: int, width: int) -> None:
    config, generator = CropConfig(), rng()
    shares, fallback = [], 0
    for _ in range(300):
        top, left, h, w = _draw_crop(generator, config, height=height, width=width)
        assert 0 <= top <= height - h and 0 <= left <= width - w and h >= 1 and w >= 1
        aspect = w / h
        assert 3 / 4 * 0.95 <= aspect <= 4 / 3 * 1.05
        shares.append(h * w / (height * width))
        fallback += min(h, w) == min(height, width)
    if (height, width) == (256, 340):
        assert 0.078 < min(shares) < 0.12 and max(shares) > 0.85
        assert 0.4 < np.mean(shares) < 0.6


def test_no_operation_is_drawn_twice_and_all_are_drawn() -> None:
    names = get_args(OperationName)
    assert len(names) == 15
    for name in names:  # each alone changes the clip, whatever is drawn within it
        config = NOTHING.model_copy(update={"rand_augment": RandAugmentConfig(num_operations=1, operations=(name,))})
        clip = augment(frames_of(), rng=rng(), config=config, size=(40, 52))
        # autocontrast and equalize find nothing to stretch in noise
        if name not in ("autocontrast", "equalize"):
            assert not torch.equal(clip, frames_of().permute(3, 0, 1, 2)), name
    twice = RandAugmentConfig(num_operations=2, operations=("invert", "posterize"), posterize_bits=8)
    config = NOTHING.model_copy(update={"rand_augment": twice})
    for seed in range(10):  # two inversions would give the clip back
        clip = augment(frames_of(), rng=rng(seed), config=config, size=(40, 52))
        assert torch.equal(clip, 255 - frames_of().permute(3, 0, 1, 2))


def test_signs_are_drawn_per_clip() -> None:
    config = NOTHING.model_copy(
        update={"rand_augment": RandAugmentConfig(num_operations=1, operations=("translate_x",))}
    )
    frames = torch.full_like(frames_of(), 200)
    black_left = [
        bool((augment(frames, rng=rng(seed), config=config, size=(40, 50))[..., 0] == 0).all()) for seed in range(100)
    ]
    assert 30 < sum(black_left) < 70
    clip = augment(frames, rng=rng(0), config=config, size=(40, 50))
    assert int((clip[0, 0, 0] == 0).sum()) == 9  # 0.18 of 50


def test_the_order_of_colour_changes_is_drawn_per_clip() -> None:
    config = NOTHING.model_copy(update={"jitter": JitterConfig()})
    frames = frames_of(num_frames=1)
    assert len({augment(frames, rng=rng(seed), config=config, size=(40, 52)).sum().item() for seed in range(20)}) == 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CropConfig(area=(0.5, 0.2)), "0 < low <= high <= 1"),
        (lambda: CropConfig(area=(0.0, 1.0)), "0 < low <= high <= 1"),
        (lambda: CropConfig(aspect=(0.0, 1.0)), "0 < low <= high"),
        (lambda: RandAugmentConfig(operations=("invert",)), "num_operations must be at most 1"),
        (lambda: RandAugmentConfig(operations=("invert", "invert")), "must not repeat"),
        (lambda: RandAugmentConfig(operations=("inverse", "rotate")), "inverse"),
        (lambda: JitterConfig(hue=0.6), "hue"),
        (lambda: AugmentConfig(flip_probability=1.5), "flip_probability"),
        (lambda: AugmentConfig(flip=0.5), "flip"),
    ],
)
def test_impossible_settings_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()  # type: ignore[operator]


def test_frames_may_come_one_by_one() -> None:
    frames = frames_of()
    frames[2] = frames[1]
    for seed in range(10):
        whole = augment(frames, rng=rng(seed), config=AugmentConfig(), size=(24, 32))
        planes = frames.permute(0, 3, 1, 2)
        one_by_one = iter([planes[0], planes[1], planes[1], planes[3]])
        streamed = augment(one_by_one, rng=rng(seed), config=AugmentConfig(), size=(24, 32), num_frames=4)
        assert torch.equal(streamed, whole)


@pytest.mark.parametrize(("counted", "message"), [(3, "longer"), (5, "shorter"), (None, "give num_frames")])
def test_frames_that_come_one_by_one_are_counted(counted: int | None, message: str) -> None:
    planes = frames_of().permute(0, 3, 1, 2)
    with pytest.raises(ValueError, match=message):
        augment(iter(planes), rng=rng(), config=NOTHING, size=(24, 32), num_frames=counted)


EVERYTHING = AugmentConfig(rand_augment=RandAugmentConfig(num_operations=len(get_args(OperationName))))


@pytest.mark.parametrize("config", [AugmentConfig(), EVERYTHING])
def test_what_follows_the_crop_can_be_done_later_and_elsewhere(config: AugmentConfig) -> None:
    for seed in range(10):
        at_once, in_two = rng(seed), rng(seed)
        expected = augment(still(), rng=at_once, config=config, size=(24, 32))
        frames = one_by_one(still())
        clip, change = config.begin(frames, rng=in_two, size=(24, 32), num_frames=4)
        assert at_once.bit_generator.state == in_two.bit_generator.state
        assert change is not None and len(pickle.dumps(change)) < 4000
        before = clip.clone()
        changed = pickle.loads(pickle.dumps(change))(clip)
        assert torch.equal(clip, before) and not torch.equal(changed, before)
        assert_alike(changed, expected)


def test_a_clip_is_changed_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = one_by_one(frames_of(num_frames=7))
    clip, change = EVERYTHING.begin(frames, rng=rng(), size=(24, 32), num_frames=7)
    assert change is not None
    whole = change(clip)
    monkeypatch.setattr(pixel_ops, "_PIXELS_AT_ONCE", 3 * 24 * 32)
    assert_alike(change(clip), whole)


def test_nothing_is_left_where_nothing_follows_the_crop_or_operations_are_somebody_s_own() -> None:
    frames = one_by_one(frames_of(height=24, width=32))
    clip, change = NOTHING.begin(frames, rng=rng(), size=(24, 32), num_frames=4)
    assert change is None and torch.equal(clip, torch.stack(frames, dim=1))
    own = AugmentConfig(rand_augment=RandAugmentConfig(operations=(), more_operations=(Own(),), num_operations=1))
    clip, change = own.begin(frames, rng=rng(), size=(24, 32), num_frames=4)
    assert change is None and torch.equal(clip, own.apply(frames, rng=rng(), size=(24, 32), num_frames=4))


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("operation", get_args(OperationName))
def test_a_device_changes_pixels_as_a_processor_does(operation: OperationName, device: str) -> None:
    config = AugmentConfig(rand_augment=RandAugmentConfig(operations=(operation,), num_operations=1))
    frames = one_by_one(frames_of())
    clip, change = config.begin(frames, rng=rng(), size=(24, 32), num_frames=4)
    assert change is not None
    assert_alike(change(clip.to(device)).cpu(), change(clip))


def assert_alike(changed: Tensor, expected: Tensor) -> None:
    """Up to rounding, which an operation that tells levels apart may make more of in a few places."""
    assert changed.shape == expected.shape and changed.dtype == expected.dtype
    assert (changed.int() - expected.int()).abs().float().mean() < 0.05


class Own(OperationSettings):
    """Of somebody who knows nothing of devices."""

    def draw(self, rng: np.random.Generator, *, size: tuple[int, int]) -> pixel_ops.FrameOp:
        level = int(rng.integers(256))
        return pixel_ops.FrameOp(lambda frames: torch.full_like(frames, level), "either")
