"""The benchmark of tools that train, adapt or convert a rewired network: its judgement, its table, and quick rows."""

import sys
import warnings
from importlib import import_module
from types import ModuleType

import pytest
import torch
from torch import nn


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return import_module("works_with")


def case(benchmark: ModuleType, run: object, network: str = "ResNet") -> object:
    return benchmark.Case("a tool", "torch", network, run)


def judged(benchmark: ModuleType, run: object, *, self_check: bool = False) -> object:
    made = case(benchmark, run)
    runs = {kind: benchmark.run(made, kind, self_check=self_check) for kind in benchmark.KINDS}
    return benchmark.judge(made, runs, version="1")


def test_what_a_rewired_network_does_alone_is_right(benchmark: ModuleType) -> None:
    row = benchmark.measure(benchmark.find_case("no tool, ResNet"), self_check=False)
    assert row.outcome == "right", row.note
    assert row.gradient_error < 1e-8 and row.saved_ratio < 1


@pytest.mark.parametrize("tool", ["gradient accumulation", "deepcopy", "torch.func.functional_call"])
def test_a_tool_shows_no_difference_where_nothing_is_rewired(benchmark: ModuleType, tool: str) -> None:
    pytest.importorskip("timm")
    row = benchmark.measure(benchmark.find_case(f"{tool}, ViT"), self_check=True)
    assert (row.outcome, row.gradient_error, row.saved_ratio) == ("right", 0, 1), row.note


def test_other_numbers_are_wrong(benchmark: ModuleType) -> None:
    def scenario(setting: object) -> object:
        setting.recording.put("losses", "0", 1.25 if setting.kind == "original" else 1.0)
        return setting.recording

    row = judged(benchmark, scenario)
    assert (row.outcome, row.note) == ("WRONG", "alpha=1, beta=0: losses, 0 off by 2.5e-01")


def test_an_error_that_names_no_module_is_wrong(benchmark: ModuleType) -> None:
    def scenario(setting: object) -> object:
        if setting.kind != "plain":
            raise RuntimeError("tensors do not match")
        return setting.recording

    row = judged(benchmark, scenario)
    assert row.outcome == "WRONG" and "RuntimeError: tensors do not match" in row.note


def test_an_error_of_ours_that_says_what_to_do_is_a_refusal(benchmark: ModuleType) -> None:
    def scenario(setting: object) -> object:
        model = setting.rewired(setting.model())
        if setting.kind != "plain":
            setting.rewired(model)  # is rewired already; unrewire it first
        return setting.recording

    assert judged(benchmark, scenario).outcome == "refused"


def test_what_fails_without_rewiring_is_left_out(benchmark: ModuleType) -> None:
    def scenario(setting: object) -> object:
        raise TypeError("no such thing")

    row = judged(benchmark, scenario)
    assert row.outcome == "left out" and "no such thing" in row.note


def test_a_warning_of_plain_autograd_makes_a_row_stored(benchmark: ModuleType) -> None:
    def scenario(setting: object) -> object:
        if setting.kind == "reversible":
            warnings.warn("blocks.0 falls back to plain autograd", UserWarning, stacklevel=1)
        return setting.recording

    row = judged(benchmark, scenario)
    assert row.outcome == "stored" and "blocks.0" in row.note


def test_a_gradient_that_is_missing_is_wrong(benchmark: ModuleType) -> None:
    def scenario(setting: object) -> object:
        model = nn.Linear(2, 2)
        model(torch.ones(1, 2)).sum().backward()
        if setting.kind == "reversible":
            model.bias.grad = None
        setting.recording.put_gradients(0, model)
        return setting.recording

    row = judged(benchmark, scenario)
    assert (row.outcome, row.note) == ("WRONG", "rewired: gradients of step 0, bias off by 1.0e+00")


def test_a_combination_in_a_process_of_its_own_gives_a_row(benchmark: ModuleType) -> None:
    found = benchmark.apart(benchmark.find_case("no tool, ResNet"), self_check=True, seconds=120)
    assert found.outcome == "right"
    lines = benchmark.table([found], markdown=True).splitlines()
    assert lines[0].startswith("| tool | version |") and lines[2].startswith("| no tool |")
    assert "1 right" in benchmark.summary([found])


def test_a_wrong_name_is_told(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["works_with.py", "--one", "nothing"])
    with pytest.raises(SystemExit):
        benchmark.main()
