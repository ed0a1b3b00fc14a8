"""The course of a training, from its `metrics.jsonl`: what the page draws as curves."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from re2tal.common.untrusted import JsonError, is_number, parse_json

__all__ = ["Curve", "RunRecords", "read_records", "training_curves"]

_MOST_POINTS = 600
"""A curve of more points is drawn by the means of neighbours: a screen shows no more."""

_LOSS = "loss"
_RATE = "learning_rate"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One chart: values of one kind over optimizer steps or epochs."""

    key: str
    """Names it in the page."""
    title: str
    x_name: str
    """What the x-axis counts."""
    xs: tuple[float, ...]
    lines: dict[str, tuple[float | None, ...]]
    """By name; as many values as `xs`, None where there is none."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """The lines of `metrics.jsonl` that can be read."""

    steps: tuple[dict[str, Any], ...] = ()
    evaluations: tuple[dict[str, Any], ...] = ()
    num_broken: int = 0
    """Lines that are not an object of a known kind."""


def read_records(path: Path) -> RunRecords:
    """Read what a training has written so far; broken lines, such as a last one cut off, are counted and left out."""
    kinds: dict[str, list[dict[str, Any]]] = {"step": [], "evaluation": []}
    broken = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = parse_json(line)
            kept, epoch = kinds[record["kind"]], _number(record["epoch"])
        except (JsonError, TypeError, KeyError):  # not JSON, no object, no such kind
            broken += 1
            continue
        if epoch is None:
            broken += 1
        else:
            kept.append({**record, "epoch": int(epoch)})
    steps = [record for record in kinds["step"] if _number(record.get("step")) is not None]
    broken += len(kinds["step"]) - len(steps)
    return RunRecords(
        steps=tuple(sorted(steps, key=lambda record: record["step"])),
        evaluations=tuple(sorted(kinds["evaluation"], key=lambda record: record["epoch"])),
        num_broken=broken,
    )


def training_curves(records: RunRecords) -> tuple[Curve, ...]:
    """The charts that the records have values for: losses, rates, norm, error, memory, speed, mAP."""
    steps, evaluations = records.steps, records.evaluations
    losses = _keys(steps, lambda key: key == _LOSS or key.endswith(f"_{_LOSS}"))
    maps = _keys(evaluations, lambda key: key == "average_mAP" or key.startswith("mAP@"))
    rates = _rates(steps)
    return tuple(
        curve
        for curve in (
            _curve("loss", "Loss", "step", steps, losses),
            _curve("map", "mAP by epoch", "epoch", evaluations, maps),
            _curve("rate", "Learning rate", "step", rates, _keys(rates, lambda key: key != "step")),
            _curve("norm", "Norm of the gradients, before clipping", "step", steps, ["gradient_norm"]),
            _with_note(_curve("error", "Reconstruction error", "step", steps, ["reconstruction_error"])),
            _curve("memory", "Peak memory (MiB)", "step", steps, ["peak_memory_mib"]),
            _curve("speed", "Clips per second", "step", steps, ["clips_per_second"]),
        )
        if curve is not None
    )


def _rates(steps: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The learning rates of each record; parameter groups that always learn alike are told as one."""
    given = [(record["step"], record.get(_RATE)) for record in steps]
    rates = [(step, rate if isinstance(rate, dict) else {_RATE: rate}) for step, rate in given]
    courses: dict[tuple[float | None, ...], list[str]] = {}
    for name in dict.fromkeys(name for _, rate in rates for name in rate):
        courses.setdefault(tuple(_number(rate.get(name)) for _, rate in rates), []).append(name)
    named = [(" and ".join(names), course) for course, names in courses.items()]
    return [{"step": step, **{name: course[row] for name, course in named}} for row, (step, _) in enumerate(rates)]


def _curve(
    key: str, title: str, x_name: str, records: Sequence[Mapping[str, Any]], names: Iterable[str]
) -> Curve | None:
    xs = [float(record[x_name]) for record in records]
    lines = {name: [_number(record.get(name)) for record in records] for name in names}
    lines = {name: ys for name, ys in lines.items() if any(y is not None for y in ys)}
    if not lines:
        return None
    size = math.ceil(len(xs) / _MOST_POINTS)
    return Curve(
        key=key,
        title=title,
        x_name=x_name,
        xs=tuple(_means(xs, size=size)),  # type: ignore[arg-type]  # no place is missing
        lines={name.replace("_", " "): tuple(_means(ys, size=size)) for name, ys in lines.items()},
        note=f"each point is the mean of {size} records" if size > 1 else "",
    )


def _with_note(curve: Curve | None) -> Curve | None:
    """The reconstruction error of exact streams is zero, which wants to be said."""
    if curve is None or any(value for ys in curve.lines.values() for value in ys):
        return curve
    note = "0 throughout: the streams were recovered bit for bit"
    return replace(curve, note=note)


def _means(values: Sequence[float | None], *, size: int) -> list[float | None]:
    """Means of `size` neighbours each, None left out."""
    if size <= 1:
        return list(values)
    groups = ([y for y in values[start : start + size] if y is not None] for start in range(0, len(values), size))
    return [sum(group) / len(group) if group else None for group in groups]


def _keys(records: Iterable[Mapping[str, Any]], wanted: Any) -> list[str]:
    return list(dict.fromkeys(key for record in records for key in record if wanted(key)))


def _number(value: Any) -> float | None:
    """`value` as a finite number; None for anything else."""
    return float(value) if is_number(value) else None
