"""The clips of testing in batches, each loader process reading on where it has read before.

A data loader hands batches to its processes in turn, so that neighbouring windows of a map-style set are made by
different processes, each of which opens the file and decodes what they share. Here every process has one run of
neighbouring clips: of 9 batches and 2 processes,

    process 0: 0 1 2 3        process 1: 4 5 6 7 8        the loader gives 0 4 1 5 2 6 3 7 8

so a batch comes with the number of its first clip. Frames are decoded twice at the seams between runs alone.
"""

from collections.abc import Iterator
from itertools import count

import torch
from torch.utils.data import IterableDataset

from re2tal.common.types import Batch
from re2tal.data.collate import batches_of
from re2tal.data.interface import TestingClips

__all__ = ["ClipShard"]


class ClipShard(IterableDataset[tuple[int, Batch]]):
    """Batches of neighbouring clips, each with the number of its first clip, for a loader that batches nothing.

    Which clips make a batch does not depend on the number of loader processes.
    """

    def __init__(self, clips: TestingClips, *, numbers: range, batch_size: int) -> None:
        """
        Args:
            clips: the whole set.
            numbers: of the clips that are wanted, one after the other.
            batch_size: clips of a batch; the last may have fewer.
        """
        if numbers.step != 1 or batch_size < 1:
            raise ValueError(
                f"batches are of at least one of neighbouring clips, got {numbers} in batches of {batch_size}; give a "
                "range without a step"
            )
        self.clips, self.numbers, self.batch_size = clips, numbers, batch_size

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        own = self._own()
        return zip(count(own.start, self.batch_size), batches_of(self.clips.in_order(own), size=self.batch_size))

    def _own(self) -> range:
        """The clips of this loader process: whole batches, their number as even as can be."""
        worker = torch.utils.data.get_worker_info()
        if worker is None:
            return self.numbers
        num_batches = -(-len(self.numbers) // self.batch_size)  # rounded up
        first, end = (part * num_batches // worker.num_workers for part in (worker.id, worker.id + 1))
        return self.numbers[first * self.batch_size : end * self.batch_size]
