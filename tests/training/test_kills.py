"""The short versions of stress/kills.py and stress/restarts.py: real processes, really killed."""

import json
import signal
import zipfile
from pathlib import Path
from typing import Any

import kills
import numpy as np
import pytest
import restarts
import torch

from re2tal.training import load_checkpoint, save_checkpoint
from re2tal.weights import WeightsError, read_weights


@pytest.mark.slow  # a process for every point at which it is killed
def test_a_training_killed_at_named_points_ends_like_one_left_alone(tmp_path: Path) -> None:
    runs = kills.Runs(tmp_path, videos=4, seed=1)
    alone = runs.alone(threads=1, workers=0)
    planned = [kills.Kill("saving", 2), kills.Kill("forward", 2, signal.SIGTERM), kills.Kill("decoding", 3)]
    result = runs.killed("killed", threads=1, workers=2, kills=planned)
    assert (result["kills"], result["wrong"]) == (planned, [])
    assert kills.differences(alone, result["folder"]) == []


@pytest.mark.slow  # torchrun waits for what is dead before it starts again
def test_one_of_two_processes_is_killed_and_torchrun_starts_both_again(tmp_path: Path) -> None:
    launches = restarts.Launches(tmp_path, videos=4, seed=1)
    row = launches.restarted("killed", kills=[kills.Kill("backward", 3, rank=1)])
    assert row == {"what": "killed", "kills": ["backward of 1"], "wrong": []}
    assert launches.failed("failed", rank=1)["wrong"] == []


def test_the_comparison_sees_what_differs(tmp_path: Path) -> None:
    """In a weight, a record, a line of the log, a file."""
    line = {"kind": "step", "epoch": 0, "step": 1, "loss": 0.5, "clips_per_second": 2.0}
    told = "2026-01-01 00:00:00,000 INFO epoch 0 step 1/2  loss 0.5000  2.00 clips/s  7 s left\n"
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name / "checkpoint/epoch_0.pth", {"weights": {"w": torch.ones(2)}, "config": name})
        line["clips_per_second"] += 1
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        (tmp_path / name / "log.txt").write_text(told.replace("2.00 clips", f"{line['clips_per_second']:.2f} clips"))
    first, second = tmp_path / "a", tmp_path / "b"
    assert kills.differences(first, second) == []
    save_checkpoint(second / "checkpoint/epoch_0.pth", {"weights": {"w": torch.tensor([1.0, 1.0 + 1e-7])}})
    (second / "metrics.jsonl").write_text(json.dumps({**line, "loss": 0.6}) + "\n")
    (second / "log.txt").write_text(told.replace("0.5000", "0.5001"))
    save_checkpoint(second / "checkpoint/epoch_1.pth", {})
    assert kills.differences(first, second) == [
        "files ['epoch_1.pth']", "epoch_0.pth: .weights.w", "metrics.jsonl", "log.txt",
    ]  # fmt: skip


def test_a_changed_bit_anywhere_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    content: dict[str, Any] = {"weights": {f"w{n}": torch.rand(50) for n in range(3)}, "config": "{}", "epoch": 3}
    save_checkpoint(path, content)
    whole = path.read_bytes()
    assert zipfile.ZipFile(path).testzip() is None
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(300):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        try:
            again = load_checkpoint(path)
        except WeightsError as error:
            assert str(path) in str(error)
            found += 1
            continue
        assert all(torch.equal(again["weights"][name], value) for name, value in content["weights"].items())
        assert (again["config"], again["epoch"]) == ("{}", 3)
    assert found > 30  # the rest is padding


def test_a_changed_best_checkpoint_is_not_tested(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    save_checkpoint(path, {"weights": {"backbone.network.w": torch.ones(5000)}, "config": None})
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(WeightsError, match=r"best\.pth is damaged: .* does not have the checksum"):
        read_weights(path)
