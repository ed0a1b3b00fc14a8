"""The program behind the figures of sample preparation, and the memory that a training clip takes."""

import json
from importlib import import_module
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def script():  # type: ignore[no-untyped-def]
    return import_module("sample_preparation")


def test_a_clip_is_made_in_the_memory_that_it_takes(script, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "video.mp4"
    script.write_video(path, script.rendered(160, 120, num_frames=1024), fps=30, crf=23)
    found = script.in_process("re2tal", path, num_frames=512, seeds=[0, 1])
    assert 1 <= found["peak_of_clip"] < 1.5
    assert found["cpu_seconds"] > 0


def test_the_alternatives_do_the_same_work(script, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "video.mp4"
    script.write_video(path, script.rendered(64, 48, num_frames=16), fps=30)
    assert script.with_pyav(8)(path, 0).shape == (3, 8, 224, 224)


def test_ratios_are_to_ours(script) -> None:  # type: ignore[no-untyped-def]
    rows = [
        {"size": "8x6", "mib": 1.0, "way": way, "cpu_seconds": seconds, "peak_of_clip": 1.0}
        for way, seconds in zip(script.WAYS, (2.0, 9.0, 11.0), strict=True)
    ]
    assert "| 9.00 | 4.5 |" in script.table(json.loads(json.dumps(rows)))
