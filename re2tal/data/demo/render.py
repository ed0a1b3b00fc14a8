"""From a script to pixels: shapes over a drifting texture, seen by a shaking camera."""

import numpy as np
from numpy.typing import NDArray

from re2tal.data.demo.motion import SHAPES_PER_VIDEO, TICKS, Floats, Script, phases

__all__ = ["FPS", "SIZE", "render"]

FPS = 20
SIZE = 64
"""Height and width of a demo video in pixels."""
MARGIN = 14
"""Pixels drawn around the view, so that no shape needs clipping."""
CANVAS = SIZE + 2 * MARGIN
TEXTURE = 96
FINE = 4
"""The texture is kept this many times finer than the view, so that it can drift by fractions of a pixel."""
REACH = (0.15, 0.21)
RADIUS = (0.10, 0.13)
"""Of the view's side."""
COLOURS = np.array(
    [
        [255, 210, 120],
        [150, 235, 170],
        [140, 210, 255],
        [255, 170, 170],
        [235, 180, 255],
        [250, 250, 180],
        [235, 235, 235],
    ]
)


def render(script: Script, num_frames: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a script as (T, SIZE, SIZE, 3) RGB frames."""
    ticks = (np.arange(num_frames) + 0.5) * TICKS / num_frames
    camera = _camera(ticks, rng)  # (T, 2) pixels
    canvas = _background(ticks, camera, rng)
    colours = rng.permutation(COLOURS)
    for shape in range(SHAPES_PER_VIDEO):
        reach = rng.uniform(*REACH)
        path = phases(script.of_shape(shape), ticks, lambda: rng.uniform(8, 13), rng)
        positions = _centre(ticks, reach, rng) + reach * np.cos(2 * np.pi * path)  # (T, 2) in [0, 1]
        _draw(canvas, positions * SIZE + camera + MARGIN, colours[shape], rng)
    return canvas[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def _drift(ticks: Floats, period: tuple[float, float], rng: np.random.Generator) -> Floats:
    """A slow two-dimensional sway (T, 2) in [-1, 1]."""
    periods, start = rng.uniform(*period, size=2), rng.uniform(size=2)
    return np.cos(2 * np.pi * (start + ticks[:, None] / periods))


def _camera(ticks: Floats, rng: np.random.Generator) -> Floats:
    """Offset of the view in pixels (T, 2): a hand that sways and trembles."""
    return 1.5 * _drift(ticks, (20, 50), rng) + rng.normal(0.0, 0.5, (len(ticks), 2))


def _centre(ticks: Floats, reach: float, rng: np.random.Generator) -> Floats:
    """Where the middle of a shape's movement is (T, 2): anywhere from which it cannot leave the view."""
    room = 0.5 - reach - 0.08
    return 0.5 + room * _drift(ticks, (100, 250), rng)


def _background(ticks: Floats, camera: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A smooth texture that drifts steadily, (T, CANVAS, CANVAS, 3)."""
    side = TEXTURE * FINE
    waves = rng.integers(-3, 4, (12, 2))
    axis = np.arange(side) / side
    grid = waves[:, 0, None, None] * axis[:, None] + waves[:, 1, None, None] * axis  # (12, side, side)
    pattern = np.cos(2 * np.pi * (grid + rng.uniform(size=(12, 1, 1))))
    weights = rng.normal(0, 7, (12, 3))
    texture = np.clip(rng.uniform(45, 90, 3) + np.einsum("wyx,wc->yxc", pattern, weights), 0, 255).astype(np.uint8)

    angle = rng.uniform(0, 2 * np.pi)
    speed = rng.uniform(0.1, 0.6) * SIZE / 32
    offset = ticks[:, None] * speed * np.array([np.cos(angle), np.sin(angle)]) - camera
    start, phase = np.divmod((offset * FINE).round().astype(int), FINE)
    x, y = (start % TEXTURE).T
    # Each phase of the fine texture is a coarse one; a view is then a slice of it, which is cheap to copy.
    phases_xy = np.tile(texture.reshape(TEXTURE, FINE, TEXTURE, FINE, 3).transpose(1, 3, 0, 2, 4), (1, 1, 2, 2, 1))
    canvas = np.empty((len(ticks), CANVAS, CANVAS, 3), np.uint8)
    for frame, (px, py) in enumerate(phase):
        canvas[frame] = phases_xy[py, px, y[frame] : y[frame] + CANVAS, x[frame] : x[frame] + CANVAS]
    return canvas


def _draw(canvas: NDArray[np.uint8], positions: Floats, colour: NDArray[np.int_], rng: np.random.Generator) -> None:
    """Blend one shape into every frame at its position (T, 2), with soft edges."""
    radius = rng.uniform(*RADIUS) * SIZE
    half = int(radius) + 2
    corner = np.floor(positions).astype(int)
    near = np.arange(-half, half + 1)
    columns = corner[:, :1] + near  # (T, n)
    rows = corner[:, 1:] + near
    x = (columns - positions[:, :1])[:, None, :]
    y = (rows - positions[:, 1:])[:, :, None]
    match rng.integers(3):
        case 0:
            inside = radius - np.hypot(x, y)
        case 1:
            inside = 0.9 * radius - np.maximum(np.abs(x), np.abs(y))
        case _:
            inside = 0.8 * radius - (np.abs(x) + np.abs(y)) * np.sqrt(0.5)
    alpha = np.clip(inside + 0.5, 0.0, 1.0)[..., None]  # (T, n, n, 1)
    frame = np.arange(len(canvas))[:, None, None]
    index = (frame, rows[:, :, None], columns[:, None, :])
    canvas[index] = (canvas[index] * (1 - alpha) + colour * alpha).round().astype(np.uint8)
