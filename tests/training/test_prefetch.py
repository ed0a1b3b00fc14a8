"""What waits in loader processes stays within a bound, and changes nothing about what is loaded."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from re2tal.config import ExperimentConfig, load_config
from re2tal.data import TestingSet, TrainingSet, testing_set
from re2tal.experiments.loading import load_epochs, load_tests
from re2tal.training import LoaderProcesses, Processes

ROOT = Path(__file__).parents[2]
ALONE = Processes()
MIB = 2**20


def within(limit_mib: int, *, wanted: int, batch_mib: float) -> LoaderProcesses:
    return LoaderProcesses.within(limit_mib, wanted=wanted, batch_bytes=round(batch_mib * MIB), purpose="testing")


@pytest.mark.parametrize(
    ("limit", "wanted", "count", "ahead"),
    [
        (1000, 4, 4, 2),  # there is room
        (80, 4, 4, 2),
        (79, 4, 4, 1),  # for 7 batches
        (40, 4, 4, 1),
        (39, 4, 3, 1),
        (20, 4, 2, 1),
        (10, 4, 1, 1),
        (9, 4, 0, 0),  # not one: batches are made where they are used
        (1000, 0, 0, 0),
    ],
)
def test_the_bound_decides_how_many_batches_wait(limit: int, wanted: int, count: int, ahead: int) -> None:
    processes = within(limit, wanted=wanted, batch_mib=10)
    assert (processes.count, processes.ahead) == (count, ahead)
    assert processes.most_waiting * 10 <= limit
    assert processes.prefetch_factor == (ahead or None)


def test_fewer_processes_are_told_with_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="re2tal")
    within(80, wanted=8, batch_mib=10)
    assert not caplog.records
    within(79, wanted=8, batch_mib=10)
    assert (
        "testing: 7 loader processes instead of training.num_workers=8, since a batch takes 10 MiB and "
        "training.prefetch_mib=79 bounds what waits in them; set it to 80 if there is so much memory"
    ) in caplog.text
    assert within(80, wanted=8, batch_mib=10).count == 8


def test_the_default_holds_what_its_documentation_says() -> None:
    config = load_config(ROOT / "configs/re2tal/e2e_thumos_re2tal_actionformer_swin_tiny.py", [])
    batch = config.training.batch_size * config.data.clip_bytes(channels=config.backbone.out_channels)
    assert round(batch / MIB) == 294 and config.training.prefetch_mib * MIB // batch == 13
    processes = LoaderProcesses.within(config.training.prefetch_mib, wanted=6, batch_bytes=batch, purpose="testing")
    assert (processes.count, processes.ahead) == (6, 2)


BATCH_KIB = 3 * 16 * 16 * 32 / 1024
"""A batch of one clip."""


def configured(tiny: Path, *options: str) -> ExperimentConfig:
    return load_config(tiny, ["training.batch_size=1", "data.cache_mib=0", *options])


def test_the_size_of_a_clip_is_that_of_its_tensor(tiny: Path) -> None:
    config = configured(tiny)
    clip = TrainingSet(config.data, config.augment)[0]
    assert config.data.clip_bytes(channels=1) == clip.frames.nbytes == BATCH_KIB * 1024
    stored = config.data.model_copy(update={"features": Path("somewhere")})
    assert stored.clip_bytes(channels=96) == torch.zeros(96, 16).nbytes


def most_waiting(batches: Iterator[Any], made: torch.Tensor, *, expected: int, count: int) -> int:
    """The most batches that were made and not taken, with a consumer that waits until no more come."""
    most = 0
    for taken in range(1, count + 1):
        next(batches)
        coming = min(taken + expected, count)
        for _ in range(500):
            if int(made) >= coming:
                break
            time.sleep(0.02)
        time.sleep(0.1)  # more would come now
        most = max(most, int(made) - taken)
    return most


@pytest.mark.parametrize(("limit", "count", "ahead"), [(4096, 2, 2), (0, 0, 0)])
def test_so_many_training_batches_wait_and_no_more(tiny: Path, limit: int, count: int, ahead: int) -> None:
    config = configured(tiny, "training.num_workers=2", f"training.prefetch_mib={limit}")
    made = torch.zeros((), dtype=torch.int64).share_memory_()

    class Counting(TrainingSet):
        def __getitem__(self, index: int) -> Any:
            clip = super().__getitem__(index)
            made.add_(1)
            return clip

    clips = Counting(config.data, config.augment)
    loader = load_epochs(clips, config.training, processes=ALONE, clip_bytes=config.data.clip_bytes(channels=1))
    assert loader.loader.num_workers == count
    assert most_waiting(iter(loader), made, expected=count * ahead, count=4) <= count * ahead


@pytest.mark.parametrize(("room", "wanted", "expected"), [(100, 2, 4), (3, 2, 2), (2, 3, 2), (1, 2, 1), (0, 2, 0)])
def test_so_many_test_batches_wait_and_no_more(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, room: int, wanted: int, expected: int
) -> None:
    """`room` is how many batches the bound holds."""
    config = configured(
        tiny, f"training.num_workers={wanted}", "data.sampling.test_overlap=0.9", "training.prefetch_mib=4"
    )
    real = type(config.data).clip_bytes
    assert real(config.data, channels=1) == BATCH_KIB * 1024
    monkeypatch.setattr(type(config.data), "clip_bytes", lambda self, channels: 4 * MIB // max(room, 1) + (not room))
    made = torch.zeros((), dtype=torch.int64).share_memory_()
    clip_of = testing_set.clip_of

    def counting(*args: Any, **kwargs: Any) -> Any:
        clip = clip_of(*args, **kwargs)
        made.add_(1)
        return clip

    monkeypatch.setattr(testing_set, "clip_of", counting)
    loader: DataLoader[Any] = load_tests(TestingSet(config.data), config, processes=ALONE)
    assert most_waiting(iter(loader), made, expected=expected, count=12) == expected


def test_what_is_loaded_does_not_depend_on_the_bound(tiny: Path) -> None:
    found = []
    for limit in (0, 1, 4096):
        config = configured(tiny, "training.num_workers=2", f"training.prefetch_mib={limit}")
        clips = TrainingSet(config.data, config.augment)
        loader = load_epochs(clips, config.training, processes=ALONE, clip_bytes=MIB if limit == 1 else 1024)
        batches = []
        for epoch, first_step in ((0, 0), (1, 2)):
            loader.set_epoch(epoch, first_step=first_step)
            batches += list(loader)
        found.append(batches)
        assert loader.loader.num_workers == {0: 0, 1: 1, 4096: 2}[limit]
    for batch, other, third in zip(*found, strict=True):
        assert batch.video_ids == other.video_ids == third.video_ids
        assert torch.equal(batch.frames, other.frames) and torch.equal(batch.frames, third.frames)
