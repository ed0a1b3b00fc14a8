"""A source -> its decoded frames, one connection after the other, and where they do not follow each other."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from threading import Event

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from re2tal.inference.live.source import ByteStream, LiveSource, is_passing, open_address, open_bytes
from re2tal.video import UnreadableVideoError
from re2tal.video.container import video_stream_of
from re2tal.video.limits import MAX_PIXELS

__all__ = ["Break", "StreamDecoder"]

_USUAL_RATE = Fraction(25)
_PACKETS_WITHOUT_KEY = 500
"""After so many, a stream that marks no key frames is taken as it is."""
_ERRORS_WITHOUT_FRAME = 200
_RECONNECT_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Break:
    """The next frame does not follow the last one."""

    reason: str
    new_connection: bool = False
    """Presentation times begin anew."""


class StreamDecoder:
    """The frames of a source, to be iterated over once.

    Args:
        source: see there.
        timeout: seconds without a new frame after which the stream counts as ended.
        options: of FFmpeg, for an address.
        stop: ends it.
    """

    def __init__(self, source: LiveSource, *, timeout: float, options: Mapping[str, str], stop: Event) -> None:
        self.source = source
        self._timeout, self._options, self._stop = timeout, options, stop
        self._num_frames = 0
        self.rate = _USUAL_RATE
        """Frames per second that the stream announces."""
        self.busy_seconds = 0.0
        """Spent on decoding."""
        self.share_unread = 0.0
        """Of a file: bytes that are not read yet, by those that are."""
        self.ended = "end of the data"
        """Why no frame follows."""

    def __iter__(self) -> Iterator[VideoFrame | Break]:
        """
        Raises:
            VideoError: the source cannot be read at all.
        """
        return self._connections() if self.source.kind == "address" else self._bytes()

    def _bytes(self) -> Iterator[VideoFrame | Break]:
        data = ByteStream(self.source, timeout=self._timeout, stop=self._stop)
        try:
            with open_bytes(data) as container:
                for event in self._decode(container):
                    self.share_unread = data.share_unread
                    yield event
        finally:
            data.close()
        if data.has_timed_out:
            self.ended = self._nothing_new()

    def _connections(self) -> Iterator[VideoFrame | Break]:
        """Connect, and again when the connection is lost, until nothing comes for the timeout."""
        failures, last_sign = 0, time.monotonic()
        while True:
            before, lost = self._num_frames, "the connection was closed"
            try:
                with open_address(self.source, timeout=self._timeout, options=self._options) as container:
                    is_finite = container.size > 0 or container.duration is not None
                    for event in self._decode(container):
                        last_sign = time.monotonic()
                        yield event
                    if is_finite:
                        return
            except av.error.FFmpegError as error:
                lost = error.strerror or type(error).__name__
                if not self._num_frames and not is_passing(error):
                    raise UnreadableVideoError(f"{self.source.name} cannot be read ({lost}); check it") from error
            failures = 0 if self._num_frames > before else failures + 1
            wait = _RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)]
            if time.monotonic() - last_sign + wait >= self._timeout or self._stop.wait(wait):
                break
            yield Break(reason=f"connection lost ({lost})", new_connection=True)
        self.ended = f"{self._nothing_new()} ({lost})"
        if not self._num_frames and not self._stop.is_set():
            raise UnreadableVideoError(
                f"{self.source.name}: no frame came within {self._timeout:g} s ({lost}); check the address and that "
                "something is sent, or give it more time by --timeout"
            )

    def _nothing_new(self) -> str:
        return f"no new data for {self._timeout:g} s"

    def _decode(self, container: InputContainer) -> Iterator[VideoFrame | Break]:
        stream = video_stream_of(container, path=self.source.name)
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        rate = stream.average_rate or stream.guessed_rate
        self.rate = rate if rate and 0 < rate <= 1000 else _USUAL_RATE
        try:
            yield from self._frames_of(container, stream)
        except av.error.FFmpegError:  # the connection is lost, and not what the decoder holds back
            with suppress(av.error.FFmpegError):
                held_back = [frame for frame in stream.codec_context.decode(None) if not frame.is_corrupt]
                self._num_frames += len(held_back)
                yield from held_back
            raise

    def _frames_of(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame | Break]:
        num_skipped, errors = 0, 0
        needs_key = True  # of what comes before the first key frame, some decoders make frames, wrong ones
        for packet in self._packets(container, stream):
            if needs_key and packet is not None and packet.size and not packet.is_keyframe:
                num_skipped += 1
                if num_skipped < _PACKETS_WITHOUT_KEY:
                    continue
            begin = time.monotonic()
            frames, is_whole = _decoded(packet)
            self.busy_seconds += time.monotonic() - begin
            for frame in frames:
                self._num_frames += 1
                errors = 0
                yield frame
            needs_key, num_skipped = not is_whole, 0
            if not is_whole:
                # What follows may be wrong and not marked as such, up to the next key frame.
                errors += 1
                if errors > _ERRORS_WITHOUT_FRAME:
                    raise UnreadableVideoError(f"{self.source.name}: nothing that comes can be decoded; check it")
                stream.codec_context.flush_buffers()
                yield Break(reason="damaged data")

    def _packets(self, container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream] | None]":
        """Packets; None where one cannot be read and those that follow perhaps can."""
        packets = container.demux(stream)
        while not self._stop.is_set():
            try:
                packet = next(packets, None)
            except av.error.InvalidDataError:
                packets = container.demux(stream)
                yield None
                continue
            except IndexError:
                return  # the end of a stream that appeared on the way, see `packets_of`
            if packet is None:
                return
            yield packet


def _decoded(packet: "Packet[VideoStream] | None") -> tuple[list[VideoFrame], bool]:
    """The sound frames that a packet gives, and whether all was sound."""
    if packet is None or packet.is_corrupt:
        return [], False
    try:
        frames = packet.decode()
    except (av.error.FFmpegError, MemoryError) as error:
        if isinstance(error, av.error.ExitError):
            raise
        return [], False
    sound = [frame for frame in frames if not frame.is_corrupt]
    return sound, len(sound) == len(frames)
