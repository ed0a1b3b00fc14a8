"""What the C library keeps of freed memory.

Training in tiles allocates and frees thousands of small tensors between a few large ones. glibc serves both from one
heap, which cannot shrink past what is still in use: with Swin-T on 64 frames a quarter of the memory of a step was
holes. So large tensors are mapped by themselves, and holes are handed back between branches.

Both cost time, since the system clears every page that it gives. In small networks the holes are small and the pages
would be a third of a step's processor time, so nothing is done until a process has met a large stream.
"""

from __future__ import annotations

import ctypes
import sys
import time
from functools import cache
from typing import Any

from torch import Tensor

__all__ = ["return_freed_memory"]

MAP_FROM = 4 * 2**20
"""Bytes from which an allocation is mapped by itself and handed back when it is freed. The tensors of a tile are
smaller: fresh pages cost time."""

LARGE = 16 * 2**20
"""Bytes of a stream from which on memory is handed back, that of smaller streams, too: the later stages of a network
leave holes as large as the first ones. With Swin-T at 224 x 224 that is 28 frames."""

SECONDS_BETWEEN = 0.1
"""Handing back takes milliseconds, and the memory is soon wanted again: with steps shorter than this, where there is
little to win, it would double their time. With SlowFast-101 on 32 frames, 0.5 s left 40 MiB more and took 6 % less of
the processor."""

_M_MMAP_THRESHOLD = -3
_last = -SECONDS_BETWEEN
_has_met_large = False


def return_freed_memory(stream: Tensor) -> bool:
    """Hand freed memory back to the system, if that was not just done and a large stream was met, this or another.

    Returns:
        False where it is not done at all: before a large stream, on other devices, without glibc.
    """
    global _last, _has_met_large
    if stream.device.type != "cpu":
        return False
    _has_met_large = _has_met_large or stream.nbytes >= LARGE
    if not _has_met_large or (library := _glibc()) is None:
        return False
    if (now := time.monotonic()) - _last >= SECONDS_BETWEEN:
        library.malloc_trim(0)
        _last = now
    return True


@cache
def _glibc() -> Any:
    """The C library, told to map large tensors by themselves; None if it is another one."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    library.mallopt(_M_MMAP_THRESHOLD, MAP_FROM)
    return library
