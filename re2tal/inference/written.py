"""What was written on many videos, noted beside it, so that a call with nothing new writes nothing."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from re2tal import __version__
from re2tal.common.atomic import atomic_text
from re2tal.common.untrusted import parse_json

__all__ = ["WrittenFiles", "fingerprint_of", "read_note", "write_note"]


@dataclass(frozen=True, kw_only=True)
class WrittenFiles:
    """What was written on many videos."""

    num_shown: int = 0
    """Detections in the CSV file."""
    num_kept: int = 0
    """Detections in the JSON file."""
    best_score: float = 0.0
    """Of all detections, shown or not."""
    elsewhere: tuple[str, ...] = ()
    """Videos whose results are not to be read in this folder: damaged, or done by a process of a machine that sees
    another one."""
    is_new: bool = True
    """False if all was there already, from the same results."""


def fingerprint_of(identities: Iterable[Any], *, settings: Any) -> str:
    """Of all results that are written together, and of how they are written."""
    digest = hashlib.sha256(json.dumps([__version__, settings]).encode())
    for identity in identities:
        digest.update(json.dumps(identity).encode())
    return digest.hexdigest()


def write_note(path: Path, written: WrittenFiles, *, fingerprint: str, files: Sequence[Path]) -> None:
    """Note at `path` that `files` are complete."""
    note = {"fingerprint": fingerprint, "files": _states(files), "written": asdict(written)}
    with atomic_text(path) as file:
        json.dump(note, file)


def read_note(path: Path, *, fingerprint: str, files: Sequence[Path]) -> WrittenFiles | None:
    """What was written, if it was written from the same and nobody has touched the files since; else None."""
    try:
        note = parse_json(path.read_bytes())
        if note["fingerprint"] != fingerprint or note["files"] != _states(files):
            return None
        told = note["written"]
        return WrittenFiles(
            num_shown=int(told["num_shown"]),
            num_kept=int(told["num_kept"]),
            best_score=float(told["best_score"]),
            is_new=False,
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _states(files: Sequence[Path]) -> dict[str, list[int]]:
    """Size and time of change of files, by name."""
    states = {file.name: file.stat() for file in files}
    return {name: [state.st_size, state.st_mtime_ns] for name, state in states.items()}
