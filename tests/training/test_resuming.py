"""Runs that are stopped anywhere and gone on with, in one process: the same end, bit for bit."""

import json
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from re2tal.common.types import Batch
from re2tal.training import (
    CheckpointError,
    RunFolder,
    Stopped,
    Trainer,
    load_checkpoint,
    newest_good,
    save_checkpoint,
    stopping,
)
from tests.training.training_toy import ToyDetector, toy_config, toy_trainer

CLIPS = 22
"""Five steps an epoch, of which the log's windows of two leave one over."""


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small files are written here, and no power is lost."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


class WithDropout(ToyDetector):
    def __init__(self) -> None:
        super().__init__(dropout=0.5)


class Killed(BaseException):
    """Nothing in the package catches it."""


def make(folder: Path, model: Callable[[], nn.Module] = WithDropout, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {"epochs": 2, "log_every": 2, "checkpoint_minutes": 0, "keep_checkpoints": 2}
    return toy_trainer(folder, config=toy_config(**(settings | changes)), make=model, clips=CLIPS)


def score(model: nn.Module) -> dict[str, float]:
    """Of the weights, so that epochs differ."""
    return {"average_mAP": float(model.head.weight.sum())}


def go_on(folder: Path, evaluate: Callable[[nn.Module], dict[str, float]] = score, **changes: Any) -> Trainer:
    """What `--resume auto` does."""
    trainer = make(folder, **changes)
    torch.manual_seed(99)
    path = newest_good(trainer.folder)
    if path is not None:
        trainer.resume(path)
    else:
        torch.manual_seed(7)
    trainer.run(evaluate)
    return trainer


def stop_in(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, passes: int) -> None:
    """Make the `passes`-th call of a function the end of the process."""
    original, left = getattr(owner, name), [passes]

    def wrapped(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, wrapped)


def state_of(folder: Path) -> tuple[Any, ...]:
    """Everything that a finished run leaves."""
    run = RunFolder(folder)
    contents = [load_checkpoint(path) for path in (run.epoch(1), run.best)]
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    records = [{key: value for key, value in line.items() if key != "clips_per_second"} for line in lines]
    return sorted(path.name for path in run.checkpoints.iterdir()), [plain(content) for content in contents], records


def plain(value: Any) -> Any:
    """Tensors as their bytes, so that == compares bit for bit."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(
    ("changes", "passes"),
    [({}, 1), ({}, 4), ({}, 8), ({"amp": "fp16"}, 4), ({"accumulate": 2, "num_workers": 2}, 8)],
    ids=str,
)
def test_a_run_that_ends_in_any_step_comes_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], passes: int
) -> None:
    go_on(tmp_path / "alone", **changes)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_in(patch, Trainer, "step", passes=passes)
        go_on(tmp_path / "killed", **changes)
    go_on(tmp_path / "killed", **changes)
    assert state_of(tmp_path / "killed") == state_of(tmp_path / "alone")


@pytest.mark.parametrize(
    ("name", "passes"),
    [("_record", 2), ("_record", 3), ("_record", 4), ("_evaluate", 1), ("_save_last", 2), ("_save_epoch", 2)],
)
def test_a_run_that_ends_between_steps_comes_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, passes: int
) -> None:
    # The fourth record is that of an evaluation, whose best weights are saved by then.
    go_on(tmp_path / "alone")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_in(patch, Trainer, name, passes=passes)
        go_on(tmp_path / "killed")
    go_on(tmp_path / "killed")
    assert state_of(tmp_path / "killed") == state_of(tmp_path / "alone")


def test_how_often_states_are_saved_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on(tmp_path / "often")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_in(patch, Trainer, "step", passes=9)
        go_on(tmp_path / "seldom", checkpoint_minutes=60)
    assert newest_good(RunFolder(tmp_path / "seldom")) == RunFolder(tmp_path / "seldom").epoch(0)
    go_on(tmp_path / "seldom", checkpoint_minutes=60)
    assert state_of(tmp_path / "seldom") == state_of(tmp_path / "often")


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch, *, steps: int) -> RunFolder:
    """The folder of a run that was killed in the step after `steps`."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_in(patch, Trainer, "step", passes=steps + 1)
        go_on(folder)
    return RunFolder(folder)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace(path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(3)}}, path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_imported_weights(path: Path) -> None:
    save_checkpoint(path, {"weights": {}})


@pytest.mark.parametrize("damage", [cut, change, replace, empty, of_imported_weights], ids=lambda f: f.__name__)
def test_a_damaged_file_is_named_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    go_on(tmp_path / "alone")
    folder = interrupted(tmp_path / "killed", monkeypatch, steps=4)
    damage(folder.last)
    assert newest_good(folder) == folder.previous
    assert f"passed over: {folder.last} " in caplog.text
    go_on(tmp_path / "killed")
    (tmp_path / "killed/checkpoint/last.pth.before").unlink()
    assert state_of(tmp_path / "killed") == state_of(tmp_path / "alone")


def test_a_folder_of_damaged_files_alone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = interrupted(tmp_path, monkeypatch, steps=3)
    cut(folder.last)
    change(folder.previous)
    with pytest.raises(CheckpointError, match=r"(?s)can be resumed from; remove them.*last\.pth.*previous\.pth"):
        newest_good(folder)


def test_a_state_within_another_epoch_length_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = interrupted(tmp_path, monkeypatch, steps=3)
    with pytest.raises(CheckpointError, match="after 3 of the 5 steps of epoch 0, and an epoch now has 11"):
        make(tmp_path, batch_size=2).resume(folder.last)


def test_a_new_run_in_an_old_folder_is_never_taken_for_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_in(patch, Trainer, "step", passes=1)
        make(tmp_path).run(score)
    assert newest_good(RunFolder(tmp_path)) is None
    assert (tmp_path / "checkpoint/epoch_1.pth.before").exists()


def test_what_a_killed_process_began_to_write_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "checkpoint/.last.pth.123.tmp"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    go_on(tmp_path)
    assert not leftover.exists()


class Signalled(WithDropout):
    """Gets signals in its third step."""

    def __init__(self, *signals: int) -> None:
        super().__init__()
        self.signals = signals
        self.steps = 0

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        self.steps += 1
        if self.steps == 3:
            for number in self.signals:
                # As of Ctrl-C in a terminal and of `scancel`: loader processes get it, too, and not from their parent.
                if children := [str(child.pid) for child in multiprocessing.active_children()]:
                    subprocess.run(["kill", f"-{int(number)}", *children], check=True)
                signal.raise_signal(number)
        return super().forward(batch)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_after_its_step_with_everything_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int, status: int
) -> None:
    settings: dict[str, Any] = {"checkpoint_minutes": 60, "num_workers": 2}
    go_on(tmp_path / "alone", **settings)
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped:
        go_on(tmp_path / "stopped", model=lambda: Signalled(number, number), **settings)
    assert stopped.value.code == status
    assert signal.getsignal(number) is before
    assert "after step 3, which is saved; go on with --resume auto" in caplog.text
    assert load_checkpoint(RunFolder(tmp_path / "stopped").last)["position"]["steps"] == 3
    go_on(tmp_path / "stopped", **settings)
    assert state_of(tmp_path / "stopped") == state_of(tmp_path / "alone")


def test_a_second_signal_ends_the_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_SAME_REQUEST_SECONDS", -1.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            go_on(tmp_path, model=lambda: Signalled(signal.SIGINT, signal.SIGINT), checkpoint_minutes=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert newest_good(RunFolder(tmp_path)) is None


def test_a_signal_in_an_evaluation_ends_it_at_once(tmp_path: Path) -> None:
    def evaluate(model: nn.Module) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("evaluated to the end")

    go_on(tmp_path / "alone")
    with pytest.raises(Stopped):
        go_on(tmp_path / "stopped", evaluate)
    go_on(tmp_path / "stopped")
    assert state_of(tmp_path / "stopped") == state_of(tmp_path / "alone")
