"""All combinations, by name."""

from __future__ import annotations

from working_with import exporting, peft_methods, processes, torch_tools, trainers
from working_with.judging import Case

_PARTS = (torch_tools, exporting, trainers, processes, peft_methods)
"""The last asks peft, whose import takes seconds, what it offers."""


def all_cases() -> dict[str, Case]:
    """Every combination."""
    return {case.name: case for part in _PARTS for case in part.cases()}


def find_case(name: str) -> Case | None:
    """The combination of that name, without a look at parts after the one that has it."""
    return next((case for part in _PARTS for case in part.cases() if case.name == name), None)
