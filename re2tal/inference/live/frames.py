"""Frames of a stream as they come, with their times, in a thread of its own.

A stream is cut into *sections*: stretches of frames without a gap. Data that is lost or damaged, a new connection,
times that jump and frames of another size each begin a new section. Frames are counted anew in each; seconds go on.
"""

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from threading import Event, Thread
from typing import Self

from av.video.frame import VideoFrame
from torch import Tensor

from re2tal.data import DataSettings
from re2tal.data.streaming import require_room_for_crop
from re2tal.inference.live.decoding import Break, StreamDecoder
from re2tal.video.limits import require_size
from re2tal.video.orientation import orientation_of
from re2tal.video.pictures import UprightPictures

__all__ = ["FrameThread", "FrameTimes", "LiveFrame", "SectionEnd", "StreamEnd"]

_PAUSE_SECONDS, _PAUSE_FRAMES = 1, 10
"""What is longer than both is a gap and no variable frame rate."""
_AHEAD_SECONDS = 1.0
"""A source that is farther ahead of the clock on the wall sends no live pictures, or has them stored: it can wait."""


@dataclass(frozen=True, kw_only=True)
class LiveFrame:
    """One frame."""

    number: int
    """In its section, from 0 on."""
    seconds: Fraction
    """Since the first frame of the stream."""
    duration: Fraction
    """Seconds."""
    picture: Tensor | None
    """(3, H, W) uint8; None where no clip takes it."""
    came: float
    """`time.monotonic()` when it was decoded."""

    @property
    def end(self) -> Fraction:
        """When the next one is due, in seconds."""
        return self.seconds + self.duration


@dataclass(frozen=True, kw_only=True)
class SectionEnd:
    """The next frame does not follow the last one."""

    reason: str
    resumes: Fraction
    """Seconds of the next frame."""


@dataclass(frozen=True, kw_only=True)
class StreamEnd:
    """No frame follows."""

    reason: str
    error: Exception | None = None
    """Why nothing more can be read, where that is no regular end."""


StreamEvent = LiveFrame | SectionEnd | StreamEnd


class FrameThread:
    """Decodes a stream; the number of frames that wait to be taken is bounded.

    A file or pipe waits where frames are not taken fast enough. An address that sends in real time does not: frames are
    dropped until all that wait are taken, which begins a new section.

    Args:
        decoder: of the stream.
        config: of the clips.
        every: of how many frames one is in clips.
        capacity: frames that may wait.
        stop: shared with the decoder.
    """

    def __init__(self, decoder: StreamDecoder, *, config: DataSettings, every: int, capacity: int, stop: Event) -> None:
        self._decoder, self._config, self._every, self._stop = decoder, config, every, stop
        self._may_drop = decoder.source.kind == "address"
        self._events: queue.Queue[StreamEvent] = queue.Queue(capacity)
        self._thread = Thread(target=self._run, name="frames", daemon=True)
        self._is_dropping = False
        self._began: float | None = None
        self.busy_seconds = 0.0
        """Spent on making pictures of decoded frames."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)  # where it waits for the network, it ends with the process

    def next(self, *, timeout: float) -> StreamEvent | None:
        """What comes next; None if nothing comes within `timeout` seconds."""
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    @property
    def num_waiting(self) -> int:
        """Frames that are decoded and not taken."""
        return self._events.qsize()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            for event in self._sections():
                self._put(event)
        except Exception as caught:  # whatever it is, the thread that takes the frames has to know
            error = caught
        self._put(StreamEnd(reason=self._decoder.ended if error is None else str(error), error=error))

    def _put(self, event: StreamEvent) -> None:
        while not self._stop.is_set():
            try:
                return self._events.put(event, timeout=0.1)
            except queue.Full:
                continue

    def _sections(self) -> Iterator[StreamEvent]:
        times, number, gap = FrameTimes(), 0, ""
        pictures: _Pictures | None = None
        for event in self._decoder:
            if isinstance(event, Break):
                gap = gap or event.reason
                if event.new_connection:
                    times.begin_anew()
                continue
            frame, came = event, time.monotonic()
            gap = times.add(frame, came=came, usual=1 / self._decoder.rate) or gap
            if self._has_no_room(float(times.seconds), came=came):
                gap = "frames dropped: slower than real time"
                continue
            if pictures is None or not pictures.fit(frame):
                gap = gap or ("frames of another size" if pictures is not None else "")
                pictures = _Pictures(frame, config=self._config, name=self._decoder.source.name)
            if gap and number:
                yield SectionEnd(reason=gap, resumes=times.seconds)
                number = 0
            gap = ""
            picture = pictures.of(frame) if number % self._every == 0 else None
            self.busy_seconds += time.monotonic() - came
            yield LiveFrame(number=number, seconds=times.seconds, duration=times.duration, picture=picture, came=came)
            number += 1

    def _has_no_room(self, seconds: float, *, came: float) -> bool:
        """Once full, until all that wait are taken."""
        self._began = came if self._began is None else self._began
        if self._is_dropping:
            self._is_dropping = not self._events.empty()
        elif self._may_drop and self._events.full():
            self._is_dropping = seconds < came - self._began + _AHEAD_SECONDS
        return self._is_dropping


class FrameTimes:
    """Seconds since the first frame, from presentation times, which may begin anywhere, be missing, or jump."""

    def __init__(self) -> None:
        self.seconds = self.duration = Fraction(0)
        """Of the latest frame."""
        self._offset: Fraction | None = None  # from presentation times
        self._came: float | None = None
        self._is_anew = False

    def begin_anew(self) -> None:
        """Presentation times of the next frame have nothing to do with earlier ones: the clock on the wall counts."""
        self._offset, self._is_anew = None, True

    def add(self, frame: VideoFrame, *, came: float, usual: Fraction) -> str:
        """Take the next frame.

        Args:
            frame: see there.
            came: `time.monotonic()`.
            usual: how long a frame lasts if it does not say.

        Returns:
            Why it does not follow the last one, or "".
        """
        base = frame.time_base
        shown = None if frame.pts is None or base is None else frame.pts * base
        due, reason = self.seconds + self.duration, ""
        if self._is_anew and self._came is not None:
            due = max(due, self.seconds + Fraction(came - self._came).limit_denominator(1000))
        if shown is None or self._offset is None:
            self.seconds, last = due, self.seconds
        else:
            self.seconds, last = shown + self._offset, self.seconds
            if self.seconds > due + max(Fraction(_PAUSE_SECONDS), _PAUSE_FRAMES * self.duration):
                reason = "no frames in between"
            elif self.seconds < last - _PAUSE_SECONDS:
                reason, self.seconds = "times jump back", due
            self.seconds = max(self.seconds, last)
        if shown is not None and (self._offset is None or reason == "times jump back"):
            self._offset = self.seconds - shown
        self.duration = frame.duration * base if frame.duration and base else usual
        self._came, self._is_anew = came, False
        return reason


class _Pictures:
    """Pictures of frames of one size, as clips want them."""

    def __init__(self, frame: VideoFrame, *, config: DataSettings, name: str) -> None:
        require_size(frame.width, frame.height, path=name)
        upright = UprightPictures(height=frame.height, width=frame.width, orientation=orientation_of(frame))
        require_room_for_crop(upright.height, upright.width, path=name, config=config)
        self._upright, self._shape = upright, (frame.height, frame.width)
        self._size = upright.output_size(config.short_side_test)

    def fit(self, frame: VideoFrame) -> bool:
        """Whether the frame is of this size."""
        return (frame.height, frame.width) == self._shape

    def of(self, frame: VideoFrame) -> Tensor:
        """(3, H, W) uint8."""
        return self._upright.rgb(frame, height=self._size[0], width=self._size[1])
