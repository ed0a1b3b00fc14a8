"""A disk that is full, told with what to do about it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from re2tal.common.atomic import DISK_FULL
from re2tal.reversible.trees import tensors_in

__all__ = ["DiskFullError", "require_room", "size_of", "telling_of_full_disk"]


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
        if not isinstance(cause, OSError) or cause.errno not in DISK_FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        takes = "" if needed is None else f"it takes {_mib(needed)}, "
        raise DiskFullError(
            f"{path} cannot be written ({cause.strerror}): {takes}{_mib(free)} are free there; free some, for example "
            "with a lower training.keep_checkpoints or another work_dir, and go on with --resume auto: what was saved "
            "before is whole"
        ) from error


def require_room(folder: Path, *, least: int, most: int) -> str | None:
    """Refuse a run whose first checkpoint would not fit; what to say of one whose last would not, else None.

    Args:
        folder: of the run.
        least: bytes of a whole state and of the best weights.
        most: bytes of all that the run will have written.

    Raises:
        DiskFullError: names the space and the fix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < least:
        raise DiskFullError(
            f"a checkpoint and the best weights take {_mib(least)}, and {_mib(free)} are free in {folder}; free some, "
            "or choose another work_dir"
        )
    if free >= most:
        return None
    return (
        f"all checkpoints of this run take {_mib(most)}, and {_mib(free)} are free in {folder}: it will stop when the "
        "disk is full; free some, or lower training.keep_checkpoints"
    )


def size_of(content: Any) -> int:
    """Bytes of all tensors in nested dicts and sequences."""
    return sum(tensor.nbytes for tensor in tensors_in(content))


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
