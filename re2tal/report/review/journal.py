"""Edits on disk, one line of JSON each, before anybody is told that they are kept.

The first line says which input the edits belong to. A line is on the disk (fsync) when `append` returns. A crash can
tear the last line, which nobody was told of; it is cut off when the journal is opened again.
"""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Self

from re2tal.common.untrusted import JsonError, parse_json, shown
from re2tal.report.review.errors import ReviewError

__all__ = ["Journal"]

_KIND = "re2tal review 1"


class Journal:
    """An open journal; no second program can open it meanwhile.

    Args:
        path: of the file; it is made if it is not there.
        inputs: what tells the reviewed files from others, such as their hashes.

    Raises:
        ReviewError: it cannot be written, is in use, is broken, or belongs to other inputs.
    """

    def __init__(self, path: Path, *, inputs: Mapping[str, str | None]) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Without a buffer: what could not be written must not be written later.
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise ReviewError(
                f"edits cannot be kept in {path} ({error.strerror}); give an --out in a folder that you may write to"
            ) from None
        try:
            _lock(self._file, path)
            self.entries: list[dict[str, Any]] = []
            """As they were appended, oldest first."""
            self.torn = False
            """Whether the last line was cut off."""
            self._read(dict(inputs))
        except BaseException:
            self._file.close()
            raise

    def _read(self, inputs: dict[str, str | None]) -> None:
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        good, values = 0, []
        for number, line in enumerate(lines, start=1):
            value = _parsed(line)
            if value is None:
                if number < len(lines):
                    raise ReviewError(
                        f"line {number} of the journal {self.path} is broken ({shown(line)}), and lines follow it; "
                        "copy the file, mend or remove the line, and start again"
                    )
                self.torn = True
                break
            values.append(value)
            good += len(line)
        self._end = good
        self._cut()
        if not values:
            self.id = secrets.token_hex(8)
            """Unlike that of any other journal."""
            self._write({"journal": _KIND, "id": self.id, "inputs": inputs})
            return
        head, *self.entries = values
        if head.get("journal") != _KIND:
            raise ReviewError(
                f"{self.path} is no journal of a review: it begins with {shown(head)}; give another --out"
            )
        self.id = str(head.get("id"))
        if head.get("inputs") != inputs:
            theirs = head["inputs"] if isinstance(head.get("inputs"), dict) else {}
            changed = [f"--{name}" for name in inputs if theirs.get(name) != inputs[name]]
            raise ReviewError(
                f"the journal {self.path} holds edits of other files ({' and '.join(changed) or 'inputs'} differ from "
                "those it was begun with); give the same files again, or another --out"
            )

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Keep entries; they are on the disk when this returns, and none of them is where it raises an OSError."""
        self._write(*entries)
        self.entries.extend(dict(entry) for entry in entries)

    def _write(self, *values: Mapping[str, Any]) -> None:
        content = b"".join(json.dumps(value, allow_nan=False).encode("ascii") + b"\n" for value in values)
        try:
            rest = content
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._cut()
            raise
        self._end += len(content)

    def _cut(self) -> None:
        """Take off what is not a whole entry."""
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None if it is no whole line of JSON."""
    if not line.endswith(b"\n"):
        return None
    try:
        value = parse_json(line)
    except JsonError:
        return None
    return value if isinstance(value, dict) else None


def _lock(file: FileIO, path: Path) -> None:
    """Only POSIX can lock a file without keeping others from reading it."""
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ReviewError(f"another review is at work on {path}; use its page, end it, or give another --out") from None
