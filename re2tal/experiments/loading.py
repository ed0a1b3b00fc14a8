"""Loaders of clips to train and test on: how many processes make which batches ahead."""

from typing import Any

import torch
from torch.utils.data import DataLoader

from re2tal.common.types import Batch
from re2tal.config import ExperimentConfig
from re2tal.data import ClipShard, TestingClips, TrainingClips, collate
from re2tal.experiments.finetuning import TrimmedTrainingSet
from re2tal.training import (
    EpochLoader,
    GlobalBatches,
    LeaveSignalsToMain,
    LoaderProcesses,
    Processes,
    TrainingConfig,
)

__all__ = ["load_epochs", "load_tests"]


def load_epochs(
    clips: TrainingClips | TrimmedTrainingSet, config: TrainingConfig, *, processes: Processes, clip_bytes: int
) -> EpochLoader:
    """The training clips, of `clip_bytes` each, epoch after epoch."""
    batches = GlobalBatches(
        len(clips), batch_size=config.batch_size, accumulate=config.accumulate, seed=config.seed, processes=processes
    )
    workers = LoaderProcesses.within(
        config.prefetch_mib,
        wanted=config.num_workers,
        batch_bytes=batches.micro_batch_size * clip_bytes,
        purpose="training",
    )
    return EpochLoader(
        clips,
        batches=batches,
        collate=collate,
        num_workers=workers.count,
        prefetch_factor=workers.prefetch_factor,
        pin_memory=processes.device.type == "cuda",
    )


def load_tests(clips: TestingClips, config: ExperimentConfig, *, processes: Processes) -> DataLoader[tuple[int, Batch]]:
    """This process's part of the test clips, in batches with the number of their first clip, not in order."""
    # As many clips at once as a process has in training, which is known to fit.
    batch_size = max(config.training.batch_size // (processes.world_size * config.training.accumulate), 1)
    if config.data.tests_one_by_one:
        batch_size = 1
    workers = LoaderProcesses.within(
        config.training.prefetch_mib,
        wanted=config.training.num_workers,
        batch_bytes=batch_size * config.data.clip_bytes(channels=config.backbone.out_channels),
        purpose="testing",
    )
    return DataLoader(
        ClipShard(clips, numbers=_own_clips(clips, config, processes=processes), batch_size=batch_size),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers.count,
        prefetch_factor=workers.prefetch_factor,
        persistent_workers=workers.count > 0,
        pin_memory=processes.device.type == "cuda",
        # Its own generator: seeding loader processes must not draw from the process's random state.
        generator=torch.Generator(),
        worker_init_fn=LeaveSignalsToMain() if workers.count else None,
    )


def _own_clips(clips: TestingClips, config: ExperimentConfig, *, processes: Processes) -> range:
    """Neighbouring clips of this process; all of a video's in one, if it is tested whole."""
    if not config.data.test_whole:
        return processes.share(len(clips))
    ids = clips.video_ids
    firsts = [number for number in range(len(ids)) if number == 0 or ids[number] != ids[number - 1]]
    videos = processes.share(len(firsts))
    bounds = [*firsts, len(ids)]
    return range(bounds[videos.start], bounds[videos.stop])


def _as_it_is(item: Any) -> Any:
    return item
