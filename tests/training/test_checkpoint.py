"""Checkpoints: whole or not at all, read without running code."""

import pickle
from pathlib import Path

import pytest
import torch

from re2tal.training import CheckpointError, RunFolder, load_checkpoint, save_checkpoint
from re2tal.weights import WeightsError


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.pth"
    save_checkpoint(path, {"weights": {"w": torch.arange(3.0)}, "class_names": ["run"], "config": "{}"})
    content = load_checkpoint(path)
    assert torch.equal(content["weights"]["w"], torch.arange(3.0))
    assert content["class_names"] == ["run"]


class Unsaveable:
    def __reduce__(self) -> str:
        raise OSError("disk full")


def test_a_failed_save_leaves_the_file_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, {"weights": {"w": torch.ones(1)}})
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, {"weights": {"w": torch.zeros(1)}, "bad": Unsaveable()})
    assert load_checkpoint(path)["weights"]["w"].item() == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*a\.pth; give the path"):
        load_checkpoint(tmp_path / "a.pth")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, {"weights": {"w": torch.ones(1000)}})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(WeightsError, match=r"a\.pth cannot be read .*cut off"):
        load_checkpoint(path)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pth"
    torch.save(Malicious(), path)
    with pytest.raises(WeightsError, match="wants print to be loaded"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Malicious(), protocol=2))
    with pytest.raises(WeightsError, match="wants print to be loaded"):
        load_checkpoint(path)
    assert "code ran" not in capsys.readouterr().out


def test_a_checkpoint_of_another_program_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="is no checkpoint of this package"):
        load_checkpoint(path)


def test_saved_epochs_are_sorted_by_number(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for epoch in (10, 9, 100):
        save_checkpoint(folder.epoch(epoch), {})
    save_checkpoint(folder.best, {})
    assert folder.saved_epochs() == [9, 10, 100]
