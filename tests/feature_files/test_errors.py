"""What can be wrong with features of others is refused before a run, with the value, the rule and the fix."""

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from re2tal.data import FeatureFiles, FeaturesError, ResizeSampling
from re2tal.data.feature_files import FeatureTestingSet
from re2tal.video import MissingVideoError
from tests.feature_files.packages import config_of, make_videos, write_package


def refused(config: Any) -> str:
    with pytest.raises((FeaturesError, MissingVideoError)) as caught:
        FeatureTestingSet(config)[0]
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stride": 16}, ["data.stride=16", "4 times as long", "A stride of about 4 "]),
        ({"stride": 2}, ["0.529 times as long", "A stride of about 4 "]),
        (
            {"frame_rate": 10},
            ["at 10 frames per second", "2.05 times as long", "data.frame_rate of about 20.5 would fit"],
        ),
        ({"frame_rate": None}, ['neither "frame" nor "fps"', "set data.frame_rate"]),
    ],
)
def test_a_wrong_stride_or_rate_is_told_by_the_durations(changes: Any, told: list[str], tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    message = refused(config_of(annotations, write_package(tmp_path / "f", "npy", features), **changes))
    assert all(part in message for part in told), message


def test_a_higher_tolerance_takes_them(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    config = config_of(annotations, write_package(tmp_path / "f", "npy", features), frame_rate=25, length_tolerance=0.3)
    assert len(FeatureTestingSet(config)) > 0


def test_resized_videos_need_no_rate(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    files = write_package(tmp_path / "f", "npy", features)
    config = config_of(annotations, files, frame_rate=None, sampling=ResizeSampling(num_steps=32))
    assert FeatureTestingSet(config)[0].inputs.shape == (6, 32)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"time_first": False}, "set data.files.time_first=True"),
        ({"channels": 2048}, "C = 2048 (data.files.channels), got (120, 6); set data.files.channels=6"),
        ({"pattern": "{id}.npz"}, "2 of 2 videos have no features where data.files says"),
        ({"key": "feats"}, None),
    ],
)
def test_a_wrong_layout_is_told(changes: Any, told: str | None, tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    files = write_package(tmp_path / "f", "npy", features).model_copy(update=changes)
    if told is None:  # an .npy file has one array, whatever it is called
        assert len(FeatureTestingSet(config_of(annotations, files))) > 0
    else:
        assert told in refused(config_of(annotations, files))


def test_streams_of_different_strides_are_refused(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    other = write_package(tmp_path / "other", "npy", {name: values[::2] for name, values in features.items()})
    message = refused(config_of(annotations, write_package(tmp_path / "f", "npy", features), other))
    assert "must be equally long in all of data.files" in message and "[120, 60]" in message


@pytest.mark.parametrize(
    ("name", "write", "key", "told"),
    [
        ("a.npy", lambda path: path.write_bytes(b"<html>"), None, "cannot be read"),
        ("a.npy", lambda path: np.save(path, np.array([{}]), allow_pickle=True), None, "cannot be read"),
        ("a.npy", lambda path: np.save(path, np.array(["x"])), None, "must be real numbers"),
        ("a.npy", lambda path: np.save(path, np.zeros((3, 4, 6))), None, "pool over the rest"),
        ("a.npy", lambda path: np.save(path, np.zeros((0, 6))), None, "holds no features"),
        ("a.npz", lambda path: np.savez(path, x=np.zeros(3), y=np.zeros(3)), None, "holds 2 arrays, 'x', 'y'"),
        ("a.npz", lambda path: np.savez(path, x=np.zeros(3)), "feats", "has no array 'feats'; it has 'x'"),
        ("a.pt", lambda path: torch.save({"x": [1]}, path), None, "must be a tensor, got list"),
        ("a.pt", lambda path: torch.save(Path("x"), path), None, "cannot be read"),
        ("a.pt", lambda path: torch.save(torch.zeros(3, 6), path), "feats", "must hold a tensor by the key 'feats'"),
        ("a.h5", lambda path: h5py.File(path, "w").close(), None, "holds 0 arrays"),
        (
            "a.h5",
            lambda path: h5py.File(path, "w").create_group("g").create_dataset("x", data=[1.0]),
            "g",
            "is a group",
        ),
    ],
)
def test_odd_files_are_refused(name: str, write: Any, key: str | None, told: str, tmp_path: Path) -> None:
    annotations, _ = make_videos(tmp_path, count=3)
    for number in (1, 2):
        write(tmp_path / f"video_{number}{Path(name).suffix}")
    files = FeatureFiles(path=tmp_path, pattern=f"{{id}}{Path(name).suffix}", channels=6, key=key)
    assert told in refused(config_of(annotations, files))


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    features["video_4"][3, 2] = np.nan
    assert "hold NaN or infinity" in refused(config_of(annotations, write_package(tmp_path / "f", "npy", features)))


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    annotations, features = make_videos(tmp_path)
    files = write_package(tmp_path / "f", "npy", features)
    content = json.loads(annotations.read_text())
    content["database"]["../video_4"] = content["database"].pop("video_4")
    annotations.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="leads out of the folder"):
        FeatureTestingSet(config_of(annotations, files))


def test_without_h5py_its_absence_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations, features = make_videos(tmp_path)
    files = write_package(tmp_path / "f", "h5", features)
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 're2tal[hdf5]'" in refused(config_of(annotations, files))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"path": Path("f"), "pattern": "{id}.csv"}, "end in one of"),
        ({"path": Path("f"), "pattern": "x.npy"}, "must contain {id}"),
        ({"path": Path("all.h5"), "key": "features"}, "key must contain {id}"),
        ({"path": Path("all.npy")}, "must be a folder"),
    ],
)
def test_settings_that_tell_no_video_apart_are_refused(files: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        FeatureFiles(channels=6, **files)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"negative_share": 0.5}, "negative_share is of clips that are cut from video files"),
        ({"features": Path("x")}, "features is a folder that `re2tal extract` wrote"),
        ({"test_whole": True, "sampling": ResizeSampling()}, "test_whole is for windows"),
        ({"resize_crop": (0, 1)}, "resize_crop must be"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=told):
        config_of(tmp_path / "a.json", FeatureFiles(path=tmp_path, channels=6), **changes)
