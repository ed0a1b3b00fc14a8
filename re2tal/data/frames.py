"""Decoded frames of videos on disk, kept in memory if they fit.

A short video of a small data set costs far more to decode than to augment, and it is asked for once
per epoch. Where memory allows, it is therefore decoded once, already resized.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from re2tal.video import FrameReader, open_video

__all__ = ["FrameStore", "SlidingFrames", "VideoFrames"]


class VideoFrames(Protocol):
    """The frames of one video, wherever they come from."""

    @property
    def num_frames(self) -> int:
        """Of the file."""
        ...

    def frames(self, indices: np.ndarray) -> Tensor:
        """(T,) frame numbers -> (T, H, W, 3) uint8."""
        ...

    def stream(self, indices: np.ndarray) -> Iterator[Tensor]:
        """(T,) frame numbers -> T times (3, H, W) uint8, one at a time; see `FrameReader.stream`."""
        ...


class _FileFrames:
    """Frames decoded when asked for."""

    def __init__(self, reader: FrameReader, *, short_side: int) -> None:
        self._reader = reader
        self._short_side = short_side

    @property
    def num_frames(self) -> int:
        return self._reader.num_frames

    def frames(self, indices: np.ndarray) -> Tensor:
        return self._reader.frames(indices.tolist(), size=self._short_side)

    def stream(self, indices: np.ndarray) -> Iterator[Tensor]:
        return self._reader.stream(indices.tolist(), size=self._short_side)


@dataclass(frozen=True, kw_only=True)
class _KeptFrames:
    """Frames in memory."""

    num_frames: int
    numbers: np.ndarray
    """(G,) frame numbers, increasing."""
    decoded: Tensor
    """(G, H, W, 3) uint8."""

    def frames(self, indices: np.ndarray) -> Tensor:
        return self.decoded[torch.from_numpy(self._places(indices))]

    def stream(self, indices: np.ndarray) -> Iterator[Tensor]:
        planes = self.decoded.permute(0, 3, 1, 2)
        return (planes[place] for place in self._places(indices).tolist())

    def _places(self, indices: np.ndarray) -> np.ndarray:
        places = np.searchsorted(self.numbers, indices)
        assert np.array_equal(self.numbers[places], indices), "only frames of the grid are kept"
        return places


class SlidingFrames:
    """Frames of a video that is read from its beginning to its end, in windows that may overlap.

    What a window shares with the one before is not decoded again, and what lies before it is forgotten: memory is that
    of a window, however long the video.
    """

    def __init__(self, reader: FrameReader, *, short_side: int) -> None:
        self._reader = reader
        self._short_side = short_side
        self._kept: dict[int, Tensor] = {}  # (3, H, W) by frame number

    @property
    def num_frames(self) -> int:
        """Of the file."""
        return self._reader.num_frames

    def stream(self, indices: np.ndarray) -> Iterator[Tensor]:
        """(T,) frame numbers -> T times (3, H, W) uint8."""
        return iter(self.frames(indices).permute(0, 3, 1, 2))

    def frames(self, indices: np.ndarray) -> Tensor:
        """(T,) frame numbers -> (T, H, W, 3) uint8."""
        numbers = np.unique(indices).tolist()
        kept = {number: self._kept[number] for number in numbers if number in self._kept}
        fresh = [number for number in numbers if number not in kept]
        self._kept = kept  # before decoding, so that what is forgotten needs no memory meanwhile
        kept.update(zip(fresh, self._reader.stream(fresh, size=self._short_side), strict=True))
        return torch.stack([kept[number] for number in indices.tolist()]).permute(0, 2, 3, 1)


class FrameStore:
    """Opens videos and remembers what it decoded, up to a limit.

    Once the limit is reached, later videos are decoded each time and nothing is thrown out: every video is
    asked for once per epoch, so dropping the oldest would drop exactly the next one to be asked for.
    """

    def __init__(self, *, short_side: int, grid: Callable[[int], np.ndarray], limit_mib: int) -> None:
        """
        Args:
            short_side: Frames are resized to this.
            grid: Number of frames of a file -> sorted numbers of the frames that may ever be asked for.
            limit_mib: Memory for frames; 0 keeps none. Loader workers get equal shares, each keeps its own.
        """
        self._short_side = short_side
        self._grid = grid
        self._limit_bytes = limit_mib * 2**20
        self._kept: dict[Path, _KeptFrames] = {}
        self.kept_bytes = 0
        """Memory taken so far."""

    @contextmanager
    def open(self, path: Path, *, in_order: bool = False) -> Iterator[VideoFrames]:
        """The frames of the video at `path`; raises a `VideoError` if it cannot be used.

        With `in_order`, what the frames asked for last share with the next ones is not decoded again.
        """
        if path in self._kept:
            yield self._kept[path]
            return
        with open_video(path) as reader:
            if not self._fits(reader):
                kind = SlidingFrames if in_order else _FileFrames
                yield kind(reader, short_side=self._short_side)
                return
            numbers = self._grid(reader.num_frames)
            kept = _KeptFrames(
                num_frames=reader.num_frames,
                numbers=numbers,
                decoded=reader.frames(numbers.tolist(), size=self._short_side),
            )
        self._kept[path] = kept
        self.kept_bytes += kept.decoded.nbytes
        yield kept

    def _fits(self, reader: FrameReader) -> bool:
        scale = self._short_side / min(reader.height, reader.width)
        pixels = round(reader.height * scale) * round(reader.width * scale)
        worker = torch.utils.data.get_worker_info()
        limit = self._limit_bytes // (worker.num_workers if worker is not None else 1)
        return self.kept_bytes + 3 * pixels * len(self._grid(reader.num_frames)) <= limit
