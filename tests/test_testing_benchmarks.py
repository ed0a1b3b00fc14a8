"""The programs that measure a test pass, and what overlapping windows have in common."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture(scope="module")
def testing() -> ModuleType:
    return import_module("testing")


@pytest.fixture(scope="module")
def windows() -> ModuleType:
    return import_module("window_features")


def run(program: ModuleType, *arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    monkeypatch.setattr("sys.argv", ["program", *arguments])
    program.main()
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


@pytest.fixture(autouse=True)
def _same_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_pass_over_rendered_videos_is_read_and_computed_once(
    testing: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("timm")
    arguments = ("--data", "demo", "--videos", "2", "--overlaps", "0.75", "--workers", "0", "2", "--json")
    # The path of the networks' file is relative to the checkout, and so is that of ucf_mini, which is not read.
    result = run(testing, *arguments, "--clips", "3", "--repeats", "1", monkeypatch=monkeypatch, capsys=capsys)
    assert result["data"] == "demo"
    rows = {(row["way"], row["workers"]): row for row in result["reading"]}
    assert len(rows) == 4
    assert rows["in runs", 0]["twice"] == 0 and rows["in runs", 0]["opened"] == 2
    # Behind its last wanted frame a clip's frames are all decoded, so that a run of clips may decode some more frames.
    distinct = rows["one by one", 0]["decoded"] - rows["one by one", 0]["twice"]
    assert distinct <= rows["in runs", 0]["decoded"] < 1.05 * distinct
    assert rows["one by one", 2]["twice"] > rows["in runs", 2]["twice"]
    (row,) = result["features"]
    assert (row["clips"], row["pieces"]) == (3, 24)
    assert row["computed"] < 24 and row["score_difference"] < 1e-5


def test_steps_that_agree_are_found(windows: ModuleType) -> None:
    first = torch.arange(1.0, 9.0)[None].repeat(2, 1)
    second = torch.cat([first[:, 2:], torch.zeros(2, 2)], dim=1)
    assert windows.agreement(first, second, shift=2) == [True] * 6
    second[1, 0] += 1e-3
    assert windows.agreement(first, second, shift=2) == [False] + [True] * 5
    assert windows.agreement(first, second, shift=2, tolerance=1e-2) == [True] * 6


def test_the_longest_run_counts(windows: ModuleType) -> None:
    assert windows.run_of_same([True, False, True, True, False]) == (2, 4)
    assert windows.run_of_same([True, True]) == (0, 2)
    assert windows.run_of_same([False]) == windows.run_of_same([]) == (0, 0)


def test_what_is_left_to_compute(windows: ModuleType) -> None:
    assert windows.to_compute(window=1024, shift=512, reach=0) == 0.5
    assert windows.to_compute(window=1024, shift=512, reach=128) == 1.0


def test_a_small_network_has_nothing_in_common(
    windows: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(__file__).parents[1] / "configs/ucf_mini/swin.py"
    result = run(windows, "--configs", str(config), "--json", monkeypatch=monkeypatch, capsys=capsys)
    assert result["overlap"] == 0.5
    (row,) = result["rows"]
    assert (row["shared_steps"], row["same"], row["to_compute"]) == (32, 0, None)
