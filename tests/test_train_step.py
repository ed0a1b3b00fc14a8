"""The programs that measure one training step."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

REPOSITORY = Path(__file__).parents[1]


def run(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict:
    monkeypatch.setattr("sys.argv", [name, *arguments, "--json", "--threads", "1"])
    import_module(name.removesuffix(".py")).main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("backbone", ["swin_tiny", "slowfast101"])
def test_reversible_gradients_of_the_full_networks_are_those_of_plain_autograd(
    backbone: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--backbone", backbone, "--frames", "8", "--size", "48", "--repeats", "0", "--compare"]
    result = run("train_step.py", arguments, monkeypatch, capsys)
    assert result["gradient_error"]["worst"] <= 1e-5
    assert result["reconstruction_error"] == 0
    exact = result["gradient_error_float64"]
    assert exact["reversible"]["worst"] <= 1.5 * exact["store"]["worst"]


@pytest.mark.parametrize(
    ("mode", "tiles"), [("plain", "auto"), ("checkpoint", "auto"), ("reversible", "off"), ("auto", "auto")]
)
def test_every_mode_is_measured(mode: str, tiles: str) -> None:
    # In a process of its own: in another, memory that was freed before would be used again and not be seen.
    arguments = ["--mode", mode, "--tiles", tiles, "--frames", "4", "--size", "32", "--repeats", "0", "--json"]
    command = [sys.executable, REPOSITORY / "benchmarks" / "train_step.py", *arguments, "--depths", "1", "1", "2", "1"]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert result["activation_mib"] >= result["parameter_gradients_mib"] > 0
    assert (result["mode"], result["tiles"], result["depths"]) == (mode, tiles, [1, 1, 2, 1])


@pytest.mark.parametrize("mode", ["selective", "offload", "auto"])
def test_every_mode_has_the_gradients_of_plain_autograd(
    mode: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--mode", mode, "--error", "--share", "0.5", "--size", "32", "--depths", "1", "1", "2", "1"]
    assert run("train_step.py", arguments, monkeypatch, capsys)["float64"]["worst"] < 1e-10


class Products(TorchDispatchMode):
    """Counts the matrix products of linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
        return func(*args, **(kwargs or {}))


def test_selective_checkpointing_computes_no_product_again() -> None:
    program, counts = import_module("train_step"), {}
    for mode in ("plain", "selective", "checkpoint"):
        model = program.build("swin_tiny", mode, depths=[1, 1, 2, 1])
        with Products() as products:
            program.step(model, torch.zeros(1, 3, 4, 32, 32, dtype=torch.uint8), torch.float32, mode)
        counts[mode] = products.count
    assert counts["selective"] == counts["plain"] < counts["checkpoint"]


def test_a_forward_pass_without_gradients_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--inference", "--frames", "4", "--size", "32", "--repeats", "1", "--depths", "1", "1", "2", "1"]
    result = run("train_step.py", arguments, monkeypatch, capsys)
    assert result["inference"] is True and result["parameter_gradients_mib"] == 0
    assert result["forward_s"] == result["step_s"]


def test_comparing_needs_a_reversible_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("train_step.py", ["--mode", "plain", "--compare"], monkeypatch, capsys)
    assert "--compare needs --mode reversible" in capsys.readouterr().err


@pytest.mark.parametrize("tiles", ["many", "0", "-4"])
def test_a_wrong_size_of_cells_is_answered_with_value_and_rule(
    tiles: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("train_step.py", [f"--tiles={tiles}"], monkeypatch, capsys)
    assert f"must be auto, off, or a number of MiB above 0, got {tiles!r}" in capsys.readouterr().err


def test_a_whole_step_of_an_experiment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    config = REPOSITORY / "configs/re2tal/e2e_thumos_re2tal_actionformer_swin_tiny.py"
    options = ["data.sampling.num_steps=32", "data.crop_size=(32,32)", "pyramid.max_steps=32", "pyramid.channels=32"]
    result = run("experiment_step.py", [str(config), "--cfg-options", *options], monkeypatch, capsys)
    assert result["frames"] == 64
    assert result["peak_mib"] > result["libraries_mib"] > 0


def test_a_missing_config_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("experiment_step.py", ["missing.py"], monkeypatch, capsys)
    assert "there is no config file missing.py; give the path" in capsys.readouterr().err
