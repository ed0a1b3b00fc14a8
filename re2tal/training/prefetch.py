"""How many loader processes make how many batches ahead, within a bound of memory."""

from dataclasses import dataclass

from re2tal.training.progress import log

__all__ = ["LoaderProcesses"]

_MOST_AHEAD = 2
"""Batches that one process makes ahead: one to be taken while the next is made. More would wait in vain."""


@dataclass(frozen=True, kw_only=True)
class LoaderProcesses:
    """Processes that make batches ahead of where they are used."""

    count: int
    """0: batches are made where they are used, when they are asked for."""
    ahead: int
    """Batches that each process makes before the first of them is taken."""

    @property
    def prefetch_factor(self) -> int | None:
        """As a `DataLoader` wants it."""
        return self.ahead if self.count else None

    @property
    def most_waiting(self) -> int:
        """Batches that exist at most, finished or begun, beside the one in use."""
        return self.count * self.ahead

    @staticmethod
    def within(limit_mib: int, *, wanted: int, batch_bytes: int, purpose: str) -> "LoaderProcesses":
        """As many of the wanted processes as may each have a batch, and two batches for each where they fit.

        Args:
            limit_mib: `training.prefetch_mib`, for all batches that wait, in MiB.
            wanted: `training.num_workers`.
            batch_bytes: memory of one batch.
            purpose: "training" or "testing", for the log.
        """
        fitting = limit_mib * 2**20 // batch_bytes
        count = min(wanted, fitting)
        if count < wanted:
            log.info(
                "%s: %d loader processes instead of training.num_workers=%d, since a batch takes %.0f MiB and "
                "training.prefetch_mib=%d bounds what waits in them; set it to %d if there is so much memory",
                purpose,
                count,
                wanted,
                batch_bytes / 2**20,
                limit_mib,
                -(-wanted * batch_bytes // 2**20),
            )
        return LoaderProcesses(count=count, ahead=min(_MOST_AHEAD, fitting // count) if count else 0)
