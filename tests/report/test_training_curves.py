"""From `metrics.jsonl` to curves."""

import json
from pathlib import Path
from typing import Any

from re2tal.report.training import RunRecords, read_records, training_curves


def step(number: int, **values: Any) -> dict[str, Any]:
    return {"kind": "step", "epoch": 0, "step": number, "loss": 1.0 / number, **values}


def records_of(*records: dict[str, Any]) -> RunRecords:
    return RunRecords(steps=tuple(records))


def curves_of(records: RunRecords) -> dict[str, Any]:
    return {curve.key: curve for curve in training_curves(records)}


def test_every_kind_of_value_has_its_chart(tmp_path: Path) -> None:
    rates = {"backbone": 1e-5, "decay": 1e-4, "no_decay": 1e-4}
    values = {"gradient_norm": 2.0, "reconstruction_error": 1e-6, "peak_memory_mib": 10.0, "clips_per_second": 3.0}
    lines = [
        step(1, classification_loss=0.5, learning_rate=rates, **values),
        {"kind": "evaluation", "epoch": 0, "average_mAP": 0.5, "mAP@0.5": 0.6},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    curves = curves_of(read_records(path))
    assert set(curves) == {"loss", "map", "rate", "norm", "error", "memory", "speed"}
    assert curves["loss"].lines == {"loss": (1.0,), "classification loss": (0.5,)}
    assert curves["rate"].lines == {"backbone": (1e-5,), "decay and no decay": (1e-4,)}
    assert curves["map"].lines == {"average mAP": (0.5,), "mAP@0.5": (0.6,)}
    assert curves["error"].note == ""


def test_broken_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps(step(1)), "{", "[1]", '{"kind": "other", "epoch": 0}', '{"kind": "step", "epoch": 1}', "null"]
    path.write_bytes("\n".join([*lines, '{"kind": "st']).encode() + b"\xff")
    records = read_records(path)
    assert (len(records.steps), records.num_broken) == (1, 6)


def test_a_left_out_step_is_a_gap() -> None:
    curves = curves_of(records_of(step(1, gradient_norm=1.0), step(2, gradient_norm=None), step(3, gradient_norm=3.0)))
    assert curves["norm"].lines["gradient norm"] == (1.0, None, 3.0)


def test_rates_that_meet_now_and_then_stay_apart() -> None:
    curves = curves_of(
        records_of(
            step(1, learning_rate={"backbone": 0.0, "decay": 0.0}),
            step(2, learning_rate={"backbone": 0.1, "decay": 0.2}),
        )
    )
    assert set(curves["rate"].lines) == {"backbone", "decay"}


def test_exact_streams_are_said_to_be_exact() -> None:
    (error,) = (c for c in training_curves(records_of(step(1, reconstruction_error=0.0))) if c.key == "error")
    assert "bit for bit" in error.note


def test_long_runs_are_drawn_by_means() -> None:
    curve = curves_of(records_of(*(step(number, gradient_norm=float(number % 2)) for number in range(1, 2001))))["norm"]
    assert len(curve.xs) == 500 and set(curve.lines["gradient norm"]) == {0.5} and "mean of 4" in curve.note


def test_no_records_make_no_charts() -> None:
    assert training_curves(RunRecords()) == ()
