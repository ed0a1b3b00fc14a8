"""A trained detector and a stream -> what happens in it, while it goes on."""

import heapq
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Event
from typing import Any

import torch
from rich.console import Console

from re2tal import __version__
from re2tal.data import WindowSampling, batches_of
from re2tal.data.windows import window_distance
from re2tal.detections import FinalDetections, StreamingNms, rows_of
from re2tal.inference.clips import ClipDetector, compute_repeatably
from re2tal.inference.folder import SHOWN_FROM
from re2tal.inference.inputs import InputError
from re2tal.inference.live.decoding import StreamDecoder
from re2tal.inference.live.frames import FrameThread, LiveFrame, SectionEnd, StreamEnd
from re2tal.inference.live.output import LiveFile, wall_time
from re2tal.inference.live.progress import LiveProgress
from re2tal.inference.live.signals import StopRequest
from re2tal.inference.live.source import LiveSource
from re2tal.inference.live.windows import LiveWindow, SectionWindows
from re2tal.inference.trained import TrainedDetector
from re2tal.training import log

__all__ = ["LiveSettings", "predict_live"]

_FORMAT = "re2tal-live-1"
_MEASURED_FRAMES = 32
"""The rate of a stream is that of its first frames, whatever it announces."""
_LOOKBACK_SHARE = 8
_ORIGIN_MOVES = 2**15
"""Seconds. Half as many behind it, times in single precision are still good to 4 ms."""


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """How a stream is followed."""

    min_score: float | None = None
    """Detections below it are left out; None: `SHOWN_FROM`."""
    lookback_seconds: float | None = None
    """See `StreamingNms`; None: an eighth of a window."""
    horizon_seconds: float | None = None
    """See `StreamingNms`; None: a window."""
    timeout: float = 30.0
    """Seconds without new data after which the stream has ended."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Of FFmpeg, for an address."""

    def __post_init__(self) -> None:
        for name in ("lookback_seconds", "horizon_seconds", "timeout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1e9:
                raise InputError(f"{name} must be a number of seconds, 0 or more, got {value}")


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """In seconds, at the rate of the stream's first frames."""

    window: float
    distance: float
    step: float
    lookback: float
    horizon: float

    @property
    def delay(self) -> float:
        """Between the end of a detection and when the stream is so far that it is written, at most.

        A window is looked at when its last frame is there; later ones may begin a step after it, and place a segment
        `lookback` earlier. A detection that ends before that waits for better ones for `horizon`. Windows come every
        `distance`.
        """
        return self.window + self.distance + self.lookback + self.horizon


def predict_live(
    trained: TrainedDetector,
    source: LiveSource,
    *,
    settings: LiveSettings,
    out: LiveFile,
    device: torch.device,
    stop: StopRequest,
    console: Console | None = None,
) -> dict[str, Any]:
    """Detect in a stream until it ends, and write every detection as soon as it is final.

    Args:
        trained: the detector; its model is moved to `device`. Windows are computed one at a time.
        source: of the stream.
        settings: see there.
        out: for one JSON object a line: a header, detections and gaps as they come, a summary.
        device: to compute on.
        stop: asks for an end: the frames so far are then taken for all.
        console: for progress.

    Returns:
        The summary.

    Raises:
        InputError: this detector cannot follow a stream, and why.
        VideoError: the stream cannot be read, or not any further; what was found is written.
    """
    require_live(trained)
    compute_repeatably()
    trained.model.to(device)
    progress = LiveProgress(console)
    run = _Run(trained, source, settings=settings, out=out, device=device, progress=progress)
    with progress.showing():
        return run.until_end(stop)


def require_live(trained: TrainedDetector) -> None:
    """Refuse a detector that needs whole videos.

    Raises:
        InputError: says why.
    """
    if not isinstance(trained.config.data.sampling, WindowSampling):
        raise InputError(
            "this detector looks at whole videos, resized to one clip (data.sampling.kind=resize), and a stream is "
            "whole only when it is over; train one with windows (data.sampling.kind=window), or predict without --live "
            "then"
        )
    if trained.video_labels is not None:
        raise InputError(
            "a classifier names what happens in a whole video, of which there is none in a stream; leave --classifier "
            "out, or predict without --live when the recording is finished"
        )


class _Run:
    """One stream from its beginning to its end."""

    def __init__(
        self,
        trained: TrainedDetector,
        source: LiveSource,
        *,
        settings: LiveSettings,
        out: LiveFile,
        device: torch.device,
        progress: LiveProgress,
    ) -> None:
        sampling = trained.config.data.sampling
        assert isinstance(sampling, WindowSampling)
        self._trained, self._source, self._settings = trained, source, settings
        self._sampling, self._out, self._progress = sampling, out, progress
        self._detector = ClipDetector(trained.model, config=trained.config, device=device, video_labels=None)
        self._min_score = SHOWN_FROM if settings.min_score is None else settings.min_score
        self._stopped_reading = Event()
        self._decoder = StreamDecoder(
            source, timeout=settings.timeout, options=settings.options, stop=self._stopped_reading
        )
        self._frames = FrameThread(
            self._decoder,
            config=trained.config.data,
            every=sampling.frame_stride,
            capacity=max(sampling.num_steps * sampling.frames_in_step, 2),
            stop=self._stopped_reading,
        )
        self._first: LiveFrame | None = None
        self._latest: LiveFrame | None = None
        self._timing: _Timing | None = None
        self._begin = Fraction(0)  # of the section
        self._windows: SectionWindows | None = None
        self._nms: StreamingNms | None = None
        self._busy_before = 0.0
        self._best: list[float] = []  # a heap of the scores that a whole video would keep
        self._latest_row: dict[str, Any] | None = None
        self._counts = {
            name: 0 for name in ("num_detections", "num_unsettled", "num_late", "num_gaps", "num_windows", "num_frames")
        }
        self._gap_seconds = self._longest_delay = 0.0

    def until_end(self, stop: StopRequest) -> dict[str, Any]:
        """Follow the stream; see `predict_live`."""
        error: Exception | None = None
        ended = ""
        try:
            with self._frames:
                ended, error = self._follow(stop)
                self._end_section()
        except Exception as caught:
            if self._timing is not None:
                with suppress(OSError, ValueError):  # the first error says more
                    self._write_summary(f"error: {caught}")
            raise
        if self._first is None:
            raise error or InputError(f"{self._source.name}: stopped before the first frame came ({ended})")
        summary = self._write_summary(ended if error is None else f"error: {error}")
        if error is not None:
            raise error
        return summary

    def _follow(self, stop: StopRequest) -> tuple[str, Exception | None]:
        while not stop:
            event = self._frames.next(timeout=0.2)
            match event:
                case LiveFrame():
                    self._take(event)
                case SectionEnd():
                    self._gap(event)
                case StreamEnd():
                    return event.reason, event.error
            seconds = 0.0 if self._latest is None else float(self._latest.end)
            self._progress.tell(seconds=seconds, counts=self._counts, latest=self._latest_row)
        return stop.reason, None

    def _take(self, frame: LiveFrame) -> None:
        self._first = self._first or frame
        self._latest = frame
        self._counts["num_frames"] += 1
        if self._windows is None:
            section = self._counts["num_gaps"]
            self._begin = frame.seconds
            self._windows = SectionWindows(
                self._trained.config.data, video_id=f"{self._source.name}#{section}", begin=frame.seconds
            )
        window = self._windows.add(frame)
        if self._timing is None and (window is not None or frame.number + 1 >= _MEASURED_FRAMES):
            self._begin_output()
        if window is not None:
            self._detect(window)

    def _begin_output(self) -> None:
        """Write the header."""
        assert self._first is not None and self._latest is not None
        count = self._latest.number - self._first.number
        per_frame = float((self._latest.seconds - self._first.seconds) / count if count else self._first.duration)
        per_step = max(per_frame, 1e-6) * self._sampling.frames_in_step
        window = per_step * self._sampling.num_steps
        lookback, horizon = self._settings.lookback_seconds, self._settings.horizon_seconds
        timing = self._timing = _Timing(
            window=window,
            distance=per_step * window_distance(self._sampling.num_steps, overlap=self._sampling.test_overlap),
            step=per_step,
            lookback=window / _LOOKBACK_SHARE if lookback is None else lookback,
            horizon=window if horizon is None else horizon,
        )
        log.info(
            "windows of %.2f s, one every %.2f s: a detection is written within %.2f s of its end, one that waits for "
            "better ones within %.2f s",
            timing.window,
            timing.distance,
            timing.delay - timing.horizon,
            timing.delay,
        )
        header = {
            "kind": "header",
            "format": _FORMAT,
            "version": __version__,
            "source": self._source.name,
            "checkpoint": str(self._trained.path),
            "fingerprint": self._trained.fingerprint(),
            "classes": list(self._trained.detected_names),
            "min_score": self._min_score,
            "frames_per_second": 1 / max(per_frame, 1e-6),
            **{f"{name}_seconds": value for name, value in vars(timing).items()},
            "delay_seconds": timing.delay,
            "timeout_seconds": self._settings.timeout,
            "written": wall_time(),
        }
        self._out.write([header])

    def _detect(self, window: LiveWindow) -> None:
        assert self._windows is not None and self._timing is not None and self._latest is not None
        begin = time.monotonic()
        grid, timing = window.clip.grid, self._timing
        if self._nms is None:
            self._nms = StreamingNms(
                self._trained.config.postprocess.nms,
                min_score=self._min_score,
                lookback_seconds=timing.lookback,
                horizon_seconds=timing.horizon,
                window_seconds=timing.window,
            )
        (found,) = self._detector.in_clips(batches_of([window.clip], size=1))
        end = grid.start_seconds + grid.seconds_per_step * self._sampling.num_steps
        self._nms.add(found, end_seconds=end)
        self._write(self._nms.settle(window.next_seconds, now=self._windows.duration_seconds))
        if self._windows.duration_seconds > 1.5 * _ORIGIN_MOVES:
            self._begin += _ORIGIN_MOVES
            self._windows.move_origin(_ORIGIN_MOVES)
            self._nms.move_origin(_ORIGIN_MOVES)
        self._counts["num_windows"] += 1
        now, busy = time.monotonic(), self._decoder.busy_seconds + self._frames.busy_seconds
        decoding, self._busy_before = busy - self._busy_before, busy
        self._progress.window(
            took=max(now - begin, decoding),
            stream=timing.distance,
            behind=now - self._latest.came + self._decoder.share_unread * float(self._latest.end),
        )

    def _end_section(self) -> None:
        """No frame follows the last one: what is left is final."""
        if self._windows is None:
            return
        if self._timing is None:
            self._begin_output()
        for window in self._windows.end():
            self._detect(window)
        assert self._nms is not None
        self._write(self._nms.finish(self._windows.duration_seconds))
        self._counts["num_late"] += self._nms.num_late
        self._counts["num_unsettled"] += self._nms.num_unsettled
        self._windows = self._nms = None

    def _gap(self, gap: SectionEnd) -> None:
        self._end_section()
        assert self._latest is not None
        missing = max(float(gap.resumes - self._latest.end), 0.0)
        self._counts["num_gaps"] += 1
        self._gap_seconds += missing
        log.warning("%s: %.2f s missing at %.2f s", gap.reason, missing, self._latest.end)
        record = {"kind": "gap", "reason": gap.reason, "segment": [float(self._latest.end), float(gap.resumes)]}
        self._out.write([{**record, "written": wall_time()}])

    def _write(self, final: FinalDetections) -> None:
        assert self._windows is not None
        offset, now = float(self._begin), self._windows.duration_seconds
        rows = rows_of(final.detections, class_names=self._trained.detected_names)
        records = []
        for row, is_settled in zip(rows, final.settled.tolist(), strict=True):
            start, end = row["segment"]
            self._longest_delay = max(self._longest_delay, now - end)
            place = {"segment": [start + offset, end + offset], "label": row["label"], "score": row["score"]}
            records.append({"kind": "detection", **place, "settled": is_settled, "stream_seconds": now + offset})
            self._latest_row = place
            self._remember(row["score"])
        self._counts["num_detections"] += len(records)
        if records:
            written = wall_time()
            self._out.write([{**record, "written": written} for record in records])

    def _remember(self, score: float) -> None:
        """Of a whole video, so many of the best are kept."""
        if len(self._best) < self._trained.config.postprocess.nms.max_segments:
            heapq.heappush(self._best, score)
        else:
            heapq.heappushpop(self._best, score)

    def _write_summary(self, ended: str) -> dict[str, Any]:
        assert self._latest is not None
        has_more = self._counts["num_detections"] > len(self._best)
        summary = {
            "kind": "summary",
            "ended": ended,
            "stream_seconds": float(self._latest.end),
            **self._counts,
            "gap_seconds": self._gap_seconds,
            "longest_delay_seconds": self._longest_delay,
            "whole_video_min_score": self._best[0] if has_more else None,
            "seconds_behind": self._progress.seconds_behind,
            "written": wall_time(),
        }
        self._out.write([summary])
        return summary
