"""What is wrong with the video files of a data set, found before a run instead of by it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Literal

from re2tal.common.types import AnnotatedVideo
from re2tal.common.untrusted import UnsafeNameError
from re2tal.data.clip_specs import clip_spec_of, window_specs_of
from re2tal.data.config import DataSettings, ResizeSampling, Sampling, WindowSampling
from re2tal.data.features import FeaturesError, FeatureStore
from re2tal.video import (
    CorruptVideoError,
    MissingVideoError,
    NoVideoStreamError,
    TruncatedVideoError,
    VideoError,
    VideoInfo,
    VideoTimeoutError,
    open_video,
    probe,
)

__all__ = ["Decode", "Finding", "Severity", "check_video", "check_videos"]

Severity = Literal["error", "warning", "note"]
"""It stops a run or takes a video from it; it may do harm; it is good to know."""

Decode = Literal["ends", "all", "none"]
"""The frames of the first and last second, every frame, or only the few that the reader itself looks at."""

# Annotation and file may differ by so much without a word: tools disagree by some frames about where a video ends.
_FRAMES = 5
_SECONDS = 0.5
_SHARE = 0.01

_DRIFT_SECONDS = 0.25
"""A frame shown this far from where an even rate would show it is told of: annotated times lie off by as much."""

_FRAMES_AT_ONCE = 64
_SIDE = 16
"""Frames are decoded to be seen to decode; nobody looks at them."""

_NAMES: dict[type[Exception], str] = {
    MissingVideoError: "file absent",
    NoVideoStreamError: "no pictures",
    TruncatedVideoError: "truncated",
    CorruptVideoError: "damaged",
    VideoTimeoutError: "stalled",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is missing, broken, inconsistent or good to know."""

    severity: Severity
    what: str
    """Its kind, in two or three words; findings are counted by it."""
    detail: str
    video_id: str | None = None
    subset: Literal["training", "testing"] | None = None
    """Which of the two it concerns; None: neither or both."""


def check_videos(
    videos: Sequence[AnnotatedVideo], *, config: DataSettings, decode: Decode, jobs: int
) -> Iterator[tuple[str, list[Finding]]]:
    """Check the files of `videos`, `jobs` at a time; gives ids with findings as they come, in any order."""
    with ThreadPoolExecutor(jobs) as pool:  # FFmpeg decodes outside of Python's lock
        waiting = {pool.submit(_check_input, video, config=config, decode=decode): video.video_id for video in videos}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _check_input(video: AnnotatedVideo, *, config: DataSettings, decode: Decode) -> list[Finding]:
    """What is to say of the file that a run reads."""
    try:
        path = config.input_path(video.video_id)
    except UnsafeNameError as error:
        return [Finding(severity="error", what="file elsewhere", detail=str(error), video_id=video.video_id)]
    if config.features is None:
        return check_video(video, path=path, sampling=config.sampling, decode=decode)
    try:
        FeatureStore(config, [video])
    except FeaturesError as error:
        what = "features" if path.is_file() else _NAMES[MissingVideoError]
        return [Finding(severity="error", what=what, detail=str(error), video_id=video.video_id)]
    return []


def check_video(video: AnnotatedVideo, *, path: Path, sampling: Sampling, decode: Decode) -> list[Finding]:
    """What is to say of one file; nothing that a file holds makes it raise."""
    try:
        info = probe(path)
        _decode(path, decode=decode)
    except Exception as error:
        what = _NAMES.get(type(error), "unreadable")
        detail = str(error) if isinstance(error, (VideoError, OSError)) else f"{path}: {type(error).__name__}: {error}"
        return [Finding(severity="error", what=what, detail=detail, video_id=video.video_id)]
    checks = (_check_frames, _check_duration, _check_length, _check_rate, _check_turned)
    return [finding for check in checks if (finding := check(video, info, sampling)) is not None]


def _decode(path: Path, *, decode: Decode) -> None:
    with open_video(path, threads=1) as reader:
        num_frames, second = reader.num_frames, ceil(reader.fps)
        match decode:
            case "none":
                return
            case "ends":
                ends = (range(min(second, num_frames)), range(max(num_frames - second, 0), num_frames))
                wanted = sorted(set().union(*ends))
            case "all":
                wanted = list(range(num_frames))
            case _:
                raise AssertionError(decode)
        for start in range(0, len(wanted), _FRAMES_AT_ONCE):
            reader.frames(wanted[start : start + _FRAMES_AT_ONCE], size=_SIDE)


_Check = Callable[[AnnotatedVideo, VideoInfo, Sampling], Finding | None]


def _check_frames(video: AnnotatedVideo, info: VideoInfo, sampling: Sampling) -> Finding | None:
    """Windows are listed by the annotated number of frames; a video that is resized needs none."""
    if isinstance(sampling, ResizeSampling) or video.num_frames is None:
        return None
    places = window_specs_of(video, sampling=sampling, overlap=0.0, count_frames=lambda: info.num_frames)
    try:
        clip_spec_of(places[-1], file_frames=info.num_frames, sampling=sampling)
    except ValueError as error:
        return Finding(severity="error", what="frame count", detail=str(error), video_id=video.video_id)
    if abs(video.num_frames - info.num_frames) <= max(_FRAMES, _SHARE * video.num_frames):
        return None
    detail = f"the file has {info.num_frames} frames, the annotation counts {video.num_frames}; times are scaled to fit"
    return Finding(severity="warning", what="frame count", detail=detail, video_id=video.video_id)


def _check_duration(video: AnnotatedVideo, info: VideoInfo, sampling: Sampling) -> Finding | None:
    difference = abs(video.duration_seconds - info.duration_seconds)
    if difference <= max(_SECONDS, _SHARE * video.duration_seconds):
        return None
    detail = (
        f"the file lasts {info.duration_seconds:.2f} s, the annotation says {video.duration_seconds:.2f} s; actions "
        f"near the end lie off by up to {difference:.2f} s"
    )
    return Finding(severity="warning", what="duration", detail=detail, video_id=video.video_id)


def _check_length(video: AnnotatedVideo, info: VideoInfo, sampling: Sampling) -> Finding | None:
    match sampling:
        case WindowSampling():
            needed, why = sampling.frames_in_step, "one step of the detector"
        case ResizeSampling():
            needed, why = sampling.num_steps, f"one for each of {sampling.num_steps} steps"
        case _:
            raise AssertionError(sampling)
    if info.num_frames >= needed:
        return None
    detail = f"the file has {info.num_frames} frames, fewer than {why}; frames are repeated"
    return Finding(severity="warning", what="short", detail=detail, video_id=video.video_id)


def _check_rate(video: AnnotatedVideo, info: VideoInfo, sampling: Sampling) -> Finding | None:
    if info.drift_seconds <= _DRIFT_SECONDS:
        return None
    detail = (
        f"a frame is shown up to {info.drift_seconds:.2f} s from where an even rate would show it, and actions lie off "
        "by as much; convert the file to a constant rate"
    )
    return Finding(severity="note", what="variable frame rate", detail=detail, video_id=video.video_id)


def _check_turned(video: AnnotatedVideo, info: VideoInfo, sampling: Sampling) -> Finding | None:
    if not info.is_turned:
        return None
    detail = "the frames are stored turned or mirrored and are set upright when read"
    return Finding(severity="note", what="turned", detail=detail, video_id=video.video_id)
