"""What is found in a stream, one JSON object a line, written as soon as it is final."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from re2tal.inference.inputs import InputError
from re2tal.training.disk import telling_of_full_disk

__all__ = ["LiveFile", "wall_time"]


class LiveFile:
    """A file of lines, or the standard output; it appears with its first line.

    Args:
        path: of a file that is not there yet; None: the standard output.

    Raises:
        InputError: there is such a file.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None if path is not None else 1
        if path is not None and path.exists():
            raise self._is_there(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None and self._path is not None:
            os.close(self._file)

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append lines; they are on the disk when this returns."""
        data = "".join(f"{json.dumps(record, allow_nan=False)}\n" for record in records).encode()
        with telling_of_full_disk(self._path or Path()):
            file = self._opened()
            while data:
                data = data[os.write(file, data) :]
            if self._path is not None:
                os.fsync(file)

    def _opened(self) -> int:
        if self._file is None:
            assert self._path is not None
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                raise self._is_there(self._path) from None
        return self._file

    @staticmethod
    def _is_there(path: Path) -> InputError:
        return InputError(f"{path} is there already, and is kept; give another name by --out")


def wall_time() -> str:
    """Now, in UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
