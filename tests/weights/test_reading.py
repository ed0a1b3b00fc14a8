"""Files of weights are read without running what they say, and what is no file of weights is told apart."""

import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from re2tal.weights import WeightsError, load_pickle, read_weights

# Enough names to tell what network it is.
STATE = {"backbone.patch_embed.proj.bias": torch.ones(2), "backbone.norm3.bias": torch.zeros(2)}


def history_buffer() -> type:
    """A class like mmengine's log of a figure: numbers in numpy arrays, and a table of its own methods."""

    class HistoryBuffer:
        def __init__(self) -> None:
            self._log_history = np.arange(3.0)
            self._count_history = np.ones(3, dtype=np.int64)
            self._statistics_methods = {"mean": HistoryBuffer.mean}

        def mean(self) -> float:
            raise NotImplementedError

    HistoryBuffer.mean.__qualname__ = "HistoryBuffer.mean"
    HistoryBuffer.__qualname__ = "HistoryBuffer"
    HistoryBuffer.__module__ = HistoryBuffer.mean.__module__ = "mmengine.logging.history_buffer"
    return HistoryBuffer


def scalar(*_: object) -> float:
    raise NotImplementedError


class OldScalar:
    """Is pickled as a number of numpy 1."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return scalar, (np.dtype("f8"), b"\0" * 8)


def install(monkeypatch: pytest.MonkeyPatch, thing: Any, module: str) -> None:
    """Let pickle find `thing` in a module that is not installed."""
    for depth in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:depth])
        if name not in sys.modules or depth == module.count(".") + 1:
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    setattr(sys.modules[module], thing.__qualname__, thing)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_files_of_mmengine_with_their_history(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights.pth"
    with pytest.MonkeyPatch.context() as monkeypatch:
        buffer = history_buffer()
        install(monkeypatch, buffer, buffer.__module__)
        monkeypatch.setattr(scalar, "__module__", "numpy.core.multiarray")
        install(monkeypatch, scalar, scalar.__module__)
        content = {
            "meta": {"epoch": 30, "iter": 9, "seed": np.float64(3.5), "dataset_meta": {}, "time": "20220930_000000"},
            "state_dict": STATE,
            "message_hub": {
                "log_scalars": {"train/loss": buffer()},
                "runtime_info": {"lr": np.float32(0.1), "old": OldScalar(), "names": {"a", "b"}},
            },
            "optimizer": {"state": {}, "param_groups": []},
        }
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    raw = path.read_bytes()
    for name in (b"mmengine.logging.history_buffer", b"getattr", b"numpy.core.multiarray", b"numpy._core.multiarray"):
        assert name in raw, "the file holds what the test is about"
    file = read_weights(path)
    assert torch.equal(file.tensors["norm.bias"], torch.zeros(2))
    assert torch.equal(file.tensors["patch_embed.proj.bias"], torch.ones(2))


class Malicious:
    """Calls `function` when it is unpickled by the book."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(("function", "name"), [(print, "print"), (os.system, r"posix\.system"), (eval, "eval")])
def test_code_in_a_file_is_not_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], function: Callable[..., object], name: str, zipped: bool
) -> None:
    path = tmp_path / "weights.pth"
    content = {"state_dict": STATE, "meta": Malicious(function, "echo code ran")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        WeightsError, match=rf"weights\.pth wants {name} to be loaded.*nothing of the file was run.*torch\.save\("
    ):
        read_weights(path)
    assert "code ran" not in capfd.readouterr().out


def test_allowed_names_do_nothing(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"got": Malicious(getattr, "text", "upper"), "state_dict": STATE}, path)
    got = load_pickle(path)["got"]
    assert not callable(got) and not vars(got)


def test_a_bare_pickle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Malicious(print, "code ran"), protocol=4))
    with pytest.raises(WeightsError, match=r"weights\.pth cannot be read"):
        read_weights(path)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; download or copy it again"),
        (b"<!DOCTYPE html><html><title>Virus scan warning</title>", "is a web page, not weights"),
        (b"\n  <HTML><body>404</body></HTML>", "is a web page, not weights"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "is a pointer of git-lfs.*git lfs pull",
        ),
        (b"no weights at all\n", "is text, not weights: it begins with 'no weights at all"),
        (
            b"\x1f\x8b\x08\x00\x00\x00",
            "is neither a file of torch.save nor of safetensors.*if it is an archive, unpack",
        ),
        (b"PK\x03\x04 cut", "cannot be read .*cut off"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"(?s)weights\.pth {message}"):
        read_weights(path)


@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_files(tmp_path: Path, kind: str, kept: float) -> None:
    path = tmp_path / "weights.pth"
    state = {**STATE, "backbone.patch_embed.proj.weight": torch.randn(2, 3, 2, 4, 4)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(WeightsError, match=r"weights\.pth cannot be read .*cut off"):
        read_weights(path)


def test_a_folder_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is a folder; give the file of weights in it"):
        read_weights(tmp_path)
    with pytest.raises(WeightsError, match=r"there is no file .*gone\.pth"):
        read_weights(tmp_path / "gone.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, not weights"),
        ({}, "holds no weights, but nothing"),
        ({"epoch": 3, "lr": 0.1}, r"holds no weights, but epoch \(int\), lr \(float\)"),
        ({"state_dict": {"a": torch.ones(1), "b": None}}, r"holds no weights, but b \(NoneType\)"),
        (
            {"conv1.weight": torch.ones(1), "fc.bias": torch.ones(1)},
            r"no Video Swin and no SlowFast: its 2 names are conv1\.weight, fc\.bias",
        ),
        (
            {"patch_embed.proj.bias": torch.ones(1), "norm3.bias": torch.ones(1), "norm.bias": torch.ones(1)},
            r"holds norm\.bias twice, as norm3\.bias and as norm\.bias",
        ),
    ],
)
def test_weights_of_something_else(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


def test_the_average_is_taken_before_the_last_weights(tmp_path: Path) -> None:
    name, path = "module.backbone.model.backbone.patch_embed.proj.bias", tmp_path / "weights.pth"
    content = {"epoch": 7, "state_dict": {name: torch.zeros(2)}, "state_dict_ema": {name: torch.ones(2)}}
    torch.save(content, path)
    file = read_weights(path)
    assert (file.averaged, file.epoch) == (True, 7)
    assert torch.equal(file.tensors["backbone.network.patch_embed.proj.bias"], torch.ones(2))
    assert "averaged weights, epoch 7" in str(file)


def test_a_safetensors_file_may_begin_like_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    lengths = set()
    for padding in range(64):  # the header, whose length comes first, is a multiple of eight long
        save_file(STATE, path, metadata={"padding": "x" * 8 * padding})
        lengths.add(path.read_bytes()[:1])
        assert set(read_weights(path).tensors) == {"patch_embed.proj.bias", "norm.bias"}
    assert b"\x80" in lengths


def test_the_kind_of_file_is_told_by_its_content(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "weights.pth")
    torch.save(STATE, tmp_path / "weights.safetensors")
    for path in tmp_path.iterdir():
        assert set(read_weights(path).tensors) == {"patch_embed.proj.bias", "norm.bias"}
