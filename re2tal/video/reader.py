"""Frames of a video file by number, exact on any file the index understands."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, Self

import av
import numpy as np
import torch
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from re2tal.video.container import open_container, packets_of
from re2tal.video.errors import CorruptVideoError
from re2tal.video.index import decode_packets, from_key_frame, index_of
from re2tal.video.orientation import UPRIGHT
from re2tal.video.pictures import UprightPictures

__all__ = ["FrameReader", "VideoInfo", "open_video", "probe"]

# A seek throws away the decoder's look-ahead; below this many skipped frames decoding on is faster.
_SEEK_PAYS_AFTER = 12


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video file holds, as it is shown (rotation applied)."""

    num_frames: int
    fps: float
    """Mean rate: frames per second of duration."""
    duration_seconds: float
    width: int
    height: int
    drift_seconds: float
    """How far, at most, a frame is shown from where an even frame rate would show it. Large at a variable rate."""
    is_turned: bool
    """The frames are coded turned or mirrored, and set upright when read."""


class FrameReader(Protocol):
    """Random access to the frames of one video."""

    @property
    def num_frames(self) -> int: ...
    @property
    def fps(self) -> float: ...
    @property
    def duration_seconds(self) -> float: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...

    def frames(self, indices: Sequence[int], *, size: int | tuple[int, int] | None = None) -> Tensor:
        """(T, H, W, 3) uint8 RGB: the frames numbered `indices`, in that order, repeats allowed.

        Args:
            indices: T numbers in [0, num_frames).
            size: length of the short side, or (H, W); None keeps the video's own.
        """
        ...

    def stream(self, indices: Sequence[int], *, size: int | tuple[int, int] | None = None) -> Iterator[Tensor]:
        """T times (3, H, W) uint8 RGB, one at a time; a number that follows itself gives the same tensor again."""
        ...

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


def open_video(path: str | Path, *, threads: int | None = None) -> FrameReader:
    """Open a video file for reading frames by number.

    Args:
        path: a file of any container and codec that FFmpeg reads.
        threads: decoder threads; None takes one inside a data-loader worker and one per core elsewhere.

    Raises:
        VideoError: of the kind that says what is wrong with the file.
    """
    return _PyAVReader(Path(path), threads=threads)


def probe(path: str | Path) -> VideoInfo:
    """Frame count, rate and size of a video file; reads all packets but decodes the first frames only."""
    index = index_of(Path(path))
    with open_video(path, threads=1) as reader:
        return VideoInfo(
            num_frames=reader.num_frames,
            fps=reader.fps,
            duration_seconds=reader.duration_seconds,
            width=reader.width,
            height=reader.height,
            drift_seconds=index.drift_seconds,
            is_turned=index.orientation != UPRIGHT,
        )


class _PyAVReader:
    """A `FrameReader` on PyAV."""

    def __init__(self, path: Path, *, threads: int | None) -> None:
        if threads is None:
            threads = 1 if torch.utils.data.get_worker_info() is not None else 0
        self._path = path
        self._threads = threads
        self._index = index_of(path)
        self._pictures = UprightPictures(
            height=self._index.height, width=self._index.width, orientation=self._index.orientation
        )
        self._container: InputContainer | None = None  # opened when the first frame is asked for
        self._decoded: Iterator[tuple[int, VideoFrame]] | None = None
        self._next = 0
        self._wanted: frozenset[int] = frozenset()  # presentation times of the frames that are being asked for
        self._last_wanted = -1

    @property
    def num_frames(self) -> int:
        return len(self._index)

    @property
    def fps(self) -> float:
        return self.num_frames / self.duration_seconds

    @property
    def duration_seconds(self) -> float:
        return self._index.duration_seconds

    @property
    def height(self) -> int:
        return self._pictures.height

    @property
    def width(self) -> int:
        return self._pictures.width

    def frames(self, indices: Sequence[int], *, size: int | tuple[int, int] | None = None) -> Tensor:
        """See `FrameReader.frames`."""
        wanted, inverse = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        height, width = self._pictures.output_size(size)
        output = torch.empty((len(wanted), 3, height, width), dtype=torch.uint8)
        for row, frame in enumerate(self.stream(wanted.tolist(), size=size)):
            output[row] = frame
        if not np.array_equal(inverse, np.arange(len(wanted))):
            output = output[torch.from_numpy(inverse)]
        return output.permute(0, 2, 3, 1)

    def stream(self, indices: Sequence[int], *, size: int | tuple[int, int] | None = None) -> Iterator[Tensor]:
        """See `FrameReader.stream`."""
        outside = [index for index in indices if not 0 <= index < self.num_frames]
        if outside:
            raise ValueError(
                f"{self._path} has {self.num_frames} frames, so indices must be in [0, {self.num_frames - 1}], "
                f"got {outside[0]}"
            )
        return self._one_by_one(indices, *self._pictures.output_size(size))

    def _one_by_one(self, indices: Sequence[int], height: int, width: int) -> Iterator[Tensor]:
        last, frame = -1, torch.empty(0)
        wanted = frozenset(self._index.timestamps[np.asarray(indices, dtype=np.int64)].tolist())
        last_wanted = max(wanted, default=-1)
        for index in indices:
            if index != last:
                # Anew for each, since another stream of the same reader may have come between.
                self._wanted, self._last_wanted = wanted, last_wanted
                last, frame = index, self._pictures.rgb(self._frame(index), height=height, width=width)
            yield frame

    def close(self) -> None:
        self._decoded = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _frame(self, index: int) -> VideoFrame:
        """Frame number `index`, decoding on from the last one or from a key frame before it."""
        key = int(np.searchsorted(self._index.key_positions, index, side="right")) - 1
        start = int(self._index.key_positions[key]) if key >= 0 else 0
        is_near = self._decoded is not None and self._next <= index and start <= self._next + _SEEK_PAYS_AFTER
        found = self._advance_if_sound(index) if is_near else None
        if found is None and self._index.headers is not None:
            self._start_at(key, skip=True)
            found = self._advance_if_sound(index)
        # Not every key frame is a clean start: under periodic intra refresh the decoder drops frames after it,
        # and some containers land behind it. From the start of the file nothing is dropped.
        for earlier in (key, key - 1, -1):
            if found is None:
                self._start_at(earlier, skip=False)
                found = self._advance(index)
        if found is None:
            raise CorruptVideoError(
                f"{self._path}: frame {index} of {self.num_frames} is announced but cannot be decoded; "
                "replace the file or leave it out"
            )
        return found

    def _advance(self, index: int) -> VideoFrame | None:
        """Decode up to frame number `index`; None if it does not come."""
        assert self._decoded is not None
        for position, frame in self._decoded:
            self._next = position + 1
            if position >= index:
                return frame if position == index else None
        return None

    def _advance_if_sound(self, index: int) -> VideoFrame | None:
        """None also if what lies before it is damaged, since the frame itself may be sound."""
        with suppress(CorruptVideoError):
            return self._advance(index)
        return None

    def _start_at(self, key: int, *, skip: bool) -> None:
        """Continue decoding at key frame number `key`, or at the start of the file where it is below 0.

        With `skip`, without frames that are neither wanted nor referenced.
        """
        if key < 0 or self._container is None:
            self.close()
            self._container, self._stream = open_container(self._path, threads=self._threads)
        self._next = 0
        if key >= 0:
            try:
                self._container.seek(int(self._index.key_seek_times[key]), stream=self._stream)
            except av.error.FFmpegError:  # the container cannot be sought
                self._start_at(-1, skip=skip)
                return
            self._next = int(self._index.key_positions[key])
        packets = packets_of(self._container, self._stream)
        if self._index.has_keys:  # some containers land between two key frames
            packets = from_key_frame(packets)
        if skip:
            packets = (packet for packet in packets if not self._can_skip(packet))
        if self._index.by_timestamp:
            self._decoded = self._number(packets)
        else:
            self._decoded = enumerate(decode_packets(packets, path=self._path))

    def _can_skip(self, packet: "Packet[VideoStream]") -> bool:
        """Neither wanted now, nor perhaps by whoever reads on after the frames that are asked for, nor referenced."""
        headers, time = self._index.headers, packet.pts
        if headers is None or time is None or time in self._wanted or time > self._last_wanted:
            return False
        return headers.is_unreferenced(packet)

    def _number(self, packets: "Iterator[Packet[VideoStream]]") -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their numbers, without those that are shown before the first packet.

        After a seek such frames may refer to what was skipped.
        """
        first = next(packets, None)
        if first is None or first.pts is None:
            return
        timestamps, last = self._index.timestamps, first.pts - 1
        for frame in decode_packets(chain([first], packets), path=self._path):
            if frame.pts is None or frame.pts < first.pts:
                continue
            if frame.pts <= last:
                raise CorruptVideoError(
                    f"{self._path} is damaged near {frame.time:.2f} s (frames come in another order than their times "
                    "say); replace the file or leave it out"
                )
            last = frame.pts
            position = int(np.searchsorted(timestamps, frame.pts))
            if position < len(timestamps) and timestamps[position] == frame.pts:
                yield position, frame
