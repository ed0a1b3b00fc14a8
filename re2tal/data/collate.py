"""Clips to batches."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from re2tal.common.types import Batch, Clip

__all__ = ["batches_of", "collate"]


def collate(clips: Sequence[Clip]) -> Batch:
    """The `collate_fn` of a data loader."""
    return Batch.stack(clips)


def batches_of(clips: Iterable[Clip], *, size: int) -> Iterator[Batch]:
    """The clips in order, `size` at a time."""
    iterator = iter(clips)
    while chunk := list(islice(iterator, size)):
        yield collate(chunk)
