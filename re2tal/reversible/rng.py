"""Generator states: snapshot before a branch runs, replay when it runs again.

Reseeding would be wrong twice: the masks would be the same in every step, and every later random number of the process
would repeat. Replaying leaves the process's random state as plain training would leave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GeneratorState", "preserved"]


@dataclass(frozen=True)
class GeneratorState:
    """States of the generators that a computation can draw from."""

    cpu: Tensor
    others: Mapping[torch.device, Tensor]
    """By accelerators."""

    @staticmethod
    def snapshot(*devices: torch.device, previous: GeneratorState | None = None) -> GeneratorState:
        """The current states, of the CPU and of `devices`.

        Returns `previous` itself if nothing was drawn since, so that equal states are kept once.
        """
        others = {
            device: torch.get_device_module(device).get_rng_state(device)
            for device in devices
            if device.type not in ("cpu", "meta")
        }
        state = GeneratorState(torch.get_rng_state(), others)
        return previous if previous is not None and state._equals(previous) else state

    def _equals(self, other: GeneratorState) -> bool:
        return (
            torch.equal(self.cpu, other.cpu)
            and self.others.keys() == other.others.keys()
            and all(torch.equal(state, other.others[device]) for device, state in self.others.items())
        )

    def restore(self) -> None:
        """Make the generators draw again what they drew after the snapshot."""
        torch.set_rng_state(self.cpu)
        for device, state in self.others.items():
            torch.get_device_module(device).set_rng_state(state, device)


@contextmanager
def preserved(*devices: torch.device) -> Iterator[None]:
    """Leave the generators as they were on entry, whatever is restored or drawn inside."""
    state = GeneratorState.snapshot(*devices)
    try:
        yield
    finally:
        state.restore()
