"""Clips to batches."""

from collections.abc import Sequence

from re2tal.types import Batch, Clip

__all__ = ["collate"]


def collate(clips: Sequence[Clip]) -> Batch:
    """The `collate_fn` of a data loader."""
    return Batch.stack(clips)
