"""Rows of pictures that follow one another, joined to segments."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["Run", "Runs"]

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
