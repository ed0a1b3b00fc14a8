"""The check as a whole: every part in a process of its own, and nothing that has been found is lost."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from re2tal.experiments.device_check import ON_CPU, DeviceCheckError, check_device, has_passed, runner
from re2tal.experiments.device_check import parts as all_parts
from re2tal.experiments.device_check.parts import Part


def part(name: str, *, share: float = 1.0, **options: str) -> Part:
    return Part(
        name=name,
        kind="fake",
        function=f"tests.device_check.fake_parts:{name}",
        options=options,
        share=share,
    )


@pytest.mark.slow  # five processes, each of which imports PyTorch
def test_a_part_that_ends_badly_costs_no_other_one(tmp_path: Path) -> None:
    told: list[str] = []
    parts = [
        part("is_killed"),
        part("runs_out_of_memory"),
        part("fails"),
        part("hangs", share=0.0),
        part("finds", what="something"),
    ]
    out = tmp_path / "new/report.json"
    report = check_device("cpu", minutes=30, out=out, sizes=ON_CPU, parts=parts, tell=told.append)
    assert json.loads(out.read_text()) == report
    killed, without_memory, failed, hung, found = report["parts"]
    assert killed["state"] == "failed" and killed["rows"] == [{"found": "before it was killed"}]
    assert "SIGKILL" in killed["error"] and "memory is short" in killed["error"]
    assert without_memory["state"] == "out of memory" and without_memory["rows"] == [{"found": "out of memory"}]
    assert failed["state"] == "failed" and failed["rows"] == [{"found": "before it failed"}]
    assert failed["error"] == "RuntimeError: CUDA error: an illegal memory access was encountered"
    assert hung["state"] == "out of time" and not hung["rows"]
    assert found["state"] == "done" and found["rows"] == [{"found": "something"}]
    assert not has_passed(report)
    assert sum("out of time" in line for line in report["verdict"]) == 1
    assert len(told) == 2 * len(parts)


def test_what_there_is_no_time_for_is_skipped(tmp_path: Path) -> None:
    report = check_device("cpu", minutes=0.05, out=tmp_path / "report.json", parts=[part("finds", what="nothing")])
    (skipped,) = report["parts"]
    assert skipped["state"] == "skipped" and not skipped["rows"]
    assert report["verdict"][-1] == "finds: skipped, no time was left" and has_passed(report)


def test_a_missing_gpu_is_named_with_what_to_do(tmp_path: Path, re2tal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = re2tal("check-device", "--device", "cuda", "--out", tmp_path / "report.json")
    assert "no CUDA device that torch can use" in message and "--device cpu" in message
    assert not list(tmp_path.iterdir())


def test_time_and_place_are_looked_at_first(tmp_path: Path) -> None:
    with pytest.raises(DeviceCheckError, match="minutes must be above 0, got 0"):
        check_device("cpu", minutes=0, out=tmp_path / "report.json")
    with pytest.raises(ValueError, match="is a folder"):
        check_device("cpu", minutes=1, out=tmp_path)


def test_the_command_writes_report_and_picture_and_tells_the_verdict(
    tmp_path: Path, re2tal: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [part for part in all_parts.PARTS if part.name == "exactness, ViT-B"]
    monkeypatch.setattr(runner, "PARTS", chosen)
    out = tmp_path / "report.json"
    assert re2tal("check-device", "--device", "cpu", "--minutes", 20, "--out", out) == 0
    said = capsys.readouterr().out
    assert "streams came back bit for bit in 3 of 3 cases" in said
    assert f"Results: {out} {out.with_suffix('.svg')}" in said
    assert json.loads(out.read_text())["parts"][0]["state"] == "done"
    ElementTree.fromstring(out.with_suffix(".svg").read_text())


@pytest.mark.slow  # ten processes, each of which imports PyTorch
def test_all_parts_run_one_after_the_other(tmp_path: Path) -> None:
    report = check_device("cpu", minutes=30, out=tmp_path / "report.json", sizes=ON_CPU)
    assert [part["state"] for part in report["parts"]] == ["done"] * len(all_parts.PARTS), report["verdict"]
    assert has_passed(report)
    assert (tmp_path / "report.json").stat().st_size < 200_000
