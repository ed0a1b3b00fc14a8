"""Generator states: snapshot before a branch runs, replay when it runs again.

Reseeding would be wrong twice: the masks would be the same in every step, and every later random number of the process
would repeat. Replaying leaves the process's random state as plain training would leave it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GeneratorState", "preserved"]


@dataclass(frozen=True)
class GeneratorState:
    """States of the generators that a computation on one device can draw from."""

    cpu: Tensor
    device: torch.device
    accelerator: Tensor | None

    @staticmethod
    def snapshot(device: torch.device, previous: GeneratorState | None = None) -> GeneratorState:
        """The current states; `previous` itself if nothing was drawn since, so that equal states are kept once."""
        draws = device.type not in ("cpu", "meta")
        accelerator = torch.get_device_module(device).get_rng_state(device) if draws else None
        state = GeneratorState(torch.get_rng_state(), device, accelerator)
        return previous if previous is not None and state._equals(previous) else state

    def _equals(self, other: GeneratorState) -> bool:
        if not torch.equal(self.cpu, other.cpu):
            return False
        if self.accelerator is None or other.accelerator is None:
            return self.accelerator is other.accelerator
        return torch.equal(self.accelerator, other.accelerator)

    def restore(self) -> None:
        """Make the generators draw again what they drew after the snapshot."""
        torch.set_rng_state(self.cpu)
        if self.accelerator is not None:
            torch.get_device_module(self.device).set_rng_state(self.accelerator, self.device)


@contextmanager
def preserved(device: torch.device) -> Iterator[None]:
    """Leave the generators as they were on entry, whatever is restored or drawn inside."""
    state = GeneratorState.snapshot(device)
    try:
        yield
    finally:
        state.restore()
