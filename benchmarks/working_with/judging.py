"""Whether a tool and a rewired network keep the promise together."""

from __future__ import annotations

import math
import re
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

import re2tal
from working_with.networks import NETWORKS
from working_with.steps import Kind, Recording, Setting

Outcome = Literal["right", "stored", "refused", "WRONG", "left out", "not installed"]

_PACKAGE = str(Path(re2tal.__file__).parent)


@dataclass(frozen=True)
class Case:
    """A tool and a network."""

    tool: str
    library: str
    """Whose version is told."""
    network: str
    run: Callable[[Setting], Recording]
    dtype: torch.dtype = torch.float64
    tolerance: float | None = None
    """Largest relative error; by default what suits the type."""
    processes: int = 1
    left_out: str = ""
    """Why it cannot apply."""

    @property
    def name(self) -> str:
        return f"{self.tool}, {self.network}"

    @property
    def largest_error(self) -> float:
        """That passes as rounding."""
        return self.tolerance or {torch.float64: 1e-8, torch.float32: 2e-3}.get(self.dtype, 0.2)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    tool: str
    version: str
    network: str
    outcome: Outcome
    gradient_error: float | None = None
    saved_ratio: float | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """What became of one run: a recording or an error, and warnings of a fall back to plain autograd."""

    recording: Recording | None
    error: str = ""
    refusal: bool = False
    fallback: str = ""


def run(case: Case, kind: Kind, *, self_check: bool) -> Run:
    """Run a scenario once, and catch what it raises."""
    setting = Setting(NETWORKS[case.network], kind, case.dtype, self_check)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            recording = case.run(setting)
        except Exception as error:  # whatever a tool raises is a result here
            names = _names(setting.model())
            return Run(None, _said(error), any(_refuses(e, names) for e in _chained(error)))
    told = [str(w.message) for w in heard if issubclass(w.category, UserWarning) and "plain autograd" in str(w.message)]
    return Run(recording, fallback=told[0] if told else "")


def judge(case: Case, runs: dict[Kind, Run], *, version: str) -> Row:
    """The line of the table for the four runs of a case."""
    row = Row(case.tool, version, case.network, "right")
    plain = runs["plain"]
    if plain.recording is None:
        return replace(row, outcome="left out", note=f"fails without rewiring: {plain.error}")
    failed = {kind: r for kind, r in runs.items() if r.recording is None}
    if crashes := {kind: r for kind, r in failed.items() if not r.refusal}:
        kind, crash = next(iter(crashes.items()))
        return replace(row, outcome="WRONG", note=f"{_NAMES[kind]} fails: {crash.error}")
    pairs: tuple[tuple[Kind, Kind], ...] = (("original", "plain"), ("reversible", "store"))
    found = [
        (*compare(runs[ours].recording, runs[theirs].recording), ours)
        for ours, theirs in pairs
        if ours not in failed and theirs not in failed
    ]
    error, where, ours = max(found, key=lambda item: (math.isnan(item[0]), item[0]), default=(0.0, "", "plain"))
    row = replace(row, gradient_error=error if found else None, saved_ratio=_ratio(runs))
    if not error <= case.largest_error:
        return replace(row, outcome="WRONG", note=f"{_NAMES[ours]}: {where} off by {error:.1e}")
    if failed:
        kind, refused = next(iter(failed.items()))
        return replace(row, outcome="refused", note=f"{_NAMES[kind]}: {refused.error}")
    if fallback := next((r.fallback for r in runs.values() if r.fallback), ""):
        return replace(row, outcome="stored", note=_short(fallback))
    blocks = runs["reversible"].recording.blocks  # type: ignore[union-attr]
    return replace(row, note=f"{blocks[0]} of {blocks[1]} blocks" if blocks and blocks[0] < blocks[1] else "")


_NAMES: dict[Kind, str] = {
    "plain": "plain",
    "original": "alpha=1, beta=0",
    "reversible": "rewired",
    "store": 'mode "store"',
}


def compare(ours: Recording | None, reference: Recording | None) -> tuple[float, str]:
    """The worst relative error of a tensor, and which one it is.

    An error is relative to the tensor's norm, or to 1e-3 of its group's if that is more: what vanishes is rounding.
    """
    assert ours is not None and reference is not None
    worst = (0.0, "nothing")
    for group in sorted(ours.groups.keys() | reference.groups.keys()):
        mine, theirs = ours.groups.get(group, {}), reference.groups.get(group, {})
        floor = 1e-3 * math.hypot(*(float(t.norm()) for t in theirs.values()))
        for name in mine.keys() | theirs.keys():
            a, b = mine.get(name), theirs.get(name)
            a, b = (torch.zeros_like(b) if a is None else a), (torch.zeros_like(a) if b is None else b)
            error = math.inf if a.shape != b.shape else float((a - b).norm())
            error = error / max(float(b.norm()), floor) if error else 0.0
            worst = max(worst, (math.inf if math.isnan(error) else error, f"{group}, {name}"))
    return worst


def _ratio(runs: dict[Kind, Run]) -> float | None:
    ours, plain = runs["reversible"].recording, runs["plain"].recording
    if ours is None or plain is None or not ours.saved_bytes or not plain.saved_bytes:
        return None
    return ours.saved_bytes / plain.saved_bytes


def _chained(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _refuses(error: BaseException, names: set[str]) -> bool:
    """Whether the error is raised by the package, and names a module and, after a semicolon, what to do."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = bool(frames) and frames[-1].filename.startswith(_PACKAGE) and not isinstance(error, AssertionError)
    words = {word.strip(".") for word in re.findall(r"[\w.]+", str(error))}
    named = words & names or any(word.endswith(f".{name}") for word in words for name in names if "." in name)
    return ours and bool(named) and ";" in str(error)


def _names(model: nn.Module) -> set[str]:
    """Names and classes of modules."""
    return {name for name, _ in model.named_modules() if name} | {type(m).__name__ for m in model.modules()}


def _said(error: BaseException) -> str:
    return _short(f"{type(error).__name__}: {error}")


def _short(text: str, length: int = 240) -> str:
    text = " ".join(re.sub(r"\x1b\[\d*m", "", text).split()).replace("|", "/")
    return text if len(text) <= length else f"{text[: length - 3]}..."
