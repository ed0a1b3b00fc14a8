"""`stress/bad_videos.py` in small: every bad file ends in right frames or a typed error; and what is not is counted."""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.video.videos import decode_in_order, make_video

KINDS = ("wrong in sound part", "untyped error", "crash", "hang")


@pytest.fixture
def program() -> Any:
    return import_module("bad_videos")


def test_a_small_corpus_is_read_and_leaves_memory_flat() -> None:
    command = [
        sys.executable,
        Path(__file__).parents[2] / "stress/bad_videos.py",
        "--files",
        "130",
        "--clips",
        "300",
        "--jobs",
        "1",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SVT_LOG": "0"})
    assert done.returncode == 0, done.stderr + done.stdout
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert result["files"] >= 120 and result["faults"] == []
    assert not any(result["kinds"][kind] for kind in KINDS)
    assert result["kinds"]["right"] > 30 and result["kinds"]["typed error"] > 50
    assert result["frames"]["right"] > 5000
    assert result["peak_mib"] < 64, "one picture of its largest bomb takes 137 MiB"
    assert max(result["memory"]["growth_mib"].values()) < 20


class _Does:
    """Calls a function in the process that a case is sent to."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def test_crashes_hangs_and_wrong_frames_are_counted(program: Any, tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", num_frames=20)
    from video_corpus.sound import fingerprint  # type: ignore[import-not-found]

    truth = tuple(map(fingerprint, decode_in_order(path)))
    wrong = (*truth[:5], b"another", *truth[6:])

    def case(name: str, *, truth: Any, **what: Any) -> Any:
        return program.Case(name=name, family="test", path=path, truth=truth, **what)

    cases = [
        case("right", truth=truth, sound_before=20),
        case("wrong in sound part", truth=wrong, sound_before=20),
        case("wrong in damaged part", truth=wrong, sound_before=4, sound_after=10),
        case("crash", truth=(_Does(os.abort),)),
        case("hang", truth=(_Does(time.sleep, 600),)),
    ]
    how = {"jobs": 1, "seed": 0, "tell": lambda outcome: None}
    outcomes = program.read_all(cases[:-1], limit_seconds=600.0, **how)
    outcomes += program.read_all(cases[-1:], limit_seconds=2.0, **how)
    assert [outcome.kind for outcome in outcomes] == [case.name for case in cases]
    assert [fault.split(":")[0] for fault in program.faults(outcomes, None)] == ["wrong in sound part", "crash", "hang"]


def test_growing_memory_is_a_fault(program: Any) -> None:
    grown = program.Growth(clips=100, mib={"one process": 21.0})
    assert len(program.faults([], grown)) == 1
