"""Which frames a file holds, in the order they are shown, and where decoding may start.

A packet says when its picture is shown (its presentation time) before anything is decoded, so one pass
over the packets gives every frame a number: frame i is the i-th picture in presentation order. The first
frames are decoded to check that. Where it fails (AVI stores no presentation times, raw H.264 none at all,
some files wrong ones) the file is decoded once to count its frames, and frames are reached from its start.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from itertools import dropwhile, islice
from pathlib import Path
from threading import Lock

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from re2tal.video.container import open_container, packets_of
from re2tal.video.errors import CorruptVideoError, TruncatedVideoError, UnreadableVideoError, VideoError
from re2tal.video.limits import MAX_PIXELS, Patience, require_frames, stalled
from re2tal.video.orientation import Orientation, orientation_of
from re2tal.video.skipping import PacketHeaders, headers_of

__all__ = ["FrameIndex", "build_index", "decode_packets", "from_key_frame", "index_of"]

# Wrong presentation times (packed B-frames, for one) show within the first few frames.
_CHECKED_FRAMES = 8

_MAX_REORDERED = 16


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """The frames of one video stream in presentation order.

    N frames, K of them key frames. Times are in units of the stream's time base.
    """

    timestamps: NDArray[np.int64]
    """(N,) presentation times, strictly increasing; 0..N-1 where `by_timestamp` is False."""
    key_positions: NDArray[np.int64]
    """(K,) numbers of the frames at which decoding can start, increasing."""
    key_seek_times: NDArray[np.int64]
    """(K,) what to seek to for each of them."""
    has_keys: bool
    """Some packets say that decoding can start at them; those before the first of them are left out."""
    by_timestamp: bool
    """False where presentation times are unusable: frames are counted from the start of the file."""
    headers: PacketHeaders | None
    """What tells frames that no other is predicted from, which need not be decoded; None where nothing does."""
    duration_seconds: float
    """From the start of the first frame to the end of the last one."""
    width: int
    height: int
    """As coded, before turning."""
    orientation: Orientation

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def drift_seconds(self) -> float:
        """How far, at most, a frame is shown from where an even frame rate would show it."""
        span = int(self.timestamps[-1] - self.timestamps[0])
        if span == 0:
            return 0.0
        count = len(self)
        even = np.linspace(0, span, count)
        seconds_per_unit = self.duration_seconds * (count - 1) / count / span
        return float(np.abs(self.timestamps - self.timestamps[0] - even).max() * seconds_per_unit)


@dataclass(frozen=True, kw_only=True)
class _Packets:
    """What the packets say of the stream before decoding; N of them, in presentation order."""

    timestamps: NDArray[np.int64]
    seek_times: NDArray[np.int64]
    keys: NDArray[np.bool_]
    last_duration: int
    has_times: bool

    def starting_at(self, timestamp: int) -> "_Packets":
        """Without the packets before `timestamp`, which the decoder could not use."""
        kept = self.timestamps >= timestamp
        return _Packets(
            timestamps=self.timestamps[kept],
            seek_times=self.seek_times[kept],
            keys=self.keys[kept],
            last_duration=self.last_duration,
            has_times=self.has_times,
        )


@dataclass(kw_only=True)
class _Shown:
    """What is noted of every packet that is shown, in the order of the file; arrays, since a film has millions."""

    times: "array[int]" = field(default_factory=lambda: array("q"))
    """When it is shown; those that are told."""
    decoding_times: "array[int]" = field(default_factory=lambda: array("q"))
    """0 where they are not told."""
    keys: bytearray = field(default_factory=bytearray)
    last_duration: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, packet: "Packet[VideoStream]") -> None:
        if packet.pts is not None:
            self.times.append(packet.pts)
        self.decoding_times.append(packet.dts or 0)
        self.keys.append(packet.is_keyframe)
        self.last_duration = packet.duration or self.last_duration


_MAX_CACHED = 1024
_MAX_CACHED_FRAMES = 4_000_000
_cached: dict[tuple[Path, int, int], FrameIndex] = {}
_cache_lock = Lock()


def index_of(path: Path) -> FrameIndex:
    """The index of a file, remembered for the next time the same file is opened.

    Raises:
        VideoError: of the kind that says what is wrong with the file.
    """
    try:
        status = path.stat()
    except OSError:
        return build_index(path)  # says what is wrong
    key = (path.resolve(), status.st_size, status.st_mtime_ns)
    index = _cached.get(key)
    if index is None:
        index = build_index(path)
        with _cache_lock:  # videos are checked in several threads
            _cached[key] = index
            while len(_cached) > _MAX_CACHED or (
                len(_cached) > 1 and sum(map(len, _cached.values())) > _MAX_CACHED_FRAMES
            ):
                del _cached[next(iter(_cached))]
    return index


def build_index(path: Path) -> FrameIndex:
    """Read all packets of the file's video stream once and decode its first frames."""
    container, stream = open_container(path, threads=1)
    with container:
        packets = _read_packets(container, stream, path=path)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        time_base = stream.time_base or 1 / rate
        headers = headers_of(stream.codec_context)
    has_keys = bool(packets.keys.any())
    head = list(islice(_decode_from_start(path, has_keys=has_keys), _CHECKED_FRAMES))
    if not head:
        raise UnreadableVideoError(f"{path}: no frame can be decoded; replace the file")
    first, times = head[0], [frame.pts for frame in head]
    if packets.has_times and first.pts is not None and first.pts in packets.timestamps:
        packets = packets.starting_at(first.pts)
    by_timestamp = packets.has_times and times == packets.timestamps[: len(times)].tolist()
    if by_timestamp:
        timestamps, keys = packets.timestamps, np.flatnonzero(packets.keys)
        last = packets.last_duration * time_base or 1 / rate
        duration = (int(timestamps[-1]) - int(timestamps[0])) * time_base + last
    else:
        count = sum(1 for _ in _decode_from_start(path, has_keys=has_keys))
        timestamps, keys = np.arange(count), np.zeros(0, dtype=np.int64)
        duration = len(timestamps) / rate
    return FrameIndex(
        timestamps=timestamps,
        key_positions=keys,
        key_seek_times=packets.seek_times[keys],
        has_keys=has_keys,
        by_timestamp=by_timestamp,
        headers=headers if by_timestamp else None,
        duration_seconds=float(duration),
        width=first.width,
        height=first.height,
        orientation=orientation_of(first),
    )


def _decode_from_start(path: Path, *, has_keys: bool) -> Iterator[VideoFrame]:
    container, stream = open_container(path, threads=1)
    with container:
        packets = packets_of(container, stream)
        yield from decode_packets(from_key_frame(packets) if has_keys else packets, path=path)


def from_key_frame(packets: "Iterator[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
    """Without the packets before the first key frame, of which some decoders make frames all the same, wrong ones."""
    return dropwhile(lambda packet: not packet.is_keyframe, packets)


def decode_packets(packets: "Iterator[Packet[VideoStream]]", *, path: Path) -> Iterator[VideoFrame]:
    """Decode, and refuse the first sign of damage.

    After a damaged packet the decoder goes on with frames that are wrong but not marked as such, up to the
    next key frame, so nothing that follows can be trusted.
    """
    last_time: float | None = None
    patience = Patience(path)
    while True:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except (av.error.FFmpegError, MemoryError) as error:
            raise _damaged(path, last_time, error) from error
        if packet is None:
            return
        for frame in frames:
            if frame.is_corrupt:
                raise _damaged(path, frame.time, "the decoder marked a frame as corrupt")
            last_time = frame.time
            yield frame
        if frames:
            patience.renew()
        else:
            patience.check()


def _damaged(path: Path, seconds: float | None, reason: BaseException | str) -> VideoError:
    if isinstance(reason, av.error.ExitError):
        return stalled(path)
    told = reason.strerror if isinstance(reason, av.error.FFmpegError) else reason
    if isinstance(reason, av.error.ArgumentError):
        told = f"{told}, as where frames have more than {MAX_PIXELS} pixels"
    where = "before the first frame" if seconds is None else f"near {seconds:.2f} s"
    return CorruptVideoError(f"{path} is damaged {where} ({told}); replace the file or leave it out")


def _read_packets(container: InputContainer, stream: VideoStream, *, path: Path) -> _Packets:
    shown = _Shown()
    num_packets, damaged = 0, None
    require_frames(stream.frames, path=path)
    try:
        for packet in packets_of(container, stream):
            if packet.size == 0:
                continue
            num_packets += 1
            require_frames(num_packets, path=path)
            if packet.is_corrupt and damaged is None:
                damaged = num_packets
            if not packet.is_discard:
                shown.add(packet)
    except av.error.ExitError as error:
        raise stalled(path) from error
    except av.error.FFmpegError as error:
        raise CorruptVideoError(
            f"{path} is damaged after packet {num_packets} ({error.strerror}); replace the file or leave it out"
        ) from error
    if num_packets < stream.frames or damaged == num_packets > 0:
        announced = f" of {stream.frames} announced" if stream.frames else ""
        raise TruncatedVideoError(f"{path} ends after {num_packets} packets{announced}; copy or download it again")
    if damaged is not None:
        raise CorruptVideoError(
            f"{path}: packet {damaged} of {num_packets} is damaged; replace the file or leave it out"
        )
    if not len(shown):
        raise UnreadableVideoError(f"{path} holds no frames; replace the file")
    packets = _in_presentation_order(shown, container_name=container.format.name)
    _check_length(packets, container, stream, path=path)
    return packets


def _in_presentation_order(shown: _Shown, *, container_name: str) -> _Packets:
    times = np.array(shown.times, dtype=np.int64)
    # FFmpeg invents presentation times for AVI, differently after a seek.
    has_times = len(np.unique(times)) == len(shown) and container_name != "avi" and _is_ordered(times, shown.keys)
    timestamps = times if has_times else np.arange(len(shown), dtype=np.int64)
    # A seek by presentation time lands on the key frame itself, but in MPEG streams on the one after it.
    by_decoding_time = container_name in ("mpegts", "mpeg")
    seek_times = np.array(shown.decoding_times, dtype=np.int64) if by_decoding_time else timestamps
    order = np.argsort(timestamps)
    return _Packets(
        timestamps=timestamps[order],
        seek_times=seek_times[order],
        keys=np.array(shown.keys, dtype=np.bool_)[order],
        last_duration=shown.last_duration,
        has_times=has_times,
    )


def _is_ordered(times: NDArray[np.int64], keys: bytearray) -> bool:
    """Whether pictures may be shown in the order of their times, given that of the file.

    Nothing that is stored before a key frame is shown after it, and no picture moves by more than 16, since decoders
    keep no more. A damaged time breaks that; the decoder tells the order then.
    """
    latest_before = np.maximum.accumulate(times)[:-1]
    at_keys = np.frombuffer(keys, dtype=np.bool_)[1:]
    moved = np.argsort(np.argsort(times)) - np.arange(len(times))
    return bool((latest_before < times[1:])[at_keys].all() and np.abs(moved).max(initial=0) <= _MAX_REORDERED)


def _check_length(packets: _Packets, container: InputContainer, stream: VideoStream, *, path: Path) -> None:
    """Matroska and Flash announce a duration but no number of frames."""
    announced = _announced_seconds(container, stream)
    if announced is None or not packets.has_times:
        return
    assert stream.time_base is not None
    found = float((int(packets.timestamps[-1]) + packets.last_duration) * stream.time_base)
    # Tools disagree by some frames about where a stream ends.
    if found < announced - max(0.5, 0.02 * announced):
        raise TruncatedVideoError(
            f"{path} ends after {found:.2f} of {announced:.2f} s announced; copy or download it again"
        )


def _announced_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    tag = stream.metadata.get("DURATION")  # Matroska: "00:01:02.345000000"
    if tag is not None:
        try:
            hours, minutes, seconds = tag.split(":")
            return timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds)).total_seconds()
        except ValueError:
            return None
    if len(container.streams) == 1 and container.duration is not None and stream.duration is None:
        return container.duration / av.time_base
    return None
