"""Files that are written as a whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

__all__ = ["DISK_FULL", "NotWritableError", "atomic_path", "atomic_text", "lock_of_process", "require_writable"]


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system answers where there is no room for a file."""


class NotWritableError(ValueError):
    """A file that is asked for cannot be written where it is asked for."""


def require_writable(*paths: Path | None) -> None:
    """Refuse at the start of something long that what it ends with has no place; None stands for no file.

    Raises:
        NotWritableError: a path is a folder, or its folder cannot be made or written to.
    """
    for path in filter(None, paths):
        folder = next((parent for parent in path.parents if os.path.lexists(parent)), Path())
        if path.is_dir():
            fault = "is a folder"
        elif not folder.is_dir():
            fault = f"would lie in {folder}, which is no folder"
        elif not os.access(folder, os.W_OK | os.X_OK):
            fault = f"would lie in {folder}, where you may not write"
        else:
            continue
        raise NotWritableError(f"{path} cannot be written: it {fault}; give another path")


@contextmanager
def atomic_path(path: Path, *, suffix: str = ".tmp") -> Iterator[Path]:
    """A path to write to; what is there at the end becomes `path`, and only then.

    A crash on the way leaves the file that was there before, and so does a loss of power.

    Args:
        path: of the file; its folder is made if need be.
        suffix: of the temporary name, for writers that choose a format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{suffix}")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in DISK_FULL and error.filename in (None, str(unfinished)):  # writing does not tell the name
            error.filename = str(path)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_text(path: Path) -> Iterator[TextIO]:
    """A text file in UTF-8 to write to, which becomes `path` as in `atomic_path`.

    Half a surrogate pair, which names of files and labels may hold, is written as JSON writes it, `\\udce9`.
    """
    with (
        atomic_path(path) as unfinished,
        unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


@contextmanager
def lock_of_process(path: Path) -> Iterator[bool]:
    """Whether no other process holds the lock `path`, which this one then does until the end, or its own.

    Child processes do not inherit it. On systems other than POSIX, and where a file system knows no locks, nobody is
    kept out.

    Args:
        path: of a file that is made for this alone, and stays.
    """
    if os.name != "posix":
        yield True
        return
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            yield error.errno not in (errno.EACCES, errno.EAGAIN)
        else:
            yield True


def _sync_folder(folder: Path) -> None:
    """Have a new name survive a loss of power; only POSIX opens folders."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
