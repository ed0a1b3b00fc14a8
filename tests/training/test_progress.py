"""What a run tells."""

import logging
from pathlib import Path
from typing import Any

import pytest

from re2tal.training import Progress, Records, log, logging_to, tell_counts
from re2tal.training import progress as progress_module
from re2tal.training.progress import RecordsError, format_seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows its only element."""
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: now[0])
    return now


def test_rate_and_time_left_follow_from_the_latest_steps(clock: list[float]) -> None:
    progress = Progress(total_steps=100, clips_per_step=8)
    for step in range(1, 5):
        clock[0] += 2.0
        progress.step(step, losses={"loss": 0.5})
    assert progress.describe(4, losses={"loss": 0.5, "regression_loss": 0.25}) == (
        "loss 0.5000  regression_loss 0.2500  4.00 clips/s  3:12 min left"
    )


def test_breaks_do_not_count(clock: list[float]) -> None:
    progress = Progress(total_steps=10, clips_per_step=1)
    clock[0] += 1000.0
    progress.resume()
    clock[0] += 1.0
    progress.step(1, losses={})
    assert progress.seconds_per_step == 1.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (62, "1:02 min"), (3599.6, "1:00:00 h"), (11100, "3:05:00 h")]
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_the_log_goes_to_the_file_and_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run" / "log.txt"
    with logging_to(path):
        log.info("epoch 1")
        log.debug("details")
    log.info("after the run")
    assert "epoch 1" in path.read_text() and "details" in path.read_text()
    assert "after" not in path.read_text()
    captured = capsys.readouterr()
    assert "epoch 1" in captured.err and "details" not in captured.err
    assert captured.out == ""


def test_other_processes_only_say_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(tmp_path / "log.txt", is_main=False):
        log.info("epoch 1")
        log.warning("no space")
    captured = capsys.readouterr().err
    assert "no space" in captured and "epoch 1" not in captured
    assert not (tmp_path / "log.txt").exists()
    assert not logging.getLogger("re2tal").handlers


def test_records_survive_a_line_that_was_cut_off(tmp_path: Path) -> None:
    records = Records(tmp_path / "metrics.jsonl")
    assert records.read() == []
    first, second = {"kind": "step", "epoch": 0, "step": 2}, {"kind": "step", "epoch": 1, "step": 4}
    records.write(first)
    records.write(second)
    with records.path.open("a") as file:
        file.write('{"kind": "st')
    assert records.read() == [first, second]
    records.keep(epochs=1, step=2)
    records.write(second)
    assert records.read() == [first, second]


def test_records_of_what_comes_again_are_dropped(tmp_path: Path) -> None:
    records = Records(tmp_path / "metrics.jsonl")
    lines: list[dict[str, Any]] = []
    for epoch in range(2):
        lines += [{"kind": "step", "epoch": epoch, "step": 10 * epoch + step} for step in (5, 10)]
        lines.append({"kind": "evaluation", "epoch": epoch, "average_mAP": 0.5})
    for line in lines:
        records.write(line)
    records.keep(epochs=1, step=15)
    assert records.read() == lines[:4]
    records.keep(epochs=1, step=10)
    assert records.read() == lines[:3]
    records.keep(epochs=0, step=7)
    assert records.read() == lines[:1]


def test_counts_are_told_ten_times_with_rate_and_time_left() -> None:
    told: list[str] = []
    tell = tell_counts("videos", tell=told.append)
    for done in range(1, 201):
        tell(done, 200)
    assert len(told) == 10
    assert told[0].startswith("20 of 200 videos  ") and " videos/s  " in told[0] and told[-1].endswith("0 s left")


@pytest.mark.parametrize("line", [b"{", b"3", b"\xff\xfe", b'{"step": 1}', b"[" * 100_000])
def test_damaged_records_are_told_with_their_line(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"kind": "step"}\n' + line + b"\n")
    with pytest.raises(RecordsError, match=r"metrics\.jsonl, line 2 is .*; remove"):
        Records(path).read()
