"""Results of a long benchmark, one line of JSON each, so that a call that was interrupted goes on where it was."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What earlier calls have written; a last line that was cut off does not count."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def add_line(path: Path, row: Mapping[str, Any]) -> None:
    """Write a line and see it onto the disk; several processes may do so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        # A line that was cut off must not run into this one.
        cut_off = file.tell() and path.read_bytes()[-1:] != b"\n"
        file.write((b"\n" if cut_off else b"") + json.dumps(dict(row)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
