"""What is found in a stream while it goes on, against what is found in the finished file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from re2tal.inference.live import prediction as live_prediction
from tests.inference.live_streams import (
    EXACT,
    detections_in,
    grow,
    in_thread,
    lines_of,
    offline,
    stream_video,
    tcp_server,
)
from tests.video.videos import make_video

ROOT = Path(__file__).parents[2]


def _live(re2tal: Any, source: object, *arguments: object, checkpoint: Path, out: Path, timeout: float = 0.5) -> Any:
    return re2tal(
        "predict", "--live", source, "--checkpoint", checkpoint, "--out", out, "--timeout", timeout, *arguments
    )


@pytest.mark.parametrize(
    ("num_frames", "overlap", "ending"),
    [(3, 0.5, ".mkv"), (32, 0.5, ".ts"), (40, 0.75, ".mp4"), (131, 0, ".mkv"), (131, 0.75, ".ts")],
)
def test_a_finished_stream_has_the_detections_of_its_file_to_the_last_bit(
    re2tal: Any, checkpoint: Path, tmp_path: Path, num_frames: int, overlap: float, ending: str
) -> None:
    """Windows have 32 frames: less than one, just one, one and the last, several."""
    video = stream_video(tmp_path / f"video{ending}", num_frames=num_frames)
    option = f"data.sampling.test_overlap={overlap}"
    whole = offline(re2tal, video, checkpoint=checkpoint, out=tmp_path / "whole", options=[option])
    out = tmp_path / "live.jsonl"
    assert _live(re2tal, video, *EXACT, "--cfg-options", option, checkpoint=checkpoint, out=out) == 0
    lines = lines_of(out)
    assert [line["kind"] for line in (lines[0], lines[-1])] == ["header", "summary"]
    assert lines[-1]["num_late"] == lines[-1]["num_unsettled"] == lines[-1]["num_gaps"] == 0
    assert lines[-1]["num_frames"] == num_frames
    assert detections_in(lines) == whole and len(whole) >= min(num_frames // 3, 20)
    early = [line for line in lines[1:-1] if line["stream_seconds"] < num_frames / 25]
    assert num_frames < 100 or len(early) > len(whole) / 3


def test_every_third_frame_is_taken_where_the_config_says_so(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    video = stream_video(tmp_path / "video.ts", num_frames=200)
    option = "data.sampling.frame_stride=3"
    whole = offline(re2tal, video, checkpoint=checkpoint, out=tmp_path / "whole", options=[option])
    out = tmp_path / "live.jsonl"
    assert _live(re2tal, video, *EXACT, "--cfg-options", option, checkpoint=checkpoint, out=out) == 0
    assert len(whole) > 10 and detections_in(lines_of(out)) == whole


@pytest.mark.parametrize("ending", [".mkv", ".ts", ".mp4"])
def test_a_file_is_followed_while_it_grows(re2tal: Any, checkpoint: Path, tmp_path: Path, ending: str) -> None:
    video = stream_video(tmp_path / f"whole{ending}", num_frames=131)
    whole = offline(re2tal, video, checkpoint=checkpoint, out=tmp_path / "whole")
    growing, out = tmp_path / f"growing{ending}", tmp_path / "live.jsonl"
    growing.touch()
    with in_thread(grow, growing, video.read_bytes()):
        assert _live(re2tal, growing, *EXACT, checkpoint=checkpoint, out=out, timeout=2) == 0
    lines = lines_of(out)
    assert lines[-1]["ended"] == "no new data for 2 s"
    assert detections_in(lines) == whole


def test_a_detection_is_written_within_the_delay_that_is_told(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    video, out = stream_video(tmp_path / "video.mkv", num_frames=250), tmp_path / "live.jsonl"
    arguments = ["--min-score", 0.005, "--horizon", 0.5, "--lookback", 0.2]
    assert _live(re2tal, video, *arguments, checkpoint=checkpoint, out=out) == 0
    header, *_, summary = lines = lines_of(out)
    # 32 frames and 16 from one window to the next, at 25 per second
    assert header["delay_seconds"] == pytest.approx(1.28 + 0.64 + 0.2 + 0.5)
    assert 1.28 < summary["longest_delay_seconds"] <= header["delay_seconds"]
    for line in lines[1:-1]:
        assert line["segment"][1] <= line["stream_seconds"] <= line["segment"][1] + header["delay_seconds"]


def test_of_a_long_stream_the_best_are_those_of_the_whole_video(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    """A whole video keeps so many of its detections and no more."""
    video, out = stream_video(tmp_path / "video.mkv", num_frames=131), tmp_path / "live.jsonl"
    option = "postprocess.nms.max_segments=20"
    whole = offline(re2tal, video, checkpoint=checkpoint, out=tmp_path / "whole", options=[option])
    assert _live(re2tal, video, *EXACT, "--cfg-options", option, checkpoint=checkpoint, out=out) == 0
    lines = lines_of(out)
    least = lines[-1]["whole_video_min_score"]
    assert len(whole) == 20 and len(detections_in(lines)) > 20
    assert [row for row in detections_in(lines) if row[2] >= least] == whole


def test_after_many_hours_times_are_still_exact(
    re2tal: Any, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The origin of times in single precision moves, here every two seconds."""
    video, out = stream_video(tmp_path / "video.mkv", num_frames=250), tmp_path / "live.jsonl"
    whole = offline(re2tal, video, checkpoint=checkpoint, out=tmp_path / "whole")
    monkeypatch.setattr(live_prediction, "_ORIGIN_MOVES", 2)
    assert _live(re2tal, video, *EXACT[:2], checkpoint=checkpoint, out=out) == 0
    found = detections_in(lines_of(out))
    assert len(found) == len(whole) > 100
    for column in range(3):
        assert sorted(row[column] for row in found) == pytest.approx(sorted(row[column] for row in whole), abs=1e-4)


def test_pipes_are_followed(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    video, out = stream_video(tmp_path / "video.ts", num_frames=131), tmp_path / "live.jsonl"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with in_thread(fifo.write_bytes, video.read_bytes()):
        assert _live(re2tal, fifo, *EXACT, checkpoint=checkpoint, out=out, timeout=20) == 0
    assert lines_of(out)[-1]["ended"] == "end of the data"
    command = [
        sys.executable,
        "-m",
        "re2tal",
        "predict",
        "--live",
        "-",
        "--checkpoint",
        checkpoint,
        "--out",
        "-",
        *EXACT,
    ]
    with video.open("rb") as file:
        done = subprocess.run(list(map(str, command)), stdin=file, capture_output=True, text=True, cwd=ROOT, check=True)
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert printed[0]["source"] == "-" and printed[-1]["kind"] == "summary"
    assert detections_in(printed) == detections_in(lines_of(out)) != []


def test_ctrl_c_writes_what_is_found_in_the_frames_so_far(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    video, out = stream_video(tmp_path / "video.mkv", num_frames=110), tmp_path / "live.jsonl"

    def interrupt() -> None:
        while not out.exists() or out.read_bytes().count(b"\n") < 5:
            time.sleep(0.05)
        time.sleep(3)  # all frames are taken
        os.kill(os.getpid(), signal.SIGINT)

    with in_thread(interrupt):
        assert _live(re2tal, video, *EXACT, checkpoint=checkpoint, out=out, timeout=600) == 0
    lines = lines_of(out)
    # A decoder that is not at its end may hold frames back.
    num_frames = lines[-1]["num_frames"]
    assert lines[-1]["ended"] == "SIGINT" and 80 <= num_frames <= 110
    assert lines[-1]["stream_seconds"] == pytest.approx(num_frames / 25)
    assert (
        lines[-1]["num_windows"] == 6
    )  # five of 32 frames, one every 16, and the one that ends with the frames so far
    assert all(line["settled"] for line in lines[1:-1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_by_force_leaves_whole_lines(checkpoint: Path, tmp_path: Path, number: signal.Signals) -> None:
    video, out = stream_video(tmp_path / "video.mkv", num_frames=100), tmp_path / "live.jsonl"
    command = [sys.executable, "-m", "re2tal", "predict", "--live", video, "--checkpoint", checkpoint, "--out", out]
    command += ["--timeout", 600, *EXACT]
    with subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            while process.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < 5):
                time.sleep(0.05)
            process.send_signal(number)
            printed, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    lines = lines_of(out)
    assert len(lines) >= 5 and lines[0]["kind"] == "header"
    if number == signal.SIGKILL:
        assert process.returncode == -9
        return
    assert process.returncode == 0
    assert lines[-1]["kind"] == "summary" and lines[-1]["ended"] == number.name
    assert lines[-1]["num_detections"] == len(lines) - 2 and number.name in printed


def test_damaged_data_is_a_gap_and_what_follows_is_found(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    video, out = stream_video(tmp_path / "video.mkv", num_frames=200), tmp_path / "live.jsonl"
    content = bytearray(video.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = os.urandom(600)
    video.write_bytes(content)
    assert _live(re2tal, video, *EXACT, checkpoint=checkpoint, out=out) == 0
    lines = lines_of(out)
    gaps = [line for line in lines if line["kind"] == "gap"]
    assert gaps and lines[-1]["num_gaps"] == len(gaps)
    assert sum(gap["segment"][1] - gap["segment"][0] for gap in gaps) == pytest.approx(lines[-1]["gap_seconds"])
    assert 0 < lines[-1]["gap_seconds"] < 4 and 150 < lines[-1]["num_frames"] < 200
    assert any(row[0] > gaps[-1]["segment"][1] for row in detections_in(lines))
    assert lines[-1]["stream_seconds"] == pytest.approx(8.0)


def test_times_of_a_variable_frame_rate_are_those_of_the_frames(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    """The second half runs at a quarter of the rate; offline, all of it counts at the mean rate."""
    times = [40 * number for number in range(64)] + [2560 + 160 * number for number in range(64)]
    video, out = make_video(tmp_path / "v.mkv", num_frames=128, times_ms=times), tmp_path / "live.jsonl"
    assert _live(re2tal, video, *EXACT, checkpoint=checkpoint, out=out) == 0
    lines = lines_of(out)
    assert lines[0]["frames_per_second"] == pytest.approx(25) and lines[-1]["num_gaps"] == 0
    assert lines[-1]["stream_seconds"] == pytest.approx(12.8, abs=0.2)
    assert max(row[1] for row in detections_in(lines)) > 11


def test_what_cannot_run_live_is_refused(re2tal: Any, tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    video = stream_video(tmp_path / "video.mkv", num_frames=40)
    out = tmp_path / "live.jsonl"

    def told(source: object, *arguments: object) -> str:
        return _live(re2tal, source, *arguments, checkpoint=checkpoint, out=out)

    whole = "data.sampling={'kind': 'resize', 'num_steps': 16, 'frames_per_step': 2}"
    assert "looks at whole videos, resized to one clip" in told(video, "--cfg-options", whole)
    scores = tmp_path / "scores.json"
    scores.write_text('{"results": {}}')
    assert "a classifier names what a class-agnostic detector finds" in told(video, "--classifier", scores)
    assert "there is no file, pipe or address 'nowhere.mkv'" in told("nowhere.mkv")
    assert "is a folder, expected a file" in told(tmp_path)
    assert "is a device" in told("/dev/null")
    assert "addresses begin with one of rtsp" in told("gopher://127.0.0.1/x")
    indexed = make_video(tmp_path / "indexed.mp4", num_frames=40)
    assert "whose index is written when the recording ends" in told(indexed)
    text = tmp_path / "text.mkv"
    text.write_text("no video" * 100)
    assert "is no readable video" in told(text)
    (tmp_path / "empty.mkv").touch()
    assert "no data came; check what writes it" in told(tmp_path / "empty.mkv")
    assert "written as name=value, got 'udp'" in told(video, "--input-options", "udp")
    assert not out.exists()
    out.write_text("precious")
    assert "is there already, and is kept" in told(video)
    assert out.read_text() == "precious"
    predict = ["predict", "--checkpoint", checkpoint, "--out", out]
    assert "no videos are named" in re2tal(*predict)
    assert "--horizon is of a stream" in re2tal(*predict, video, "--horizon", 3)
    assert "--format csv is written of whole videos" in re2tal(*predict, "--live", video, "--format", "csv")
    assert "no videos beside it" in re2tal(*predict, video, "--live", video)


def test_an_error_on_the_way_keeps_what_was_found(
    re2tal: Any, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, out = stream_video(tmp_path / "video.mkv", num_frames=131), tmp_path / "live.jsonl"
    detect, calls = live_prediction._Run._detect, 0

    def broken(self: Any, window: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise live_prediction.InputError("the network is broken")
        detect(self, window)

    monkeypatch.setattr(live_prediction._Run, "_detect", broken)
    assert "the network is broken" in _live(re2tal, video, *EXACT, checkpoint=checkpoint, out=out)
    lines = lines_of(out)
    assert lines[-1]["ended"] == "error: the network is broken" and lines[-1]["num_windows"] == 4
    assert lines[-1]["num_detections"] == len(lines) - 2 > 0


def test_the_password_of_an_address_is_not_written(re2tal: Any, checkpoint: Path, tmp_path: Path) -> None:
    video, out = stream_video(tmp_path / "video.ts", num_frames=131), tmp_path / "live.jsonl"
    with tcp_server(video.read_bytes()) as address:
        source = f"tcp://me:secret@{address}?timeout=3000000"
        assert _live(re2tal, source, *EXACT, checkpoint=checkpoint, out=out, timeout=1) == 0
    assert lines_of(out)[0]["source"] == f"tcp://me:***@{address}"
    assert "secret" not in out.read_text() + out.with_name("live.jsonl.log").read_text()
