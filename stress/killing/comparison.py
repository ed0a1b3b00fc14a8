"""What two run folders of the same command differ in."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

WALL_CLOCK = {"clips_per_second", "peak_memory_mib"}
"""The figures of `metrics.jsonl` that tell of the machine and not of the training."""


def differences(first: Path, second: Path) -> list[str]:
    """In what two run folders differ: files, checkpoints tensor by tensor, records, lines of the log."""
    found = []
    files = [{path.name for path in (run / "checkpoint").iterdir()} - _aside(run) for run in (first, second)]
    if files[0] != files[1]:
        found.append(f"files {sorted(files[0] ^ files[1])}")
    for name in sorted(files[0] & files[1]):
        contents = [torch.load(run / "checkpoint" / name, weights_only=True) for run in (first, second)]
        found += [f"{name}: {place}" for place in _unequal(*contents) if place != ".config"]
    if records_of(first) != records_of(second):
        found.append("metrics.jsonl")
    if lines_of(first) != lines_of(second):
        found.append("log.txt")
    return found


def _aside(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoint").glob("*.before")}


def _unequal(first: Any, second: Any, place: str = "") -> Iterator[str]:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape
        if not same or first.numpy().tobytes() != second.numpy().tobytes():
            yield place
    elif isinstance(first, dict) and isinstance(second, dict):
        for key in first.keys() | second.keys():
            yield from _unequal(first.get(key), second.get(key), f"{place}.{key}")
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        for number, pair in enumerate(zip(first, second, strict=True)):
            yield from _unequal(*pair, f"{place}[{number}]")
    elif type(first) is not type(second) or first != second:
        yield place


def records_of(run: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, without what tells of the machine."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in WALL_CLOCK} for line in lines]


def lines_of(run: Path) -> dict[str, str]:
    """Of every step and every evaluation the last line in `log.txt`, without times and rates."""
    lines: dict[str, str] = {}
    step = ""
    for line in (run / "log.txt").read_text(encoding="utf-8").splitlines():
        if found := re.search(r"INFO epoch \d+ step (\d+)/\d+  (.*?)  [\d.]+ clips/s", line):
            step = found[1]
            lines[f"step {step}"] = found[2]
        elif found := re.search(r"INFO (average_mAP .*)", line):
            lines[f"evaluation after {step}"] = found[1]
    return lines
