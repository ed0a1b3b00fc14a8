"""What a part of a check is given, and how it keeps what it has found."""

import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from re2tal.common.atomic import atomic_text
from re2tal.common.untrusted import brief
from re2tal.experiments.device_check.sizes import Sizes
from re2tal.experiments.planning.memory import is_lack_of_memory

__all__ = ["LACK", "PartContext", "Row", "attempted"]

T = TypeVar("T")
Row = dict[str, Any]
"""One result, of plain JSON values. Where there is none it has a `state`, which says why."""
LACK = "out of memory"
"""The state of what did not fit."""


@dataclass(kw_only=True)
class PartContext:
    """A part's device, sizes and time, and its results, which are on disk as soon as they are kept."""

    device: torch.device
    sizes: Sizes
    deadline: float
    """By `time.time()`, when the part should have ended."""
    path: Path
    """Of the file of results."""
    rows: list[Row] = field(default_factory=list)
    state: str = "done"
    """How the part ended; see `Result`."""
    error: str = ""

    @property
    def seconds_left(self) -> float:
        """Of the part's time."""
        return self.deadline - time.time()

    def keep(self, row: Row) -> None:
        """Write a result down; one that is kept again has changed."""
        if not any(row is kept for kept in self.rows):
            self.rows.append(row)
        self.save()

    def save(self) -> None:
        """Write what there is."""
        with atomic_text(self.path) as file:
            json.dump({"state": self.state, "error": self.error, "rows": self.rows}, file)


def attempted(action: Callable[[], T], *, device: torch.device) -> tuple[T | None, str]:
    """What `action` gives; None and why, where the device ran out of memory, which is then free again, or could not.

    A kernel that cannot do what it is asked for, of numbers past 32 bits, say, is a result, too.
    """
    try:
        return action(), ""
    except RuntimeError as error:
        reason = LACK if is_lack_of_memory(error) else brief(" ".join(f"failed: {error}".split()))
    # The error is gone, and with it the tensors of what failed.
    gc.collect()
    if device.type == "cuda" and reason == LACK:
        torch.cuda.empty_cache()
    return None, reason
