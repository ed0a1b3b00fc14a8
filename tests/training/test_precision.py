"""Which precision suits a device, and the warning about one that does not."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from re2tal.training import chosen_precision, precision
from re2tal.training.precision import autocast, warn_of_slow_precision

from .training_toy import toy_config, toy_trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16"), (False, "none")])
def test_a_processor_computes_in_half_precision_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: str
) -> None:
    monkeypatch.setattr(precision, "_processor_has_bf16", lambda: has_bf16)
    assert chosen_precision("auto", device=CPU) == expected
    assert autocast("auto", device=CPU)._enabled == has_bf16
    assert [chosen_precision(amp, device=CPU) for amp in ("none", "bf16", "fp16")] == ["none", "bf16", "fp16"]


@pytest.mark.parametrize(("major", "expected"), [(9, "bf16"), (8, "bf16"), (7, "fp16"), (6, "none")])
def test_a_gpu_computes_in_what_it_has_units_for(monkeypatch: pytest.MonkeyPatch, major: int, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, 0))
    assert chosen_precision("auto", device=CUDA) == expected


def test_other_devices_compute_in_float32() -> None:
    assert chosen_precision("auto", device=torch.device("mps")) == "none"


@pytest.mark.parametrize(
    ("amp", "has_bf16", "factor", "warns"),
    [("bf16", False, 6.0, True), ("bf16", False, 1.0, False), ("bf16", True, 6.0, False), ("fp16", True, 3.0, True)]
    + [(amp, False, 6.0, False) for amp in ("auto", "none")],
)
def test_a_precision_that_costs_time_is_told_with_what_it_costs(
    monkeypatch: pytest.MonkeyPatch, caplog: Any, amp: Any, has_bf16: bool, factor: float, warns: bool
) -> None:
    monkeypatch.setattr(precision, "_processor_has_bf16", lambda: has_bf16)
    monkeypatch.setattr(precision, "_seconds", lambda amp, device: 1.0 if amp == "none" else factor)
    with caplog.at_level(logging.WARNING, logger="re2tal"):
        warn_of_slow_precision(amp, device=CPU)
    told = [record.getMessage() for record in caplog.records]
    assert bool(told) == warns
    assert not warns or (f"{factor:.1f} times" in told[0] and f"training.amp={amp}" in told[0])


def test_the_time_of_every_precision_can_be_taken() -> None:
    assert all(precision._seconds(amp, device=CPU) > 0 for amp in ("none", "bf16", "fp16"))


def test_training_takes_the_precision_of_its_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(precision, "_processor_has_bf16", lambda: True)
    assert toy_trainer(tmp_path, config=toy_config(amp="auto")).config.amp == "bf16"
    monkeypatch.setattr(precision, "_processor_has_bf16", lambda: False)
    assert toy_trainer(tmp_path, config=toy_config(amp="auto")).config.amp == "none"
