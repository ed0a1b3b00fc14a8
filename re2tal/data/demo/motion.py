"""What the shapes of a demo video do, and when.

Time runs in *ticks*: every video has `TICKS` of them, whatever its duration, so a long video is a slow one.
A shape has three phases (p, q, r), in turns, that decide where it stands and how large it is:

    position = centre + reach * (cos 2pi p, cos 2pi q)        radius = mean radius * (1 + swell * cos 2pi r)

The centre drifts slowly; during an action the phases follow a *law*. Every law, and every moment between
two actions, spreads each phase evenly over the turn, so the place and the size of a shape in one frame say
nothing about what it does: only their order in time does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASSES", "LOOKALIKES", "SHAPES", "TICKS", "Event", "Floats", "Law", "Script", "phases", "write_script"]

Floats = NDArray[np.float64]

TICKS = 128
SHAPES = 2
"""Shapes in each video."""
MAX_ACTIONS = 5
SHORTEST, LONGEST = 10, 64
"""Ticks of an action: 0.5 s of the shortest video (6.4 s), 15 s of the longest (30 s)."""
GAP = 6
"""Fewest ticks between two actions, and between two events of one shape."""
PERIOD = (8.0, 13.0)
"""Ticks in which a law goes through its turns once."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """How the phases run during an action."""

    turns: tuple[float, float, float]
    """Of p, q and r, per period. Whether they run forwards or backwards is drawn."""
    leads: tuple[float, ...] = ()
    """q - p at the start, in turns; one is drawn. A quarter makes a circle of it. Empty: anything."""
    stops: int = 0
    """The phases jump between so many values per turn; 0: they run evenly."""


CLASSES: dict[str, Law] = {
    "circle": Law(turns=(1, 1, 0), leads=(-0.25, 0.25)),
    "flutter": Law(turns=(0, 0, 4)),
    "jump": Law(turns=(1, 1, 0), leads=(-0.25, 0.25), stops=2),
    "pulse": Law(turns=(0, 0, 1.5)),
    "shiver": Law(turns=(4, 0, 0)),
}
"""The action classes: round and round; swelling and shrinking fast; from side to side of the circle at once;
swelling and shrinking slowly; to and fro fast."""

LOOKALIKES: dict[str, Law] = {
    "breathe": Law(turns=(0, 0, 0.5)),
    "nod": Law(turns=(0, 4, 0)),
    "skip": Law(turns=(1, 1, 0), leads=(-0.25, 0.25), stops=4),
    "sway": Law(turns=(1, 1, 0), leads=(0.0, 0.5)),
}
"""What resembles a class and is none, in videos without actions alone: slower than a pulse; a shiver up and down; a
jump to the next of four sides; to and fro on a line as fast as on a circle."""

TREMBLE = "tremble"
"""The distractor of all videos: the phases are drawn anew every tick, which is what any action is in shuffled order."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One shape follows one law (a class, a lookalike, or `TREMBLE`) from tick `start` to tick `end`."""

    shape: int
    start: float
    end: float
    name: str
    label: str | None = None
    """What annotations call it, where that is not the law."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """The events of one video: actions never overlap, distractors fall anywhere."""

    actions: tuple[Event, ...]
    distractors: tuple[Event, ...]
    ticks: int = TICKS
    """Of the video."""

    def of_shape(self, shape: int) -> list[Event]:
        """The events of one shape, in order of time."""
        events = [event for event in (*self.actions, *self.distractors) if event.shape == shape]
        return sorted(events, key=lambda event: event.start)


def write_script(rng: np.random.Generator, *, is_negative: bool = False) -> Script:
    """Draw two to five actions of `SHORTEST` to `LONGEST` ticks, and distractors; or lookalikes in place of actions."""
    while True:
        lengths = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST), rng.integers(2, MAX_ACTIONS + 1)))
        spare = TICKS - lengths.sum() - GAP * (len(lengths) + 1)
        if spare >= 0:
            break
    gaps = GAP + spare * rng.dirichlet(np.ones(len(lengths) + 1))
    starts = np.cumsum(gaps[:-1] + np.concatenate(([0.0], lengths[:-1])))
    # A shape never acts twice in a row, so that it has time to move to where its next action begins.
    shapes = np.cumsum(rng.integers(1, SHAPES, len(lengths))) % SHAPES
    names = list(LOOKALIKES if is_negative else CLASSES)
    events = tuple(
        Event(shape=int(shape), start=start, end=start + length, name=str(rng.choice(names)))
        for shape, start, length in zip(shapes, starts.tolist(), lengths.tolist(), strict=True)
    )
    trembles = _distractors(events, rng=rng)
    if is_negative:
        return Script(actions=(), distractors=(*events, *trembles))
    return Script(actions=events, distractors=trembles)


def _distractors(actions: tuple[Event, ...], *, rng: np.random.Generator) -> tuple[Event, ...]:
    """Trembles of shapes that have nothing else to do; in a crowded script some find no place."""
    found: list[Event] = []
    for _ in range(rng.integers(3, 9)):
        length = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST / 3)))
        start = rng.uniform(GAP, TICKS - length)
        candidate = Event(shape=int(rng.integers(SHAPES)), start=start, end=start + length, name=TREMBLE)
        others = [event for event in (*actions, *found) if event.shape == candidate.shape]
        if all(candidate.end + GAP < other.start or other.end + GAP < candidate.start for other in others):
            found.append(candidate)
    return tuple(found)


def phases(events: list[Event], *, ticks: Floats, length: int = TICKS, rng: np.random.Generator) -> Floats:
    """The phases (T, 3) of one shape, in turns, at `ticks` (T,) of a video of `length` ticks.

    Between two events the phases glide from where the one ends to where the next begins.
    """
    result = np.empty((len(ticks), 3))
    last_tick, last = -1.0, rng.uniform(size=3)
    for event in events:
        first, path = _event_phases(event, rng=rng)
        _glide(result, ticks=ticks, between=(last_tick, event.start), ends=(last, first))
        inside = (ticks >= event.start) & (ticks < event.end)
        result[inside] = path(ticks[inside])
        last_tick, last = event.end, path(np.array([event.end]))[0]
    _glide(result, ticks=ticks, between=(last_tick, length + 1.0), ends=(last, rng.uniform(size=3)))
    return result


def _event_phases(event: Event, *, rng: np.random.Generator) -> tuple[Floats, Callable[[Floats], Floats]]:
    """The phases with which the event begins, and its phases as a function of ticks: (N,) -> (N, 3)."""
    start = rng.uniform(size=3)
    if event.name == TREMBLE:
        drawn = rng.uniform(size=(TICKS + 1, 3))
        return start, lambda when: drawn[when.astype(int)]
    law = (CLASSES | LOOKALIKES)[event.name]
    if law.leads:
        start[1] = start[0] + rng.choice(law.leads)
    turns = np.array(law.turns) * rng.choice([-1, 1])
    # The shortest actions still show a whole period.
    period = min(rng.uniform(*PERIOD), event.end - event.start)

    def path(when: Floats) -> Floats:
        done = (when - event.start) / period
        if law.stops:
            done = (np.floor(done * law.stops) + 1) / law.stops  # + 1: an action begins with a jump
        return start + turns * done[:, None]

    return start, path


def _glide(result: Floats, *, ticks: Floats, between: tuple[float, float], ends: tuple[Floats, Floats]) -> None:
    """Fill `result` between two moments with a smooth move, the short way round, at rest at both ends."""
    inside = (ticks >= between[0]) & (ticks < between[1])
    share = (ticks[inside, None] - between[0]) / (between[1] - between[0])
    way = (ends[1] - ends[0] + 0.5) % 1.0 - 0.5
    result[inside] = ends[0] + way * share * share * (3 - 2 * share)
