"""From a script to pixels: shapes over a drifting texture, seen by a shaking camera.

T frames.
"""

import numpy as np
from numpy.typing import NDArray

from re2tal.data.demo.motion import SHAPES, Floats, Script, phases

__all__ = ["FPS", "SIZE", "render"]

FPS = 20
SIZE = 64
"""Height and width of a demo video in pixels."""
MARGIN = 20
"""Pixels drawn around the view, so that no shape needs clipping."""
CANVAS = SIZE + 2 * MARGIN
TEXTURE = 2 * 64
"""Side of the background's texture, which repeats; no less than `CANVAS`."""
WAVES = 12
"""Plane waves that the texture is the sum of."""
FINE = 4
"""The texture is kept this many times finer than the view, so that it can drift by fractions of a pixel."""
REACH = (0.15, 0.21)
RADIUS = (0.10, 0.13)
"""Of the view's side."""
SWELL = 0.4
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


def render(script: Script, *, num_frames: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a script as (T, SIZE, SIZE, 3) RGB frames."""
    ticks = (np.arange(num_frames) + 0.5) * script.ticks / num_frames
    camera = _camera(ticks, rng=rng)  # (T, 2) pixels
    canvas = _background(ticks, camera=camera, rng=rng)
    colours = rng.permutation(COLOURS)
    for shape in range(SHAPES):
        reach = rng.uniform(*REACH)
        cosines = np.cos(
            2 * np.pi * phases(script.of_shape(shape), ticks=ticks, length=script.ticks, rng=rng)
        )  # (T, 3)
        positions = _centre(ticks, reach=reach, rng=rng) + reach * cosines[:, :2]  # (T, 2) in [0, 1]
        radii = rng.uniform(*RADIUS) * SIZE * (1 + SWELL * cosines[:, 2])
        _draw(canvas, positions=positions * SIZE + camera + MARGIN, radii=radii, colour=colours[shape], rng=rng)
    return canvas[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def _drift(ticks: Floats, *, period: tuple[float, float], rng: np.random.Generator) -> Floats:
    """A slow two-dimensional sway (T, 2) in [-1, 1]."""
    periods, start = rng.uniform(*period, size=2), rng.uniform(size=2)
    return np.cos(2 * np.pi * (start + ticks[:, None] / periods))


def _camera(ticks: Floats, *, rng: np.random.Generator) -> Floats:
    """Offset of the view in pixels (T, 2): a hand that sways and trembles."""
    tremor = np.clip(rng.normal(0.0, 0.5, (len(ticks), 2)), -2, 2)
    return 1.5 * _drift(ticks, period=(20, 50), rng=rng) + tremor


def _centre(ticks: Floats, *, reach: float, rng: np.random.Generator) -> Floats:
    """Where the middle of a shape's movement is (T, 2): anywhere from which most of it stays in view."""
    room = 0.5 - reach - 0.08
    return 0.5 + room * _drift(ticks, period=(100, 250), rng=rng)


def _background(ticks: Floats, *, camera: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A smooth texture that drifts steadily, (T, CANVAS, CANVAS, 3)."""
    side = TEXTURE * FINE
    waves = rng.integers(-4, 5, (2, WAVES, 1))
    y, x = 2 * np.pi * (waves * np.arange(side) / side + rng.uniform(size=(2, WAVES, 1)))  # (WAVES, side)
    # cos(x + y) from cosines of one axis at a time, which is far less work.
    along_y = np.concatenate([np.cos(y), -np.sin(y)]).T  # (side, 2 WAVES)
    along_x = np.concatenate([np.cos(x), np.sin(x)])[..., None]
    weights = np.tile(rng.normal(0, 5, (WAVES, 1, 3)), (2, 1, 1))
    pattern = np.tensordot(along_y, along_x * weights, 1)  # (side, side, 3)
    texture = np.clip(rng.uniform(45, 90, 3) + pattern, 0, 255).astype(np.uint8)

    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)  # pixels per tick
    offset = ticks[:, None] * speed * np.array([np.cos(angle), np.sin(angle)]) - camera
    start, phase = np.divmod((offset * FINE).round().astype(int), FINE)
    left, top = (start % TEXTURE).T
    # Each phase of the fine texture is a coarse one; a view is then a slice of it, which is cheap to copy.
    coarse = np.tile(texture.reshape(TEXTURE, FINE, TEXTURE, FINE, 3).transpose(1, 3, 0, 2, 4), (1, 1, 2, 2, 1))
    canvas = np.empty((len(ticks), CANVAS, CANVAS, 3), np.uint8)
    for frame, (px, py) in enumerate(phase):
        canvas[frame] = coarse[py, px, top[frame] : top[frame] + CANVAS, left[frame] : left[frame] + CANVAS]
    return canvas


def _draw(
    canvas: NDArray[np.uint8],
    *,
    positions: Floats,
    radii: Floats,
    colour: NDArray[np.int_],
    rng: np.random.Generator,
) -> None:
    """Blend one shape, a disc, a square or a diamond, into every frame, with soft edges.

    Args:
        canvas: (T, CANVAS, CANVAS, 3), changed in place.
        positions: (T, 2) in pixels of the canvas.
        radii: (T,) in pixels.
        colour: (3,).
        rng: draws the kind of shape.
    """
    half = int(radii.max()) + 2
    corner = np.floor(positions).astype(int)
    near = np.arange(-half, half + 1)
    columns, rows = corner[:, :1] + near, corner[:, 1:] + near  # (T, n)
    x = (columns - positions[:, :1]).astype(np.float32)[:, None, :]
    y = (rows - positions[:, 1:]).astype(np.float32)[:, :, None]
    size = radii.astype(np.float32)[:, None, None]
    inside: NDArray[np.floating]  # pixels from the outline inwards, (T, n, n)
    match rng.integers(3):
        case 0:
            inside = size - np.hypot(x, y)
        case 1:
            inside = 0.9 * size - np.maximum(np.abs(x), np.abs(y))
        case _:
            inside = 0.8 * size - (np.abs(x) + np.abs(y)) * 0.5**0.5
    alpha = np.clip(inside + 0.5, 0.0, 1.0)[..., None]  # (T, n, n, 1)
    index = (np.arange(len(canvas))[:, None, None], rows[:, :, None], columns[:, None, :])
    below = canvas[index]
    canvas[index] = (below + (colour.astype(np.float32) - below) * alpha + 0.5).astype(np.uint8)
