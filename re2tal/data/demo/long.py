"""What the shapes of a long demo video do: some actions look alike, and only what came minutes before tells them apart.

    0 s    70 s                                                        530 s    600 s
    | cue  |   shiver   jump        jump      shiver         jump      |  cue   |

A video begins with a cue, a circle or a pulse, and ends with another one, drawn on its own. In between shapes shiver
and jump. A jump is called after the first cue: "jump after circle" or "jump after pulse". The last cue follows the same
laws, so it is not enough to know what there is in a video: half of the time both are, and their order decides.
"""

import numpy as np

from re2tal.data.demo.motion import GAP, SHAPES, Event, Script

__all__ = ["LONG_CLASSES", "LONG_FPS", "LONG_SECONDS", "write_long_script"]

LONG_SECONDS = 600
LONG_FPS = 4
"""A tick is a frame: a period of a law takes two or three seconds."""
CUE_SECONDS = (8.0, 40.0)
EDGE_SECONDS = 70.0
"""At both ends of a video, for the cues."""
ACTION_SECONDS = (1.0, 120.0)
ACTIONS = (8, 13)
"""Fewest and most between the cues."""

CUES = ("circle", "pulse")
LONG_CLASSES = ("circle", "jump after circle", "jump after pulse", "pulse", "shiver")


def write_long_script(rng: np.random.Generator) -> Script:
    """Draw the cues and what lies between them."""
    ticks = LONG_SECONDS * LONG_FPS
    first, last = (_cue(rng, begin=begin) for begin in (0.0, LONG_SECONDS - EDGE_SECONDS))
    room = LONG_SECONDS - 2 * EDGE_SECONDS
    gap = GAP / LONG_FPS
    while True:
        shortest, longest = np.log(ACTION_SECONDS)
        lengths = np.exp(rng.uniform(shortest, longest, rng.integers(ACTIONS[0], ACTIONS[1] + 1)))
        spare = room - lengths.sum() - gap * (len(lengths) + 1)
        if spare >= 0:
            break
    gaps = gap + spare * rng.dirichlet(np.ones(len(lengths) + 1))
    starts = EDGE_SECONDS + np.cumsum(gaps[:-1] + np.concatenate(([0.0], lengths[:-1])))
    laws = rng.permutation(np.arange(len(lengths)) % 2)  # as many jumps as shivers, or one more
    shapes = np.cumsum(rng.integers(1, SHAPES, len(lengths))) % SHAPES
    between = tuple(
        Event(
            shape=int(shape),
            start=start * LONG_FPS,
            end=(start + length) * LONG_FPS,
            name=("jump", "shiver")[law],
            label=(f"jump after {first.name}", "shiver")[law],
        )
        for shape, start, length, law in zip(shapes, starts.tolist(), lengths.tolist(), laws.tolist(), strict=True)
    )
    return Script(actions=(first, *between, last), distractors=(), ticks=ticks)


def _cue(rng: np.random.Generator, *, begin: float) -> Event:
    """A circle or a pulse somewhere in the `EDGE_SECONDS` from `begin` on."""
    length = rng.uniform(*CUE_SECONDS)
    start = begin + rng.uniform(GAP / LONG_FPS, EDGE_SECONDS - length - GAP / LONG_FPS)
    name = str(rng.choice(CUES))
    return Event(shape=int(rng.integers(SHAPES)), start=start * LONG_FPS, end=(start + length) * LONG_FPS, name=name)
