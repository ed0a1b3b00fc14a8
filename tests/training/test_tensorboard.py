"""TensorBoard beside `metrics.jsonl`."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from re2tal.training import TensorBoardError, TensorBoardLogger
from tests.training.training_toy import toy_config, toy_trainer


def events_of(folder: Path) -> Any:
    """What TensorBoard reads."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed; pip install 're2tal[tensorboard]'",
    )
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return events


def scores(*values: float) -> Any:
    left = list(values)
    return lambda model: {"average_mAP": left.pop(0), "mAP@0.5": 0.5}


def test_the_board_holds_what_the_records_hold(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, config=toy_config(epochs=2, tensorboard=True))
    trainer.run(scores(0.1, 0.2))
    events = events_of(tmp_path / "tensorboard")
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "step"]
    for tag, values in (
        ("loss/sum", [record["loss"] for record in steps]),
        ("training/gradient_norm", [record["gradient_norm"] for record in steps]),
        ("learning_rate/backbone", [record["learning_rate"]["backbone"] for record in steps]),
    ):
        assert [event.value for event in events.Scalars(tag)] == [pytest.approx(value) for value in values]
        assert [event.step for event in events.Scalars(tag)] == [record["step"] for record in steps]
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("mAP/average")] == [
        (steps[-1]["step"] // 2, 0.1),
        (steps[-1]["step"], 0.2),
    ]
    assert {"mAP/tIoU_0.5"} <= set(events.Tags()["scalars"])


def test_a_run_that_goes_on_hides_what_the_stopped_one_wrote_later(tmp_path: Path) -> None:
    config = toy_config(epochs=3, tensorboard=True)
    toy_trainer(tmp_path, config=config).run(None)
    again = toy_trainer(tmp_path, config=config)
    again.resume(tmp_path / "checkpoint/epoch_0.pth")
    again.run(None)
    steps = [event.step for event in events_of(tmp_path / "tensorboard").Scalars("loss/sum")]
    assert steps == sorted(set(steps)) and len(steps) == 3 * again.loader.steps_per_epoch


def test_pictures_stand_at_the_step_of_the_evaluation(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    board = TensorBoardLogger(tmp_path)
    with board.writing(after_step=7):
        board.write_pictures({"timeline/a": np.zeros((4, 6, 3), np.uint8)})
    (event,) = events_of(tmp_path).Images("timeline/a")
    assert (event.step, event.width, event.height) == (7, 6, 4)


def test_nothing_is_written_unless_it_is_asked_for(tmp_path: Path) -> None:
    toy_trainer(tmp_path, config=toy_config(epochs=2)).run(None)
    assert not (tmp_path / "tensorboard").exists()


def test_a_missing_extra_is_an_error_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TensorBoardError, match=r"pip install 're2tal\[tensorboard\]'"):
        toy_trainer(tmp_path, config=toy_config(tensorboard=True))
