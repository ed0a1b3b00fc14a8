"""The parts of a check, in small: what they find, and that they would see what is wrong."""

import time
from pathlib import Path

import pytest
import torch

from re2tal.experiments.device_check import ON_CPU, has_passed, sizes_for, verdict_of
from re2tal.experiments.device_check import exactness as exactness_module
from re2tal.experiments.device_check.context import PartContext, attempted
from re2tal.experiments.device_check.data_parts import measure_decoding, run_demo_epoch
from re2tal.experiments.device_check.exactness import check_exactness
from re2tal.experiments.device_check.machine import describe_machine
from re2tal.experiments.device_check.measuring import PeakMemory, gradient_errors
from re2tal.experiments.device_check.planner import check_planner
from re2tal.experiments.device_check.steps import measure_longest_clip, measure_steps
from tests.devices import DEVICES


@pytest.fixture(params=DEVICES)
def context(request: pytest.FixtureRequest, tmp_path: Path) -> PartContext:
    return PartContext(
        device=torch.device(request.param), sizes=ON_CPU, deadline=time.time() + 600, path=tmp_path / "found.json"
    )


def in_report(context: PartContext, kind: str) -> dict:
    part = {"name": kind, "kind": kind, "state": "done", "error": "", "rows": context.rows}
    return {"device": "cpu", "parts": [part]}


@pytest.mark.parametrize("network", ["Swin-T", "SlowFast-101", "ViT-B"])
def test_streams_are_exact_and_gradients_those_of_plain_autograd(context: PartContext, network: str) -> None:
    check_exactness(context, network=network)
    assert [row["precision"] for row in context.rows] == ["float32", "bf16", "float64"]
    assert all(row["passed"] and row["reconstruction_error"] == 0 for row in context.rows)
    single, bf16, double = (row["to_float64"] for row in context.rows)
    assert double < 1e-12 < single < 1e-4 < bf16 < 1


def test_in_fp16_the_loss_is_scaled(context: PartContext) -> None:
    context.sizes = ON_CPU.model_copy(update={"precisions": ("fp16",)})
    check_exactness(context, network="Swin-T")
    assert context.rows[0]["passed"] and 1e-6 < context.rows[0]["to_float64"] < 1e-2


def test_lost_streams_and_wrong_gradients_are_seen(context: PartContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exactness_module, "reconstruction_error", lambda model, warn_above: 1e-3)
    check_exactness(context, network="ViT-B")
    report = in_report(context, "exactness")
    assert not has_passed(report)
    assert "bit for bit in 0 of 3 cases, NOT for ViT-B, reduced in float32" in verdict_of(report)[1]
    monkeypatch.undo()
    original = exactness_module.gradients

    def wrong(model, *inputs, strategy, **options):  # type: ignore[no-untyped-def]
        found, used = original(model, *inputs, strategy=strategy, **options)
        return {name: grad * (1.5 if strategy == "reversible" else 1) for name, grad in found.items()}, used

    monkeypatch.setattr(exactness_module, "gradients", wrong)
    context.rows.clear()
    check_exactness(context, network="ViT-B")
    assert not any(row["passed"] for row in context.rows)
    assert "autograd in 0 of 3 cases, NOT for" in verdict_of(in_report(context, "exactness"))[2]


def test_a_step_of_every_strategy_is_measured_while_there_is_time(context: PartContext) -> None:
    sizes = context.sizes = ON_CPU.model_copy(update={"frames": (4, 8), "pixels": 32})
    measure_steps(context, network="Swin-T")
    cases = [(row["frames"], row["strategy"]) for row in context.rows]
    assert cases == [(frames, strategy) for frames in sizes.frames for strategy in sizes.strategies]
    assert all(row["step_mib"] > 0 and row["step_s"] > 0 for row in context.rows)
    context.rows.clear()
    context.deadline = time.time()
    measure_steps(context, network="Swin-T")
    assert not context.rows


def test_the_longest_clip_is_the_last_that_fits(context: PartContext) -> None:
    context.sizes = ON_CPU.model_copy(update={"memory_mib": 8, "longest": (4, 16), "pixels": 32})
    measure_longest_clip(context, network="Swin-T")
    assert [row["strategy"] for row in context.rows] == ["plain", "checkpointed", "reversible"]
    for row in context.rows:
        fitting = [tried["frames"] for tried in row["tried"] if tried["fits"]]
        assert row["frames"] == max(fitting)
        assert all(tried["frames"] > row["frames"] for tried in row["tried"] if not tried["fits"])
        assert row["ended_by"] in ("out of memory", "the longest that is tried")
    assert context.rows[0]["ended_by"] == "out of memory"


def test_whole_steps_are_planned_and_measured(context: PartContext) -> None:
    check_planner(context)
    cases = [(row["network"], row["strategy"]) for row in context.rows]
    assert cases == [("Swin-T, reduced", "reversible")]
    # On a GPU nobody knows yet.
    assert all(abs(row["error_of_tensors"]) < (0.2 if context.device.type == "cpu" else 1) for row in context.rows)


def test_a_demo_s_epoch_and_decoding_reach_the_device(context: PartContext) -> None:
    run_demo_epoch(context)
    (epoch,) = context.rows
    assert epoch["reconstruction_error"] == 0 and 0 <= epoch["average_mAP"] <= 1
    context.rows.clear()
    measure_decoding(context)
    assert context.rows[0]["loader_processes"] == 0
    assert all(row["frames"] % (2 * ON_CPU.decoded_steps) == 0 < row["frames_per_second"] for row in context.rows)


def test_a_machine_is_described(context: PartContext) -> None:
    describe_machine(context)
    (row,) = context.rows
    assert row["name"] and row["matmul_tflops_none"] > 0 and row["copy_to_device_gib_s"] > 0


@pytest.mark.parametrize("device", DEVICES)
def test_the_fullest_moment_is_seen(device: str) -> None:
    kept = torch.ones(2**20, dtype=torch.uint8, device=device)
    with PeakMemory(torch.device(device)) as peak:
        first = torch.ones(3 * 2**20, dtype=torch.uint8, device=device)
        del first, kept
        second = torch.ones(2**20, dtype=torch.uint8, device=device)
    assert peak.allocated == 3 * 2**20
    assert second.numel() == 2**20


def test_a_gradient_that_vanishes_is_no_error() -> None:
    reference = {"weight": torch.tensor([3.0, 4.0]), "bias": torch.tensor([1e-9])}
    ours = {"weight": torch.tensor([3.0, 4.0]), "bias": torch.tensor([2e-9])}
    assert gradient_errors(ours, reference)["worst"] == pytest.approx(1.0)
    assert gradient_errors(ours, reference, floor=1e-4)["worst"] < 1e-5


def test_sizes_are_those_of_the_device() -> None:
    assert sizes_for(torch.device("cuda")).memory_mib is None
    assert sizes_for(torch.device("cpu")).reduced and not sizes_for(torch.device("cuda")).reduced


def test_what_a_kernel_cannot_do_is_a_result_and_what_the_program_cannot_is_an_error() -> None:
    cpu = torch.device("cpu")
    assert attempted(lambda: 3, device=cpu) == (3, "")
    assert attempted(lambda: torch.empty(2**60), device=cpu) == (None, "out of memory")
    assert attempted(lambda: torch.ones(2) @ torch.ones(3), device=cpu)[1].startswith(
        "failed: inconsistent tensor size"
    )
    with pytest.raises(ZeroDivisionError):
        attempted(lambda: 1 / 0, device=cpu)
