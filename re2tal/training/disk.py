"""A disk that is full, told with what to do about it."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from re2tal.reversible.tracing.trees import tensors_in

__all__ = ["DiskFullError", "size_of", "telling_of_full_disk"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DiskFullError(ValueError):
    """The disk is too full for a file of a run; what was written before it is whole."""


@contextmanager
def telling_of_full_disk(path: Path, *, needed: int | None = None) -> Iterator[None]:
    """Inside, writing `path`, a file of a run, may fail for want of space.

    Args:
        path: the file.
        needed: bytes that it takes, if that is known.

    Raises:
        DiskFullError: names the file, the space and the fix.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch's writer answers the system's error with one of its own, of an unexpected position.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError) or cause.errno not in _FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        takes = "" if needed is None else f"it takes {_mib(needed)}, "
        raise DiskFullError(
            f"{path} cannot be written ({cause.strerror}): {takes}{_mib(free)} are free there; free some, for example "
            "with a lower training.keep_checkpoints or another work_dir, and go on with --resume auto: what was saved "
            "before is whole"
        ) from error


def size_of(content: Any) -> int:
    """Bytes of all tensors in nested dicts and sequences."""
    return sum(tensor.nbytes for tensor in tensors_in(content))


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
