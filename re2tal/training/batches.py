"""Which process loads which clips of a batch in training."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from re2tal.common.types import Batch, Clip
from re2tal.training.distributed import Processes
from re2tal.training.stopping import LeaveSignalsToMain

__all__ = ["EpochLoader", "GlobalBatches"]


class GlobalBatches(Sampler[list[int]]):
    """The batches of an epoch, as one process loads them: its part of each batch, in `accumulate` micro-batches.

    The order depends on seed and epoch alone. So a batch holds the same clips however many processes share
    it, and a resumed run meets the clips that the undisturbed one would have met. An incomplete last batch
    is dropped.
    """

    def __init__(
        self, num_clips: int, *, batch_size: int, accumulate: int = 1, seed: int = 0, processes: Processes | None = None
    ) -> None:
        processes = processes or Processes()
        micro_batches = processes.world_size * accumulate
        if batch_size % micro_batches:
            raise ValueError(
                f"batch_size must be a multiple of processes x accumulate = {processes.world_size} x {accumulate}, "
                f"got {batch_size}; change training.batch_size or start fewer processes"
            )
        if num_clips < batch_size:
            raise ValueError(
                f"the training set has {num_clips} clips, fewer than one batch of {batch_size}, and incomplete "
                f"batches are dropped; {_fix(num_clips, micro_batches)}"
            )
        self.num_clips = num_clips
        self.batch_size = batch_size
        self.micro_batch_size = batch_size // micro_batches
        self.accumulate = accumulate
        self.seed = seed
        self.rank = processes.rank
        self.epoch = 0
        self.first_step = 0

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.num_clips // self.batch_size

    def set_epoch(self, epoch: int, *, first_step: int = 0) -> None:
        """Choose the order, and the step to begin at; call it before each pass."""
        self.epoch, self.first_step = epoch, first_step

    def __len__(self) -> int:
        return (self.steps_per_epoch - self.first_step) * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_clips).tolist()
        own = self.rank * self.accumulate * self.micro_batch_size
        for step in range(self.first_step, self.steps_per_epoch):
            for micro_batch in range(self.accumulate):
                start = step * self.batch_size + own + micro_batch * self.micro_batch_size
                yield order[start : start + self.micro_batch_size]


def _fix(num_clips: int, micro_batches: int) -> str:
    """A batch has at least a clip for each micro-batch of each process."""
    largest = num_clips // micro_batches * micro_batches
    if largest:
        return f"set training.batch_size={largest} or less, or add videos"
    return "add videos, or start fewer processes and lower training.accumulate"


class EpochDataset(Protocol):
    """A training set: clip i of an epoch depends on seed, epoch and i alone."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the random draws, in loader processes that already run as well."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Clip: ...


class EpochLoader:
    """The micro-batches of every batch of an epoch, loaded by `num_workers` processes that live as long as it does."""

    def __init__(
        self,
        clips: EpochDataset,
        *,
        batches: GlobalBatches,
        collate: Callable[[Sequence[Clip]], Batch],
        num_workers: int = 0,
        prefetch_factor: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        self.clips = clips
        self.batches = batches
        self.loader: DataLoader[Batch] = DataLoader(
            clips,  # type: ignore[arg-type]  # a map-style set needs no base class
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=num_workers,
            prefetch_factor=prefetch_factor,
            persistent_workers=num_workers > 0,
            pin_memory=pin_memory,
            # Its own generator: seeding loader processes must not draw from the process's random state.
            generator=torch.Generator(),
            worker_init_fn=LeaveSignalsToMain() if num_workers else None,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return self.batches.steps_per_epoch

    def set_epoch(self, epoch: int, *, first_step: int = 0) -> None:
        """Choose the epoch's order and random draws, and the step to begin at."""
        self.batches.set_epoch(epoch, first_step=first_step)
        self.clips.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)
