"""What a detector would say of videos, drawn at random: input for the programs beside this one, which prints nothing.

Every window has the points of THUMOS-14's experiments: 512 steps, six levels of strides 1 to 32. Of each action, points
inside it say where it is, the more surely the nearer to its centre and the better its length suits their level; some
actions are found badly, some get a second class. All other points see a piece of the length that their level is for,
with low scores: a long tail, lifted for the classes that the video shows. A window of 1008 points and 20 classes has
some thousands of scores above 0.001, of which post-processing takes the best 2000.

P points of all levels, K classes, A actions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from re2tal.common.types import Proposals, TimeGrid
from re2tal.data.windows import window_starts

__all__ = ["NUM_STEPS", "FilmedActions", "proposals_of", "random_video", "windows_of"]

Floats = NDArray[np.float64]

NUM_STEPS, NUM_LEVELS, FIRST_REACH = 512, 6, 4.0
FRAMES_PER_STEP = 4
"""Of the file."""
OVERLAP = 0.5
"""Share of a window that the next one repeats."""


@dataclass(frozen=True, kw_only=True)
class FilmedActions:
    """The truth about a video."""

    duration_seconds: float
    fps: float
    segments: Floats
    """(A, 2) seconds."""
    labels: NDArray[np.int64]
    """(A,) class indices."""


def random_video(seconds: float, *, num_classes: int, rng: np.random.Generator) -> FilmedActions:
    """A video at 30 frames/s with an action of one or two classes every ten seconds, 1 to 15 s long."""
    count = max(int(seconds / 10), 1)
    lengths = np.exp(rng.uniform(0, np.log(15), count)).clip(max=seconds)
    starts = rng.uniform(0, seconds - lengths)
    labels = rng.choice(rng.integers(num_classes, size=2), size=count)
    return FilmedActions(
        duration_seconds=seconds, fps=30.0, segments=np.stack([starts, starts + lengths], 1), labels=labels
    )


def windows_of(
    video: FilmedActions, *, num_classes: int, rng: np.random.Generator
) -> Iterator[tuple[Proposals, TimeGrid]]:
    """What is said of every window that testing cuts from the video, and where the window lies."""
    seconds_per_step = FRAMES_PER_STEP / video.fps
    total = max(int(video.duration_seconds / seconds_per_step), 1)
    lifted = rng.normal(0, 0.7, num_classes)  # how much of a class the scene alone suggests
    lifted[np.unique(video.labels)] += 2.0
    sureness = rng.normal(0, 1.3, len(video.segments))
    for start in window_starts(total, num_steps=NUM_STEPS, overlap=OVERLAP):
        start_seconds = start * seconds_per_step
        found = proposals_of(
            (video.segments - start_seconds) / seconds_per_step,
            labels=video.labels,
            sureness=sureness,
            lifted=lifted,
            num_steps=min(total, NUM_STEPS),
            rng=rng,
        )
        yield (
            found,
            TimeGrid(
                start_seconds=start_seconds,
                seconds_per_step=seconds_per_step,
                duration_seconds=video.duration_seconds,
            ),
        )


def proposals_of(
    segments: Floats,
    *,
    labels: NDArray[np.int64],
    sureness: Floats,
    lifted: Floats,
    num_steps: int,
    rng: np.random.Generator,
) -> Proposals:
    """One window.

    Args:
        segments: (A, 2) in steps of the window; those outside of it are not seen.
        labels: (A,).
        sureness: (A,) added to the logits of each action.
        lifted: (K,) added to the logits of each class.
        num_steps: of the window that lie in the video.
        rng: for everything else.
    """
    positions, strides, reach = _points(num_steps)
    count, num_classes = len(positions), len(lifted)
    logits = rng.normal(-6.8, 1.1, (count, num_classes)) + lifted  # (P, K)
    seen = segments.clip(0, num_steps)
    seen, labels, sureness = (column[seen[:, 1] - seen[:, 0] >= 1] for column in (seen, labels, sureness))
    back, ahead = (reach * rng.uniform(0.1, 1.1, count) for _ in range(2))
    if len(seen):
        inside = (positions[:, None] > seen[:, 0]) & (positions[:, None] < seen[:, 1])  # (P, A)
        half = (seen[:, 1] - seen[:, 0]) / 2
        from_centre = np.abs(positions[:, None] - seen.mean(1)) / half
        nearest = np.where(inside, from_centre, np.inf).argmin(1)  # (P,)
        here = np.flatnonzero(inside.any(1))
        action = nearest[here]
        unsuited = np.abs(np.log2(2 * half[action] / reach[here]))
        sure = 2.0 - 2.5 * from_centre[here, action] ** 2 - 1.2 * unsuited + sureness[action]
        of_class = np.maximum(logits[here, labels[action]], sure + rng.normal(0, 0.5, len(here)))
        logits[here, labels[action]] = of_class
        mistaken = rng.integers(num_classes, size=len(seen))[action]
        logits[here, mistaken] = np.maximum(logits[here, mistaken], sure - 2.5 + rng.normal(0, 0.5, len(here)))
        blur = half[action] * 0.12 * np.exp(0.4 * unsuited)
        back[here] = positions[here] - seen[action, 0] + rng.normal(0, 1, len(here)) * blur
        ahead[here] = seen[action, 1] - positions[here] + rng.normal(0, 1, len(here)) * blur
    decoded = np.stack([positions - back.clip(min=0), positions + ahead.clip(min=0)], 1)
    return Proposals(
        segments=torch.from_numpy(decoded).float(), scores=torch.from_numpy(1 / (1 + np.exp(-logits))).float()
    )


def _points(num_steps: int) -> tuple[Floats, Floats, Floats]:
    """Positions, strides and longest reach (P,) of the points of all levels, in steps."""
    of_level = [np.arange(0, num_steps, 2**level, dtype=np.float64) for level in range(NUM_LEVELS)]
    counts = [len(positions) for positions in of_level]
    strides = np.repeat(2.0 ** np.arange(NUM_LEVELS), counts)
    return np.concatenate(of_level), strides, strides * FIRST_REACH
