"""What the shapes of a demo video do, and when.

Time runs in *ticks*: every video has `TICKS` of them, whatever its duration, so a long video is a slow one.
A shape stands at

    position = centre + reach * (cos 2pi p, cos 2pi q)

where the centre drifts slowly and the phases (p, q), in turns, follow a *law*. Every law, and every moment
between laws, spreads p and q evenly over the turn, so where a shape stands says nothing about what it does:
only the order of its places in time does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASSES", "TICKS", "Event", "Floats", "Law", "Script", "phases", "write_script"]

Floats = NDArray[np.float64]

TICKS = 128
SHAPES_PER_VIDEO = 2
MAX_ACTIONS = 5
SHORTEST, LONGEST = 10, 64
"""Ticks of an action: 0.5 s of the shortest video (6.4 s), 15 s of the longest (30 s)."""
GAP = 6
"""Fewest ticks between two actions; and between two events of one shape."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """How the phases run during an action: `turns` per period along x and y, started on one curve."""

    turns: tuple[int, int]
    lead: float | None
    """q - (turns_y / turns_x) * p, in turns, which fixes the curve; None where any start gives it."""


CLASSES: dict[str, Law] = {
    "clockwise": Law(turns=(1, 1), lead=-0.25),
    "counterclockwise": Law(turns=(1, 1), lead=0.25),
    "sway": Law(turns=(1, 0), lead=None),
    "bounce": Law(turns=(0, 1), lead=None),
    "eight": Law(turns=(1, 2), lead=-0.25),
}
"""The action classes (y points down, as in images)."""

TREMBLE = "tremble"
"""The distractor: the phases jump at random every tick, which is what any action is in shuffled order."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One shape follows one law (a class, or `TREMBLE`) from tick `start` to tick `end`."""

    shape: int
    start: float
    end: float
    name: str


@dataclass(frozen=True, kw_only=True)
class Script:
    """The events of one video: actions never overlap, distractors fall anywhere."""

    actions: tuple[Event, ...]
    distractors: tuple[Event, ...]

    def of_shape(self, shape: int) -> list[Event]:
        """The events of one shape, in order of time."""
        events = [event for event in (*self.actions, *self.distractors) if event.shape == shape]
        return sorted(events, key=lambda event: event.start)


def write_script(rng: np.random.Generator) -> Script:
    """Draw two to five actions of `SHORTEST` to `LONGEST` ticks and up to three distractors."""
    while True:
        lengths = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST), rng.integers(2, MAX_ACTIONS + 1)))
        spare = TICKS - lengths.sum() - GAP * (len(lengths) + 1)
        if spare >= 0:
            break
    gaps = GAP + spare * rng.dirichlet(np.ones(len(lengths) + 1))
    starts = np.cumsum(gaps[:-1] + np.concatenate(([0.0], lengths[:-1])))
    # A shape never acts twice in a row, so that it has time to move to where its next action begins.
    shapes = np.cumsum(rng.integers(1, SHAPES_PER_VIDEO, len(lengths))) % SHAPES_PER_VIDEO
    actions = tuple(
        Event(shape=int(shape), start=start, end=start + length, name=str(rng.choice(list(CLASSES))))
        for shape, start, length in zip(shapes, starts, lengths, strict=True)
    )
    return Script(actions=actions, distractors=_distractors(actions, rng))


def _distractors(actions: tuple[Event, ...], rng: np.random.Generator) -> tuple[Event, ...]:
    """Trembles on shapes that have nothing else to do; in a crowded script some find no place."""
    found: list[Event] = []
    for _ in range(rng.integers(3, 9)):
        length = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST / 3)))
        start = rng.uniform(0, TICKS - length)
        candidate = Event(shape=int(rng.integers(SHAPES_PER_VIDEO)), start=start, end=start + length, name=TREMBLE)
        others = [event for event in (*actions, *found) if event.shape == candidate.shape]
        if all(candidate.end + GAP < other.start or other.end + GAP < candidate.start for other in others):
            found.append(candidate)
    return tuple(found)


def phases(events: list[Event], ticks: Floats, period: Callable[[], float], rng: np.random.Generator) -> Floats:
    """The phases (T, 2) of one shape, in turns, at `ticks` (T,); `period` draws the ticks of an action's cycle.

    Between two events the phases glide from where the one ends to where the next begins.
    """
    result = np.empty((len(ticks), 2))
    last_tick, last = -1.0, rng.uniform(size=2)
    for event in events:
        first, path = _event_phases(event, ticks, period, rng)
        _glide(result, ticks, (last_tick, event.start), (last, first))
        inside = (ticks >= event.start) & (ticks < event.end)
        result[inside] = path(ticks[inside])
        last_tick, last = event.end, path(np.array([event.end]))[0]
    _glide(result, ticks, (last_tick, TICKS + 1.0), (last, rng.uniform(size=2)))
    return result


def _event_phases(
    event: Event, ticks: Floats, period: Callable[[], float], rng: np.random.Generator
) -> tuple[Floats, Callable[[Floats], Floats]]:
    """The phases with which the event begins, and its phases as a function of ticks."""
    start = rng.uniform(size=2)
    if event.name == TREMBLE:
        jumps = rng.uniform(size=(TICKS + 1, 2))
        return jumps[int(event.start)], lambda when: jumps[when.astype(int)]
    law = CLASSES[event.name]
    turns = np.array(law.turns) * rng.choice([-1, 1])
    if law.lead is not None:
        start[1] = law.turns[1] / law.turns[0] * start[0] + law.lead
        # Both phases must run forwards for a circle to keep its direction; an eight has none.
        turns = np.abs(turns) if law.turns == (1, 1) else turns
    cycle = period()
    return start, lambda when: start + turns * (when[:, None] - event.start) / cycle


def _glide(result: Floats, ticks: Floats, between: tuple[float, float], ends: tuple[Floats, Floats]) -> None:
    """Fill `result` between two moments with a smooth move, the short way round, at rest at both ends."""
    inside = (ticks >= between[0]) & (ticks < between[1])
    share = (ticks[inside, None] - between[0]) / (between[1] - between[0])
    way = (ends[1] - ends[0] + 0.5) % 1.0 - 0.5
    result[inside] = ends[0] + way * share * share * (3 - 2 * share)
