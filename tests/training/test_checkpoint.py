"""Files of weights: whole or not at all, read without running code, checked before use."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from re2tal.training import CheckpointError, RunFolder, load_checkpoint, load_weights, save_checkpoint


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


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 cut"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pth cannot be read as a checkpoint"):
        load_checkpoint(path)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, {"weights": {"w": torch.ones(1000)}})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"a\.pth cannot be read as a checkpoint"):
        load_checkpoint(path)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pth"
    torch.save(Malicious(), path)
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Malicious(), protocol=2))
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    assert "code ran" not in capsys.readouterr().out


def test_a_checkpoint_of_another_program_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="is no checkpoint of this package"):
        load_checkpoint(path)


def test_weights_of_another_model_are_listed_by_name_and_shape() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    weights = {"0.weight": torch.zeros(5, 3), "0.bias": torch.zeros(2), "2.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, weights, source=Path("x.pth"))
    message = str(caught.value)
    assert "x.pth belongs to another model" in message
    assert "only in the model (2):\n    1.weight (2, 2)\n    1.bias (2,)" in message
    assert "only in the file (1):\n    2.weight (1,)" in message
    assert "0.weight is (5, 3) in the file, (2, 3) in the model" in message


def test_long_lists_of_names_are_cut() -> None:
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(20)])
    with pytest.raises(CheckpointError, match="and 28 more"):
        load_weights(model, {}, source=Path("x.pth"))


def test_saved_epochs_are_sorted_by_number(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for epoch in (10, 9, 100):
        save_checkpoint(folder.epoch(epoch), {})
    save_checkpoint(folder.best, {})
    assert folder.saved_epochs() == [9, 10, 100]
