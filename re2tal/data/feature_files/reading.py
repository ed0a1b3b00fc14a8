"""Arrays in the files of feature packages: .npy, .npz, .h5 and .pt, whole or one of many, without running anything.

Shapes are read without the arrays, so that thousands of files are looked at in seconds.
"""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from re2tal.common.untrusted import shown, some
from re2tal.data.features import FeaturesError

__all__ = ["SUFFIXES", "read_array", "read_shape"]

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".pt", ".pth")
"""Endings of files that are read."""
_LARGEST = 2**33
"""Bytes of an array; a small archive may unpack to more than any memory."""

_FILES_AT_ONCE = 4
"""Of which the contents' list is kept, such as those of two streams."""


def read_shape(path: Path, key: str | None) -> tuple[int, ...]:
    """The shape of an array, which is of numbers.

    Args:
        path: of the file.
        key: the array's name in it; None: the only one.

    Raises:
        FeaturesError: there is none, or it cannot be read.
    """
    with _array(path, key, header_only=True) as found:
        return _checked(found, path=path, key=key)


def read_array(path: Path, key: str | None, *, part: slice = slice(None), axis: int = 0) -> np.ndarray:
    """An array as float32, or a part of it along one axis: no more is read, where the format allows it.

    Args and errors are those of `read_shape`.
    """
    with _array(path, key) as found:
        _checked(found, path=path, key=key)
        values = found[(slice(None),) * axis + (part,)]
        if isinstance(values, Tensor):
            values = values.float().numpy()
        return np.array(values, np.float32)


class _Header:
    """Shape and type of an array that is not read."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype = shape, dtype


@contextmanager
def _array(path: Path, key: str | None, *, header_only: bool = False) -> Iterator[Any]:
    if not path.is_file():
        raise FeaturesError(f"there are no features {path}; put them there, or list the video in data.missing")
    try:
        match path.suffix.lower():
            case ".npy":
                yield np.load(path, mmap_mode="r", allow_pickle=False)
            case ".npz":
                yield _in_npz(path, key, header_only=header_only)
            case ".h5" | ".hdf5":
                with _h5py().File(path, "r") as file:
                    yield _in_h5(file, key, path=path)
            case ".pt" | ".pth":
                yield _chosen(_loaded(path, path.stat().st_mtime_ns), key, path=path)
            case suffix:
                raise FeaturesError(f"{path} must end in one of {', '.join(SUFFIXES)}, got {suffix!r}")
    except FeaturesError:
        raise
    except Exception as error:  # a file of anything makes its reader fail in any way
        raise FeaturesError(f"{path} cannot be read ({str(error)[:300]}); download it again") from error


def _in_npz(path: Path, key: str | None, *, header_only: bool) -> Any:
    headers = _npz_headers(path, path.stat().st_mtime_ns)
    name = _name_among(list(headers), key, path=path)
    if header_only:
        return headers[name]
    _checked(headers[name], path=path, key=key)
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[name]


@lru_cache(maxsize=_FILES_AT_ONCE)
def _npz_headers(path: Path, _changed: int) -> dict[str, _Header]:
    """Of all arrays in a file: one of all videos is asked for thousands."""
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                is_first = np.lib.format.read_magic(member) == (1, 0)
                read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(member)
            headers[info.filename.removesuffix(".npy")] = _Header(shape, dtype)
    return headers


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError:
        raise FeaturesError("HDF5 files are read by h5py, which is not installed; pip install 're2tal[hdf5]'") from None
    return h5py


def _in_h5(file: Any, key: str | None, *, path: Path) -> Any:
    if key is None:
        key = _name_among(list(file), None, path=path)
    if key not in file:
        raise _lacks(key, list(file), path=path)
    if not hasattr(file[key], "shape"):
        raise FeaturesError(
            f"{path}, {shown(key)}: is a group of {some(map(repr, file[key]))}, not an array; name the array too, such "
            f"as data.files.key='{{id}}/{next(iter(file[key]), 'features')}'"
        )
    return file[key]


@lru_cache(maxsize=_FILES_AT_ONCE)
def _loaded(path: Path, _changed: int) -> Any:
    """What a file of tensors holds, mapped into memory."""
    try:
        return torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
        return torch.load(path, weights_only=True, map_location="cpu")  # of a version before 1.6


def _chosen(content: Any, key: str | None, *, path: Path) -> Any:
    if isinstance(content, Tensor) and key is None:
        return content
    if not isinstance(content, Mapping):
        raise FeaturesError(
            f"{path} must hold a tensor{'' if key is None else f' by the key {key!r}'}, got {type(content).__name__}; "
            "set data.files.key=None for a tensor alone"
        )
    names = [name for name in content if isinstance(name, str)]
    found = content[_name_among(names, key, path=path)]
    if not isinstance(found, Tensor):
        raise FeaturesError(f"{path}, {shown(key)}: must be a tensor, got {type(found).__name__}")
    return found


def _name_among(names: list[str], key: str | None, *, path: Path) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key is None:
        raise FeaturesError(f"{path} holds {len(names)} arrays, {some(map(repr, names))}; name one by data.files.key")
    if key not in names:
        raise _lacks(key, names, path=path)
    return key


def _lacks(key: str, names: list[str], *, path: Path) -> FeaturesError:
    return FeaturesError(
        f"{path} has no array {shown(key)}; it has {some(map(repr, names)) or 'none'}: set data.files.key, or list the "
        "video in data.missing"
    )


def _checked(found: Any, *, path: Path, key: str | None) -> tuple[int, ...]:
    where = str(path) if key is None else f"{path}, {shown(key)}"
    shape = tuple(int(size) for size in found.shape)
    is_number = found.dtype.is_floating_point if isinstance(found, Tensor) else np.dtype(found.dtype).kind in "fiu"
    if not is_number:
        raise FeaturesError(f"{where}: features must be real numbers, got {found.dtype}")
    if 4 * np.prod(shape, dtype=float) > _LARGEST:
        raise FeaturesError(f"{where}: an array of {shape} is larger than {_LARGEST} bytes; is it of one video?")
    return shape
