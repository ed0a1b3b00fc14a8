"""Feature packages as they are published, in small: features that show which action happens, in every layout."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from re2tal.data import FeatureDataConfig, FeatureFiles, WindowSampling

STRIDE, OFFSET, RATE = 4, 8, 20.0
CHANNELS = 6
CLASSES = ("run", "sit")
Features = Mapping[str, np.ndarray]


def make_videos(folder: Path, *, count: int = 6, seconds: float = 24.0, seed: int = 0) -> tuple[Path, Features]:
    """Annotations of two actions a video, and (T, C) features: channel 0 or 1 is high where the class happens."""
    rng = np.random.default_rng(seed)
    database: dict[str, Any] = {}
    features: dict[str, np.ndarray] = {}
    for number in range(count):
        length = round(seconds * RATE / STRIDE)
        values = rng.normal(0, 0.3, (length, CHANNELS)).astype(np.float32)
        times = (np.arange(length) * STRIDE + OFFSET) / RATE
        rows = []
        for start in (rng.uniform(1, 4), rng.uniform(12, 15)):
            label = int(rng.integers(2))
            end = start + rng.uniform(3, 7)
            values[(times >= start) & (times < end), label] += 2
            rows.append({"segment": [round(start, 3), round(end, 3)], "label": CLASSES[label]})
        name = f"video_{number}"
        database[name] = {
            "subset": "training" if number < count - 2 else "validation",
            "duration": seconds,
            "annotations": rows,
        }
        features[name] = values
    path = folder / "annotations.json"
    path.write_text(json.dumps({"database": database}))
    return path, features


def _each(folder: Path, suffix: str, features: Features, write: Callable[[Path, np.ndarray], object]) -> None:
    for name, values in features.items():
        write(folder / f"{name}{suffix}", values)


def _write_h5(path: Path, arrays: Features) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def write_package(folder: Path, layout: str, features: Features) -> FeatureFiles:
    """The features in one of the layouts below."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix, write, settings = LAYOUTS[layout]
    channels = next(iter(features.values())).shape[1]
    if layout.startswith("one "):
        write(folder / suffix, features)
        return FeatureFiles(path=folder / suffix, channels=channels, **settings)
    _each(folder, suffix, features, write)
    return FeatureFiles(path=folder, channels=channels, **{"pattern": f"{{id}}{suffix}", **settings})


LAYOUTS: dict[str, tuple[str, Callable[[Path, Any], object], dict[str, Any]]] = {
    "npy": (".npy", np.save, {}),
    "npy of channels first, in half precision": (
        ".npy",
        lambda path, values: np.save(path.with_name(f"v_{path.name}"), values.T.astype(np.float16)),
        {"pattern": "v_{id}.npy", "time_first": False},
    ),
    "npy of four axes": (".npy", lambda path, values: np.save(path, values[:, :, None, None]), {}),
    "npz": (".npz", lambda path, values: np.savez_compressed(path, feats=values, fps=[RATE]), {"key": "feats"}),
    "pt": (".pt", lambda path, values: torch.save(torch.from_numpy(values), path), {}),
    "pt in a dictionary": (
        ".pth",
        lambda path, values: torch.save({"features": torch.from_numpy(values).bfloat16()}, path),
        {"key": "features"},
    ),
    "h5": (".h5", lambda path, values: _write_h5(path, {"feature": values}), {}),
    "one h5 of groups": (
        "all.hdf5",
        lambda path, arrays: _write_h5(path, {f"v_{name}/c3d_features": values for name, values in arrays.items()}),
        {"key": "v_{id}/c3d_features"},
    ),
    "one npz": ("all.npz", lambda path, arrays: np.savez(path, **arrays), {}),
    "one pt": (
        "all.pt",
        lambda path, arrays: torch.save({name: torch.from_numpy(values) for name, values in arrays.items()}, path),
        {},
    ),
}
"""Ending or name, what writes it, and settings."""


def config_of(annotations: Path, *files: FeatureFiles, **changes: Any) -> FeatureDataConfig:
    """Windows of 64 features."""
    values: dict[str, Any] = {
        "annotations": annotations,
        "files": files,
        "stride": STRIDE,
        "offset": OFFSET,
        "frame_rate": RATE,
        "sampling": WindowSampling(num_steps=64, min_inside=0.5, test_overlap=0.5),
    }
    return FeatureDataConfig(**values | changes)
