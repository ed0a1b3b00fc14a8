"""What is told of a report: verdict, tables, picture, at the size that a GPU's has."""

import json
from typing import Any
from xml.etree import ElementTree

from re2tal.experiments.device_check import Sizes, has_passed, tables_of, verdict_of
from re2tal.experiments.device_check.picture import draw_report

NAME = "Accelerator <of> 24 & more"


def step(network: str, strategy: str, frames: int, *, mib: float, seconds: float) -> dict[str, Any]:
    row = {"network": network, "strategy": strategy, "frames": frames, "pixels": 224, "precision": "bf16"}
    return row | {"step_mib": mib, "reserved_mib": mib, "step_s": seconds}


def report() -> dict[str, Any]:
    sizes = Sizes()
    steps = [
        step(network, strategy, frames, mib=frames * (2 if strategy == "reversible" else 20), seconds=frames / 100)
        for network in ("Swin-T", "SlowFast-101")
        for frames in sizes.frames
        for strategy in sizes.strategies
    ]
    steps[-1] = {
        "network": "SlowFast-101",
        "strategy": "plain",
        "frames": 1024,
        "pixels": 224,
        "state": "out of memory",
    }
    exact = {"network": "Swin-T", "precision": "float32", "reconstruction_error": 0.0, "to_stored": 1e-7}
    exact |= {"to_float64": 2e-6, "stored_to_float64": 2e-6, "passed": True}
    longest = [
        {"network": "Swin-T", "strategy": name, "frames": frames, "ended_by": end, "pixels": 224, "tried": []}
        for name, frames, end in (("plain", 512, "out of memory"), ("reversible", 8192, "time"))
    ]
    planned = {"network": "Swin-T", "strategy": "plain", "frames": 64, "planned_tensors_mib": 90, "planned_mib": 110.0}
    planned |= {"tensors_mib": 100.0, "reserved_mib": 100.0, "step_s": 0.5, "error_of_tensors": -0.1, "error": 0.1}
    kinds = {"machine": [{"name": NAME, "device": "cuda", "memory_mib": 24576, "torch": "2.14"}], "exactness": [exact]}
    kinds |= {"steps": steps, "longest": longest, "planner": [planned]}
    parts = [
        {"name": kind, "kind": kind, "state": "done", "seconds": 1.0, "error": "", "rows": rows}
        for kind, rows in kinds.items()
    ]
    return {"schema": 1, "device": "cuda", "parts": parts}


def test_the_verdict_has_a_line_for_each_thing() -> None:
    machine, streams, gradients, swin, slowfast, longest, planner = verdict_of(report())
    assert machine == f"measured on {NAME} (cuda, 24 GiB), torch 2.14"
    assert streams == "streams came back bit for bit in 1 of 1 cases"
    assert gradients.endswith("the worst in float32: 2.0e-06, of plain autograd 2.0e-06 (Swin-T)")
    assert "Swin-T, 1024 frames: a reversible step takes 0.10 of the memory and 1.00 of the time of plain" in swin
    assert slowfast.startswith("SlowFast-101, 512 frames:")
    assert longest.endswith("224 pixels: plain 512, reversible 8192 and more")
    assert planner == "the planner was off by +10.0% to +10.0% of all that a process holds, in 1 whole steps"
    assert has_passed(report())


def test_what_was_not_done_is_told() -> None:
    told = report()
    told["parts"][3] |= {"state": "out of time", "error": "stopped after 90 s"}
    assert verdict_of(told)[-1] == "longest: out of time, stopped after 90 s"
    assert has_passed(told)
    told["parts"][3]["state"] = "failed"
    assert not has_passed(told)


def test_tables_hold_every_case() -> None:
    exactness, steps, planner = (rows for _, rows in tables_of(report()))
    assert len(exactness) == 2 and exactness[1][-1] == "yes"
    assert len(steps) == 1 + 2 * len(Sizes().frames) and steps[0][2:] == list(Sizes().strategies)
    assert steps[1][2] == "640 MiB, 320 ms" and "out of memory" in steps[-1]
    assert planner[1][3:] == ["90 MiB", "100 MiB", "110 MiB", "100 MiB", "0.50"]


def test_the_picture_is_svg_by_itself() -> None:
    root = ElementTree.fromstring(draw_report(report()))
    space = "{http://www.w3.org/2000/svg}"
    panels = root.findall(f"{space}svg")
    assert len(panels) == 4
    assert all(len(panel.findall(f"{space}path[@d]")) > len(Sizes().strategies) for panel in panels)
    texts = [text.text for text in root.findall(f"{space}text")]
    assert f"A training step on {NAME}, batch 1" in texts and "offloaded" in texts
    assert len(ElementTree.fromstring(draw_report({"device": "cpu", "parts": []}))) > 0


def test_a_full_report_is_small() -> None:
    assert len(json.dumps(report(), indent=1)) < 100_000


def test_a_step_that_failed_is_no_success_and_one_that_did_not_fit_is() -> None:
    told = report()
    assert any(row.get("state") == "out of memory" for row in told["parts"][2]["rows"]) and has_passed(told)
    told["parts"][2]["rows"][-1]["state"] = "failed: too many elements"
    assert not has_passed(told)
