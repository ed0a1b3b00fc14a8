"""What training and testing need of a data set's clips, so that clips of one's own can take their place."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from re2tal.common.types import Clip

__all__ = ["TestingClips", "TrainingClips"]


class TrainingClips(Protocol):
    """Labelled clips of one shape; what an item holds depends on the seed, the epoch and the index alone."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the label indices."""

    @property
    def broken(self) -> dict[str, str]:
        """The videos that were found unusable so far and replaced by others, and why, by id."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Clip: ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the random numbers of the next pass; loader processes that live on must see it."""


class TestingClips(Protocol):
    """Clips at fixed places, without actions; those of one video are neighbours, in order."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the label indices, as in training."""

    @property
    def labels(self) -> frozenset[str]:
        """Of the annotated actions, class-agnostic or not."""

    @property
    def video_ids(self) -> tuple[str, ...]:
        """The video of every clip."""

    def __len__(self) -> int: ...

    def in_order(self, numbers: Sequence[int]) -> Iterator[Clip]:
        """The clips of these numbers, which increase."""
