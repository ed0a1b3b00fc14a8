"""Frames of streams: their times, gaps, what waits in memory, and the windows they make."""

import logging
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import pytest
import torch

from re2tal.config import load_config
from re2tal.data import DataConfig
from re2tal.inference.live.decoding import Break, StreamDecoder
from re2tal.inference.live.frames import FrameThread, FrameTimes, LiveFrame, SectionEnd, StreamEnd, StreamEvent
from re2tal.inference.live.progress import LiveProgress
from re2tal.inference.live.source import LiveSource, live_source
from re2tal.inference.live.windows import SectionWindows
from tests.inference.live_streams import stream_video
from tests.video.videos import make_video


def _frame(shown: int | None, *, duration: int = 40, size: int = 16) -> av.VideoFrame:
    """Times in milliseconds."""
    frame = av.VideoFrame.from_ndarray(np.zeros((size, size, 3), np.uint8), format="rgb24")
    frame.pts, frame.time_base, frame.duration = shown, Fraction(1, 1000), duration
    return frame


def _times(shown: Sequence[int | None]) -> tuple[list[float], list[str]]:
    times, seconds, reasons = FrameTimes(), [], []
    for number in shown:
        reasons.append(times.add(_frame(number), came=0.0, usual=Fraction(1, 25)))
        seconds.append(float(times.seconds))
    return seconds, reasons


@pytest.mark.parametrize("begin", [0, 90_000, -1400])
def test_times_begin_with_the_first_frame(begin: int) -> None:
    assert _times([begin, begin + 40, begin + 80]) == ([0.0, 0.04, 0.08], ["", "", ""])


def test_times_that_are_missing_follow_the_last_one() -> None:
    seconds, reasons = _times([None, 500, None, 580])
    assert seconds == pytest.approx([0.0, 0.04, 0.08, 0.12]) and not any(reasons)


def test_pauses_of_a_variable_rate_are_no_gaps_and_jumps_are() -> None:
    seconds, reasons = _times([0, 40, 900, 3000, 3040])
    assert seconds == pytest.approx([0, 0.04, 0.9, 3.0, 3.04])
    assert reasons == ["", "", "", "no frames in between", ""]
    seconds, reasons = _times([0, 40, 20, 60])
    assert seconds == pytest.approx([0, 0.04, 0.04, 0.06]) and not any(reasons)
    seconds, reasons = _times([5000, 5040, 100, 140])
    assert seconds == pytest.approx([0, 0.04, 0.08, 0.12]) and reasons[2] == "times jump back"


def test_after_a_new_connection_the_clock_on_the_wall_counts() -> None:
    times = FrameTimes()
    times.add(_frame(7000), came=100.0, usual=Fraction(1, 25))
    times.begin_anew()
    times.add(_frame(0), came=103.5, usual=Fraction(1, 25))
    assert times.seconds == Fraction(7, 2)
    times.add(_frame(40), came=103.5, usual=Fraction(1, 25))
    assert float(times.seconds) == pytest.approx(3.54)


class _Frames(StreamDecoder):
    """Frames as they are given."""

    def __init__(self, events: Sequence[av.VideoFrame | Break], *, kind: Any) -> None:
        super().__init__(LiveSource(kind=kind, address="x"), timeout=1, options={}, stop=Event())
        self._events = events

    def __iter__(self) -> Iterator[av.VideoFrame | Break]:
        return iter(self._events)


@pytest.fixture
def data(tiny: Path) -> DataConfig:
    found = load_config(tiny).data
    assert isinstance(found, DataConfig)
    return found


def _read(thread: FrameThread, *, pause: float = 0.0) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    with thread:
        while not events or not isinstance(events[-1], StreamEnd):
            time.sleep(pause)
            event = thread.next(timeout=10)
            assert event is not None and thread.num_waiting <= 4
            events.append(event)
    return events


@pytest.mark.parametrize("kind", ["file", "address"])
def test_where_frames_are_not_taken_fast_enough_a_file_waits_and_an_address_drops(
    kind: Any, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("re2tal.inference.live.frames._AHEAD_SECONDS", 1e9)
    decoder = _Frames([_frame(40 * number) for number in range(60)], kind=kind)
    thread = FrameThread(decoder, config=data, every=1, capacity=4, stop=Event())
    events = _read(thread, pause=0.002)
    frames = [event for event in events if isinstance(event, LiveFrame)]
    gaps = [event for event in events if isinstance(event, SectionEnd)]
    if kind == "file":
        assert len(frames) == 60 and not gaps
        return
    assert len(frames) < 60
    assert all(gap.reason == "frames dropped: slower than real time" for gap in gaps)
    for gap in gaps:
        place = events.index(gap)
        before, after = events[place - 1], events[place + 1]
        assert isinstance(before, LiveFrame) and isinstance(after, LiveFrame)
        assert after.number == 0 and after.seconds == gap.resumes > before.end


def test_an_address_that_sends_faster_than_real_time_waits(data: DataConfig) -> None:
    decoder = _Frames([_frame(1000 * number) for number in range(60)], kind="address")
    thread = FrameThread(decoder, config=data, every=1, capacity=4, stop=Event())
    events = _read(thread, pause=0.002)
    assert sum(isinstance(event, LiveFrame) for event in events) == 60 and len(events) == 61


def test_breaks_and_other_sizes_begin_a_section(data: DataConfig) -> None:
    frames = [
        _frame(0),
        _frame(40),
        Break(reason="damaged data"),
        _frame(400),
        _frame(440, size=32),
        _frame(480, size=32),
    ]
    thread = FrameThread(_Frames(frames, kind="file"), config=data, every=2, capacity=4, stop=Event())
    told = [
        (event.number, float(event.seconds), event.picture is not None)
        if isinstance(event, LiveFrame)
        else event.reason
        for event in _read(thread)
    ]
    assert told == [
        (0, 0.0, True),
        (1, 0.04, False),
        "damaged data",
        (0, 0.4, True),
        "frames of another size",
        (0, 0.44, True),
        (1, 0.48, False),
        "end of the data",
    ]


def test_an_error_of_the_decoder_reaches_who_takes_the_frames(data: DataConfig) -> None:
    thread = FrameThread(
        _Frames([_frame(0), _frame(0, size=1)], kind="file"), config=data, every=1, capacity=4, stop=Event()
    )
    broken = FrameThread(
        _Frames([_frame(0)], kind="file"),
        config=data.model_copy(update={"crop_size": (16, 20)}),
        every=1,
        capacity=4,
        stop=Event(),
    )
    assert isinstance(_read(thread)[-1], StreamEnd)
    (end,) = _read(broken)
    assert isinstance(end, StreamEnd) and "does not fit into" in end.reason and isinstance(end.error, ValueError)


def _live_frames(times: Sequence[Fraction], *, every: int) -> Iterator[LiveFrame]:
    for number, seconds in enumerate(times):
        picture = torch.full((3, 16, 16), number % 256, dtype=torch.uint8) if number % every == 0 else None
        yield LiveFrame(number=number, seconds=seconds, duration=Fraction(1, 25), picture=picture, came=0.0)


@pytest.mark.parametrize("stride", [1, 3])
def test_frames_of_one_window_are_in_memory_however_long_the_stream(data: DataConfig, stride: int) -> None:
    sampling = data.sampling.model_copy(update={"frame_stride": stride})
    windows = SectionWindows(data.model_copy(update={"sampling": sampling}), video_id="x", begin=Fraction(0))
    made = 0
    for frame in _live_frames([Fraction(number, 25) for number in range(3000)], every=stride):
        made += windows.add(frame) is not None
        assert windows.num_kept <= 32 + 2  # a window, and of the step that begins
    assert made == (3000 - 32 * stride) // (16 * stride) + 1


def test_windows_of_a_variable_rate_lie_where_their_frames_are_shown(data: DataConfig) -> None:
    times = [Fraction(number, 25) for number in range(64)]
    times += [times[-1] + Fraction(4 * (number + 1), 25) for number in range(64)]
    windows = SectionWindows(data, video_id="x", begin=Fraction(0))
    found = [window for frame in _live_frames(times, every=1) if (window := windows.add(frame)) is not None]
    assert [window.clip.grid.start_seconds for window in found] == [float(times[16 * place]) for place in range(7)]
    assert found[0].clip.grid.seconds_per_step == pytest.approx(0.08)
    assert found[-1].clip.grid.seconds_per_step == pytest.approx(0.32)
    assert all(window.next_seconds == float(times[16 * place + 2]) for place, window in enumerate(found))


def test_what_is_named_is_a_file_a_pipe_or_an_address(tmp_path: Path) -> None:
    video = stream_video(tmp_path / "a.mkv", num_frames=3)
    assert live_source(str(video)).kind == "file"
    assert live_source("-").kind == "pipe"
    camera = live_source("RTSP://admin:pa@ss@10.0.0.1:554/cam?token=1")
    assert camera.kind == "address" and camera.address == "rtsp://admin:pa@ss@10.0.0.1:554/cam?token=1"
    assert camera.name == "rtsp://admin:***@10.0.0.1:554/cam"
    assert live_source("rtsp://admin:a/b?c@10.0.0.1/cam").name == "rtsp://admin:***@10.0.0.1/cam"
    assert live_source("udp://@239.0.0.1:1234").name == "udp://@239.0.0.1:1234"


def test_frames_before_the_first_key_frame_are_not_taken(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.ts", num_frames=40)
    packets = video.read_bytes()
    late = tmp_path / "late.ts"
    late.write_bytes(
        packets[: 188 * 4] + packets[188 * (len(packets) // 188 // 3) :]
    )  # the tables, then from the middle
    decoder = StreamDecoder(live_source(str(late)), timeout=0.1, options={}, stop=Event())
    frames = [event for event in decoder if not isinstance(event, Break)]
    assert 10 <= len(frames) < 40 and frames[0].key_frame


def test_a_machine_slower_than_real_time_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    progress = LiveProgress(None)
    with caplog.at_level(logging.WARNING, logger="re2tal"):
        for took in (0.5, 0.5, 9.0, 9.0, 9.0, 9.0):
            progress.window(took=took, stream=2.0, behind=0.0)
        assert "slower than real time: a window takes 9.00 s, and a new one comes every 2.00 s" in caplog.text
        assert len(caplog.records) == 1 and progress.speed < 1
