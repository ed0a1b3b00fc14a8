"""Read what `torch.save` wrote without running anything that the file says.

`torch.load(weights_only=True)` builds tensors and plain containers and calls nothing else, so it refuses files of
mmengine: beside the weights they keep the history of the training, objects of mmengine made of numpy arrays; and
VideoMAE's, which keep the options of their command line. The classes of these are allowed here, but as empty
placeholders: their contents are dropped, and neither mmengine nor numpy is asked.
"""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from re2tal.weights.errors import WeightsError

__all__ = ["SAFETENSORS", "TORCH", "load_pickle", "sniff"]

TORCH, SAFETENSORS = "torch", "safetensors"
"""The kinds of files that `sniff` tells apart."""

_FORBIDDEN = re.compile(r"GLOBAL (\S+) (?:was not|whose module)")
_HEAD_BYTES = 512


class _Dropped:
    """Stands for something else: takes every argument and state, and keeps nothing."""

    def __new__(cls, *_: object) -> "_Dropped":
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass


def _stand_in(name: str) -> type[_Dropped]:
    """A placeholder that a pickle finds under the dotted `name`."""
    module, _, own_name = name.rpartition(".")
    return type(own_name, (_Dropped,), {"__module__": module})


# What mmengine's log of a training is pickled with; numpy 2 calls its core `_core`. `getattr` names the methods of a
# HistoryBuffer: it is a placeholder here like all others, and gets no attribute of anything.
_DROPPED = tuple(
    map(
        _stand_in,
        (
            "argparse.Namespace",
            "mmengine.logging.history_buffer.HistoryBuffer",
            "builtins.getattr",
            "numpy.dtype",
            "numpy.ndarray",
            "numpy.core.multiarray._reconstruct",
            "numpy.core.multiarray.scalar",
            "numpy._core.multiarray._reconstruct",
            "numpy._core.multiarray.scalar",
        ),
    )
)


def sniff(path: Path) -> str:
    """`TORCH` or `SAFETENSORS`, from the first bytes of `path`; the name does not count.

    Raises:
        WeightsError: it is neither; says what it is instead.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the file of weights in it")
    if not path.is_file():
        raise WeightsError(f"there is no file {path}; give the path of a file of weights")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise WeightsError(f"{path} is empty; download or copy it again")
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a pointer of git-lfs, not the weights; run `git lfs pull` where it was cloned, or download "
            "the file itself"
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(
            f"{path} is a web page, not weights: the download got a page to click on (or an error); "
            "open the address in a browser and save the file itself"
        )
    # First, since it begins with a length, any byte of which may look like a pickle.
    if head[8:9] == b"{":
        return SAFETENSORS
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return TORCH
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        raise WeightsError(f"{path} is text, not weights: it begins with {head[:40].decode()!r}; download it again")
    raise WeightsError(
        f"{path} is neither a file of torch.save nor of safetensors (it begins with {head[:8].hex(' ')}); "
        "if it is an archive, unpack it, else download it again"
    )


def load_pickle(path: Path, *, mmap: bool = False) -> Any:
    """The contents of a file of `torch.save`, on the CPU; nothing in it is executed.

    Args:
        path: zip archive or the older format.
        mmap: leave tensors on disk until they are used. The file must not be written to meanwhile.

    Raises:
        WeightsError: the file is cut off, or holds anything but tensors, plain values and the log of mmengine.
    """
    if sniff(path) != TORCH:
        raise WeightsError(f"{path} is a safetensors file, where a file of torch.save is needed")
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        _refuse_packed(path)
    # The older format cannot be mapped; and of a path, other than of an open file, torch believes the suffix.
    mapped = mmap and is_zip and path.suffix != ".safetensors"
    allowed = torch.serialization.safe_globals(list(_DROPPED))
    try:
        with path.open("rb") as file, allowed, warnings.catch_warnings():
            # Of pickle protocols; where one matters, reading fails.
            warnings.simplefilter("ignore")
            return torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a file of anything makes the reader fail in any way
        raise WeightsError(_reason(path, error)) from error


def _refuse_packed(path: Path) -> None:
    """`torch.save` packs nothing, and a small archive that is packed may unpack to more than any memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # as above
        raise WeightsError(_reason(path, error)) from error
    size = sum(member.file_size for member in members)
    if size > path.stat().st_size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise WeightsError(
            f"{path} is a packed archive (of {size} bytes, unpacked), and torch.save packs nothing; if it has a "
            "file of weights in it, unpack it and give that"
        )


def _reason(path: Path, error: Exception) -> str:
    if forbidden := _FORBIDDEN.search(str(error)):
        return (
            f"{path} wants {forbidden[1]} to be loaded, which is no tensor and could run code; nothing of the file was "
            "run. If you trust whoever made it, save its weights alone where that program is installed: "
            'torch.save({"state_dict": content["state_dict"]}, "weights.pth")'
        )
    # Behind a page on how to allow more, which is not for readers of this message.
    told = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    reason = next((line.strip() for line in told.splitlines() if line.strip()), type(error).__name__)
    return f"{path} cannot be read ({reason}); it may be cut off or of another program: download or copy it again"
