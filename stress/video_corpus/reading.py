"""One file read in the ways that users read it, in a process of its own that may crash or hang."""

import contextlib
import multiprocessing
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from random import Random

import numpy as np

from video_corpus.damage import Case
from video_corpus.sound import Fingerprint, fingerprint

__all__ = ["Outcome", "Way", "read_all", "resident_bytes"]

WINDOW = 16
"""Frames of a clip."""


@dataclass(kw_only=True)
class Way:
    """What one way of reading came to."""

    error: str | None = None
    """Class of the error that ended it, if any."""
    message: str = ""
    is_typed: bool = True
    """The error is one that training, check-data and predict answer by passing over the file."""
    num_right: int = 0
    num_wrong_sound: int = 0
    """Wrong frames in the sound part: must be none."""
    num_wrong_damaged: int = 0
    """Wrong frames in the damaged part, given out without an error."""
    frames: list[int] = field(default_factory=list)
    """Which frames were wrong."""


@dataclass(kw_only=True)
class Outcome:
    """What became of a file."""

    name: str
    family: str
    ways: dict[str, Way] = field(default_factory=dict)
    death: str | None = None
    """"crash" or "hang" of the process."""
    peak_mib: float = 0.0
    """How much the process grew while it read the file."""

    @property
    def kind(self) -> str:
        """The worst that happened."""
        ways = self.ways.values()
        if self.death is not None:
            return self.death
        if any(not way.is_typed for way in ways):
            return "untyped error"
        if any(way.num_wrong_sound for way in ways):
            return "wrong in sound part"
        if any(way.num_wrong_damaged for way in ways):
            return "wrong in damaged part"
        return "typed error" if any(way.error for way in ways) else "right"


def read_case(case: Case, *, seed: int) -> Outcome:
    """Index a file, read clips of it by frame numbers as training does, and all of it as predict does."""
    from re2tal.video import open_video, probe  # here, so that the parent does without torch

    _forget_peak()
    before = _peak_bytes()
    outcome = Outcome(name=case.name, family=case.family)
    outcome.ways["index"] = index = Way()
    with _noted(index):
        info = probe(case.path)
    if index.error is not None:
        outcome.peak_mib = (_peak_bytes() - before) / 2**20
        return outcome
    outcome.ways["clips"] = clips = Way()
    rng = Random(seed)
    for start in sorted((rng.randrange(info.num_frames) for _ in range(4)), reverse=True):
        numbers = range(start, min(start + WINDOW, info.num_frames))
        with _noted(clips), open_video(case.path, threads=1) as reader:
            _compare(case, numbers, reader.frames(numbers).numpy(), total=info.num_frames, way=clips)
    outcome.ways["stream"] = stream = Way()
    with _noted(stream):
        for numbers, frames in _stream(case.path, height=info.height, width=info.width):
            _compare(case, numbers, frames, total=info.num_frames, way=stream)
    if case.must_read and info.num_frames != len(case.truth):
        stream.num_wrong_sound += abs(info.num_frames - len(case.truth))
    outcome.peak_mib = (_peak_bytes() - before) / 2**20
    return outcome


def _stream(path: Path, *, height: int, width: int) -> Iterator[tuple[range, np.ndarray]]:
    """Numbers and frames of clip after clip, at the video's own size; the last clip repeats its last frame."""
    from re2tal.data import ClipStream, DataConfig, WindowSampling

    nothing = Path("none")
    config = DataConfig(
        annotations=nothing,
        videos=nothing,
        sampling=WindowSampling(num_steps=WINDOW, frames_per_step=1, frame_stride=1, test_overlap=0.25),
        short_side_test=min(height, width),
        crop_size=(height, width) if height <= width else (min(height, width),) * 2,
    )
    stream = ClipStream(path, video_id="video", config=config)
    for place, clip in zip(stream.places, stream, strict=True):
        frames = clip.frames.permute(1, 2, 3, 0).numpy()  # (T, H, W, 3)
        yield range(place.start_step, place.end_step), frames[: place.end_step - place.start_step]


class _noted:
    """Notes the error that ends what it encloses."""

    def __init__(self, way: Way) -> None:
        self.way = way

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        from re2tal.video import VideoError

        if error is None or not isinstance(error, Exception):
            return False
        is_typed = isinstance(error, VideoError)
        if self.way.error is None or not is_typed:
            self.way.error, self.way.message, self.way.is_typed = type(error).__name__, str(error), is_typed
        return True


def _compare(case: Case, numbers: Sequence[int], frames: np.ndarray, *, total: int, way: Way) -> None:
    """Count right and wrong frames. After a damage frames are counted from the end: some may be missing before them."""
    if not case.truth:
        return
    truth, missing = case.truth, len(case.truth) - total
    num_damaged = len(truth) - case.sound_before - case.sound_after
    # Where more is missing than was damaged, sound frames are lost, too, and any number of damaged ones may be left.
    sound_from = case.sound_before + num_damaged - (missing if missing <= num_damaged else 0)
    for number, frame in zip(numbers, frames, strict=True):
        found: Fingerprint = fingerprint(frame)
        from_end = number + missing
        if number < case.sound_before:
            is_sound, is_right = True, truth[number] == found
        else:
            is_sound = number >= sound_from
            is_right = found in (truth[i] for i in (number, from_end) if 0 <= i < len(truth))
        way.num_right += is_right
        way.num_wrong_sound += is_sound and not is_right
        way.num_wrong_damaged += not is_sound and not is_right
        if not is_right:
            way.frames.append(number)


def read_all(
    cases: Sequence[Case], *, jobs: int, limit_seconds: float, seed: int, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """Read every case in one of `jobs` processes, which are replaced when a file kills or holds them."""
    idle: SimpleQueue[_Reader] = SimpleQueue()
    for _ in range(jobs):
        idle.put(_Reader(seed=seed))

    def read(case: Case) -> Outcome:
        reader = idle.get()
        try:
            outcome = reader.read(case, limit_seconds=limit_seconds)
        finally:
            idle.put(reader)
        tell(outcome)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(read, cases))
        finally:
            for _ in range(jobs):
                idle.get().stop()


class _Reader:
    """A process that reads files, and the next one after it."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def read(self, case: Case, *, limit_seconds: float) -> Outcome:
        if self._process is None or not self._process.is_alive():
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send(case)
            if self._pipe.poll(limit_seconds):
                outcome = self._pipe.recv()
                assert isinstance(outcome, Outcome)
                return outcome
            death = "hang"
        except (EOFError, ConnectionError):
            death = "crash"
        self.stop()
        return Outcome(name=case.name, family=case.family, death=death)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._seed), daemon=True)
        self._process.start()
        theirs.close()
        assert self._pipe.recv() == "ready"  # libraries loaded, which takes seconds that are no file's

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = None


def _serve(pipe: Connection, seed: int) -> None:
    import torch

    import re2tal.data  # noqa: F401

    torch.set_num_threads(1)
    pipe.send("ready")
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        pipe.send(read_case(case, seed=seed))


def _forget_peak() -> None:
    """Let the kernel count the peak from now on, where it can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes() -> int:
    """Of this process, now."""
    return _status("VmRSS") or 0


def _status(key: str) -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    lines: Iterable[str] = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)
