"""What is found in the video files of a data set: every defect is made, and told by its name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from re2tal.common.types import AnnotatedVideo
from re2tal.data import DataConfig, ResizeSampling, WindowSampling
from re2tal.data.check import Decode, Finding, check_video, check_videos
from re2tal.video import probe
from tests.video.test_broken_files import FAST_START, cut, packets_of
from tests.video.videos import make_sound, make_video

WINDOWS = WindowSampling(num_steps=8, frames_per_step=2, frame_stride=2)
"""A step is 4 frames, a window 32."""


def _annotated(*, seconds: float = 4.0, frames: int | None = 100, video_id: str = "a") -> AnnotatedVideo:
    return AnnotatedVideo(video_id=video_id, subset="training", duration_seconds=seconds, num_frames=frames, actions=())


def _check(path: Path, video: AnnotatedVideo | None = None, *, decode: Decode = "ends", sampling=WINDOWS):
    return check_video(video or _annotated(), path=path, sampling=sampling, decode=decode)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames in 4 s."""
    return make_video(tmp_path_factory.mktemp("good") / "good.mp4", num_frames=100)


@pytest.mark.parametrize("decode", ["none", "ends", "all"])
def test_a_sound_file_that_fits_its_annotation_gives_no_finding(good: Path, decode: Decode) -> None:
    assert _check(good, decode=decode) == []


def _write_text(path: Path) -> None:
    path.write_text("no video")


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("file absent", lambda path: None),
        ("unreadable", lambda path: path.touch()),
        ("unreadable", _write_text),
        ("unreadable", lambda path: path.mkdir()),
        ("no pictures", make_sound),
        ("truncated", lambda path: cut(make_video(path, num_frames=100, **FAST_START), 0.6)),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_with_the_reason(
    tmp_path: Path, what: str, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "video.mp4"
    make(path)
    (finding,) = _check(path)
    assert (finding.severity, finding.what, finding.video_id) == ("error", what, "a")
    assert "video.mp4" in finding.detail


def test_damage_in_the_middle_is_found_by_decoding_everything(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", num_frames=100)
    content = bytearray(path.read_bytes())
    offset, size = packets_of(path)[55]
    content[offset + 8 : offset + size] = bytes(size - 8)
    path.write_bytes(content)
    assert _check(path, decode="none") == _check(path, decode="ends") == []
    (finding,) = _check(path, decode="all")
    assert (finding.severity, finding.what) == ("error", "damaged")


def test_damage_in_the_last_second_is_found_by_default(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", num_frames=100)
    content = bytearray(path.read_bytes())
    offset, size = packets_of(path)[92]
    content[offset + 8 : offset + size] = bytes(size - 8)
    path.write_bytes(content)
    assert _check(path, decode="none") == []
    assert [finding.what for finding in _check(path, decode="ends")] == ["damaged"]


@pytest.mark.parametrize(
    ("annotated", "severity"), [(100, None), (104, None), (95, None), (107, "warning"), (93, "warning"), (120, "error")]
)
def test_frame_counts_that_differ_are_told(good: Path, annotated: int, severity: str | None) -> None:
    found = _check(good, _annotated(frames=annotated))
    assert [(finding.severity, finding.what) for finding in found] == ([(severity, "frame count")] if severity else [])
    if found:
        assert "100 frames" in found[0].detail and str(annotated) in found[0].detail


def test_frame_counts_matter_only_to_windows(good: Path) -> None:
    assert _check(good, _annotated(frames=None)) == []
    assert _check(good, _annotated(frames=50), sampling=ResizeSampling(num_steps=8)) == []


def test_windows_that_would_begin_past_the_end_of_the_file_are_an_error(tmp_path: Path) -> None:
    """The annotation may count up to a tenth more frames; that is more than a short window."""
    path = make_video(tmp_path / "video.mp4", num_frames=100)
    sampling = WindowSampling(num_steps=1, frames_per_step=2, frame_stride=2)
    (finding,) = _check(path, _annotated(frames=109), sampling=sampling)
    assert (finding.severity, finding.what) == ("error", "frame count")
    assert "must begin inside the video" in finding.detail


@pytest.mark.parametrize(("seconds", "told"), [(4.0, False), (4.4, False), (3.6, False), (4.6, True), (3.4, True)])
def test_durations_that_differ_are_told(good: Path, seconds: float, told: bool) -> None:
    found = _check(good, _annotated(seconds=seconds))
    assert [(finding.severity, finding.what) for finding in found] == ([("warning", "duration")] if told else [])
    if told:
        assert "lasts 4.00 s" in found[0].detail and f"says {seconds:.2f} s" in found[0].detail


def test_videos_shorter_than_a_step_are_told(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", num_frames=3)
    video = _annotated(frames=3, seconds=3 / 25)
    (finding,) = _check(path, video)
    assert (finding.severity, finding.what) == ("warning", "short") and "has 3 frames" in finding.detail
    assert [item.what for item in _check(path, video, sampling=ResizeSampling(num_steps=4))] == ["short"]
    assert _check(path, video, sampling=ResizeSampling(num_steps=3)) == []


def test_a_variable_frame_rate_is_told_with_how_far_times_lie_off(tmp_path: Path) -> None:
    times = [*range(0, 2000, 40), *range(2000, 7000, 100)]  # 25 frames per second for 2 s, then 10 for 5 s
    path = make_video(tmp_path / "video.mkv", num_frames=100, times_ms=times)
    info = probe(path)
    # Of 100 frames in 7 s the 50th would be shown at 3.5 s; it is shown at 2 s.
    assert info.drift_seconds == pytest.approx(1.5, abs=0.05)
    (finding,) = _check(path, _annotated(seconds=info.duration_seconds))
    assert (finding.severity, finding.what) == ("note", "variable frame rate")
    assert f"{info.drift_seconds:.2f} s" in finding.detail


def test_an_even_frame_rate_drifts_by_rounding_only(good: Path) -> None:
    assert probe(good).drift_seconds < 1e-6


def test_turned_footage_is_told(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", num_frames=100, rotation=(90, False))
    assert [(finding.severity, finding.what) for finding in _check(path)] == [("note", "turned")]


@pytest.mark.parametrize("jobs", [1, 3])
def test_many_files_are_checked_whatever_is_wrong_with_some(tmp_path: Path, jobs: int) -> None:
    videos = [_annotated(video_id=f"video{number}") for number in range(6)]
    for number in (0, 2, 4):
        make_video(tmp_path / f"video{number}.mp4", num_frames=100)
    _write_text(tmp_path / "video1.mp4")
    config = DataConfig(annotations=tmp_path, videos=tmp_path, sampling=WINDOWS)
    found = dict(check_videos(videos, config=config, decode="ends", jobs=jobs))
    assert {name: [item.what for item in findings] for name, findings in found.items()} == {
        "video0": [], "video1": ["unreadable"], "video2": [], "video3": ["file absent"], "video4": [],
        "video5": ["file absent"],
    }  # fmt: skip


def test_an_error_that_nobody_thought_of_is_a_finding_too(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("re2tal.data.check.probe", fail)
    assert _check(good) == [
        Finding(severity="error", what="unreadable", detail=f"{good}: RuntimeError: surprise", video_id="a")
    ]
