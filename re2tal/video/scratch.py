"""What the C library does with the memory of a frame once it is freed."""

import ctypes
import sys
from functools import cache

__all__ = ["keep_freed_memory"]

MAP_FROM = 32 * 2**20
"""Bytes from which an allocation is mapped by itself: the most that glibc would come to by its own rule."""
KEEP = 64 * 2**20
"""Bytes of freed memory that stay with the process."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@cache
def keep_freed_memory() -> None:
    """Take the memory of the next frame from that of the last, with glibc; without effect elsewhere.

    As it comes, glibc maps a frame in floating point (600 KB at 224 x 224) anew for every operation and hands it back
    at once: the pages that the system then has to clear took twice as long as the arithmetic.
    """
    if sys.platform.startswith("linux") and hasattr(library := ctypes.CDLL(None), "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_THRESHOLD, MAP_FROM)
        library.mallopt(_M_TRIM_THRESHOLD, KEEP)
