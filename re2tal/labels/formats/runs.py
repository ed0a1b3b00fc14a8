"""Rows of pictures that follow one another, joined to segments."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from re2tal.labels.records import Media, Reading
from re2tal.labels.times import Unit, time_of

__all__ = ["Run", "Runs", "even_step"]

_SAME = 1e-6


@dataclass(kw_only=True)
class Run:
    """A label that holds from one row to another."""

    label: str
    start: float
    end: float
    where: int
    """Of its first row: a line, or whatever the file counts."""


@dataclass(kw_only=True)
class Runs:
    """Takes one row after the other, in order of time; a label that goes on where it ended makes one run."""

    _open: dict[str, Run] = field(default_factory=dict)
    _done: list[Run] = field(default_factory=list)

    def add(self, labels: Iterable[str], *, start: float, end: float, where: int) -> None:
        """The labels that hold from `start` to `end`."""
        for label in labels:
            run = self._open.get(label)
            if run is not None and start <= run.end + _SAME:
                run.end = max(run.end, end)
                continue
            if run is not None:
                self._done.append(run)
            self._open[label] = Run(label=label, start=start, end=end, where=where)

    def forget(self, label: str) -> None:
        """Drop all runs of a label."""
        self._open.pop(label, None)
        self._done = [run for run in self._done if run.label != label]

    def __iter__(self) -> Iterator[Run]:
        return iter(sorted((*self._done, *self._open.values()), key=lambda run: (run.start, run.end, run.label)))

    def add_to(
        self,
        reading: Reading,
        media: tuple[Media, ...],
        *,
        unit: Unit,
        place: str = "line",
        fields: Callable[[str], Mapping[str, str]] = lambda label: {"label": label},
        subset: str | None = None,
    ) -> None:
        """Make each run an annotation.

        Args:
            reading: takes them.
            media: names of the video.
            unit: that the runs count.
            place: what their `where` counts.
            fields: of an annotation, by the label of its run.
            subset: of the video.
        """
        for run in self:
            times = time_of(run.start, unit=unit), time_of(run.end, unit=unit)
            reading.add(f"{reading.path}, {place} {run.where}", media, times, fields(run.label), subset=subset)


def even_step(moments: Iterable[float]) -> float:
    """The least time from one row to the next, which tells how often there is one; 1 where there is only one."""
    return min((later - earlier for earlier, later in pairwise(sorted(moments))), default=1.0)
