"""Which process loads which clips."""

from itertools import chain

import pytest

from re2tal.training import GlobalBatches, Processes


def epoch_of(world_size: int, *, accumulate: int = 1, epoch: int = 0, num_clips: int = 23) -> list[set[int]]:
    """The set of clips of every optimizer step, over all processes."""
    steps: list[set[int]] = []
    for rank in range(world_size):
        processes = Processes(rank=rank, world_size=world_size)
        batches = GlobalBatches(num_clips, batch_size=8, accumulate=accumulate, seed=3, processes=processes)
        batches.set_epoch(epoch)
        pieces = list(batches)
        assert len(pieces) == len(batches) == 2 * accumulate
        steps = steps or [set() for _ in range(batches.steps_per_epoch)]
        for number, piece in enumerate(pieces):
            assert len(piece) == 8 // world_size // accumulate
            steps[number // accumulate] |= set(piece)
    return steps


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 4), (2, 1), (2, 2), (4, 2), (8, 1)])
def test_a_batch_holds_the_same_clips_however_it_is_shared(world_size: int, accumulate: int) -> None:
    assert epoch_of(world_size, accumulate=accumulate) == epoch_of(1)


def test_no_clip_comes_twice_and_the_incomplete_batch_is_dropped() -> None:
    steps = epoch_of(1)
    assert [len(step) for step in steps] == [8, 8]
    assert len(set(chain.from_iterable(steps))) == 16


def test_every_epoch_has_an_order_of_its_own() -> None:
    assert epoch_of(1, epoch=0) != epoch_of(1, epoch=1)
    assert epoch_of(1, epoch=1) == epoch_of(1, epoch=1)


def test_batches_that_do_not_fit_the_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of processes x accumulate = 3 x 1, got 8"):
        GlobalBatches(23, batch_size=8, processes=Processes(world_size=3))


def test_a_set_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="7 clips, fewer than one batch of 8"):
        GlobalBatches(7, batch_size=8)


@pytest.mark.parametrize(("count", "world_size"), [(10, 3), (2, 4), (0, 2), (7, 1)])
def test_shares_of_a_test_set_cover_it_in_order(count: int, world_size: int) -> None:
    shares = [Processes(rank=rank, world_size=world_size).share(count) for rank in range(world_size)]
    assert list(chain.from_iterable(shares)) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
