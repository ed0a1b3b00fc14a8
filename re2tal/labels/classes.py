"""Lists that give numbers of classes their names."""

import re
from pathlib import Path

from re2tal.labels.records import SourceError
from re2tal.labels.tables import decode

__all__ = ["read_class_names"]

_LINE = re.compile(r"c?(?P<number>[0-9]{1,9})[\s,;:]+(?P<name>\S.*)")


def read_class_names(path: Path) -> dict[int, str]:
    """Names by number, from lines such as `7 CleanAndJerk` (MultiTHUMOS) or `c000 Holding some clothes` (Charades)."""
    try:
        text, _ = decode(path.read_bytes())
    except FileNotFoundError:
        raise SourceError(f"there is no class list {path}") from None
    except (OSError, SourceError) as error:
        raise SourceError(f"class list {path} is not readable: {error}") from None
    names: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or int(found["number"]) in names:
            why = "names a number again" if found else "is not a number and a name"
            raise SourceError(f"{path}, line {number} {why}: {line[:60]!r}; write for example '7 CleanAndJerk'")
        names[int(found["number"])] = found["name"].strip()
    if not names:
        raise SourceError(f"class list {path} is empty; write lines such as '7 CleanAndJerk'")
    return names
