"""Operations on frames against torchvision's."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from re2tal.video import pixel_ops

SIZE = (20, 26)


def clip_of(seed: int = 0) -> Tensor:
    """(3, 6, H, W): noise, a smooth frame, a grey one, a dark one, one colour, and one with a single odd pixel."""
    noise = torch.randint(0, 256, (3, 6, *SIZE), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    noise[:, 1] = torch.linspace(0, 255, 3 * SIZE[0] * SIZE[1]).reshape(3, *SIZE).to(torch.uint8)
    noise[:, 2] = noise[0, 2]
    noise[:, 3] //= 8
    noise[:, 4] = torch.tensor([200, 40, 90], dtype=torch.uint8)[:, None, None]
    noise[:, 5] = 7
    noise[0, 5, 3, 3] = 8
    return noise


def per_frame(op: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda clip: torch.stack([op(clip[:, t]) for t in range(clip.shape[1])], dim=1)


def frame_op(op: pixel_ops.FrameOp) -> Callable[[Tensor], Tensor]:
    return lambda clip: pixel_ops.apply(clip, [op])


def torchvision_affine(frame: Tensor, **options: object) -> Tensor:
    defaults = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return reference.affine(frame, **(defaults | options), interpolation=InterpolationMode.BILINEAR)  # type: ignore[arg-type]


CASES = {
    "brightness up": (frame_op(pixel_ops.adjust_brightness(1.72)), lambda f: reference.adjust_brightness(f, 1.72)),
    "brightness down": (frame_op(pixel_ops.adjust_brightness(0.5)), lambda f: reference.adjust_brightness(f, 0.5)),
    "contrast up": (frame_op(pixel_ops.adjust_contrast(1.72)), lambda f: reference.adjust_contrast(f, 1.72)),
    "contrast down": (frame_op(pixel_ops.adjust_contrast(0.5)), lambda f: reference.adjust_contrast(f, 0.5)),
    "saturation up": (frame_op(pixel_ops.adjust_saturation(1.72)), lambda f: reference.adjust_saturation(f, 1.72)),
    "saturation off": (frame_op(pixel_ops.adjust_saturation(0.0)), lambda f: reference.adjust_saturation(f, 0.0)),
    "sharpness up": (frame_op(pixel_ops.adjust_sharpness(1.72)), lambda f: reference.adjust_sharpness(f, 1.72)),
    "sharpness down": (frame_op(pixel_ops.adjust_sharpness(0.3)), lambda f: reference.adjust_sharpness(f, 0.3)),
    "autocontrast": (frame_op(pixel_ops.autocontrast()), reference.autocontrast),
    "rotate": (frame_op(pixel_ops.affine(SIZE, rotate_degrees=27)), lambda f: torchvision_affine(f, angle=27.0)),
    "rotate back": (frame_op(pixel_ops.affine(SIZE, rotate_degrees=-27)), lambda f: torchvision_affine(f, angle=-27.0)),
    "shear x": (
        frame_op(pixel_ops.affine(SIZE, shear_x_degrees=15.5)),
        lambda f: torchvision_affine(f, shear=[15.5, 0]),
    ),
    "shear y": (frame_op(pixel_ops.affine(SIZE, shear_y_degrees=-9)), lambda f: torchvision_affine(f, shear=[0, -9.0])),
}

EXACT_CASES = {
    "equalize": (frame_op(pixel_ops.equalize()), reference.equalize),
    "invert": (frame_op(pixel_ops.invert()), reference.invert),
    "posterize": (frame_op(pixel_ops.posterize(3)), lambda f: reference.posterize(f, 3)),
    "solarize": (frame_op(pixel_ops.solarize(230)), lambda f: reference.solarize(f, 230)),
    "solarize all": (frame_op(pixel_ops.solarize(0)), reference.invert),
    "translate x": (frame_op(pixel_ops.translate(x=5)), lambda f: torchvision_affine(f, translate=[5, 0])),
    "translate y": (frame_op(pixel_ops.translate(y=-7)), lambda f: torchvision_affine(f, translate=[0, -7])),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_torchvision_on_each_frame_within_one_level(name: str) -> None:
    ours, theirs = CASES[name]
    clip = clip_of()
    difference = ours(clip).int() - per_frame(theirs)(clip).int()
    assert difference.abs().max() <= 1


@pytest.mark.parametrize("name", EXACT_CASES)
def test_equals_torchvision_on_each_frame_exactly(name: str) -> None:
    ours, theirs = EXACT_CASES[name]
    clip = clip_of()
    assert torch.equal(ours(clip), per_frame(theirs)(clip))


@pytest.mark.parametrize("shift", [-0.5, -0.31, -0.1, 0.0, 0.07, 0.1, 0.25, 0.5])
def test_hue_equals_torchvision_within_one_level_for_every_colour(shift: float) -> None:
    steps = torch.arange(0, 256, 5, dtype=torch.uint8)
    colours = torch.cartesian_prod(steps, steps, steps).T.reshape(3, 1, 52, -1)
    difference = frame_op(pixel_ops.adjust_hue(shift))(colours).int()
    difference -= per_frame(lambda f: reference.adjust_hue(f, shift))(colours).int()
    assert difference.abs().max() <= 1


def test_a_chain_of_colour_changes_is_rounded_once() -> None:
    clip = clip_of()
    ops = [pixel_ops.adjust_saturation(1.4), pixel_ops.adjust_brightness(1.3), pixel_ops.adjust_hue(0.07)]
    ours = pixel_ops.apply(clip, [*ops, pixel_ops.adjust_contrast(0.7)])

    def theirs(frame: Tensor) -> Tensor:
        exact = reference.adjust_saturation(frame.double() / 255, 1.4)
        exact = reference.adjust_hue(reference.adjust_brightness(exact, 1.3), 0.07)
        return reference.adjust_contrast(exact, 0.7) * 255

    assert (ours - per_frame(theirs)(clip)).abs().max() <= 0.501


def test_cut_out_greys_a_square_and_stops_at_the_border() -> None:
    clip = clip_of()
    cut = frame_op(pixel_ops.cut_out(center=(1, 24), side=6))(clip)
    assert (cut[:, :, :4, 21:] == 128).all()
    changed = (cut != clip).any(dim=0).any(dim=0)
    assert not changed[4:].any() and not changed[:, :21].any()


def test_no_operation_changes_its_input() -> None:
    clip = clip_of()
    before = clip.clone()
    for ours, _ in [*CASES.values(), *EXACT_CASES.values()]:
        ours(clip)
    frame_op(pixel_ops.cut_out(center=(5, 5), side=4))(clip)
    assert torch.equal(clip, before)
