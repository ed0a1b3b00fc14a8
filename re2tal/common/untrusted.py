"""What comes from others: JSON of any content, names that become paths, text that is shown in a terminal."""

import gc
import json
import math
import os
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

__all__ = [
    "JsonError",
    "UnsafeNameError",
    "brief",
    "from_spreadsheet",
    "is_number",
    "is_text",
    "parse_json",
    "path_inside",
    "readable",
    "shown",
    "some",
    "spreadsheet_safe",
    "visible",
    "visible_lines",
]

_LONGEST_FLOAT = 308
"""Digits of a whole number that is certainly finite as a float."""
_LONGEST_NAME = 255
"""Bytes that file systems allow."""
_LONGEST_SHOWN = 100
_LONGEST_MESSAGE = 2000
"""Characters of a message. What is wrong stands at its beginning, what to do at its end."""

# What a terminal would obey or turn around instead of showing it, and half surrogate pairs, which cannot be written.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# What a spreadsheet takes for the beginning of a formula, full-width forms included.
_FORMULA_STARTS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


class JsonError(ValueError):
    """A text that is not the JSON that was meant, and why."""


class UnsafeNameError(ValueError):
    """A name in a file that leads to another place than it may."""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; bytes may be UTF-8, UTF-16 or UTF-32, with a byte order mark or without.

    Numbers that no float can hold are infinite, so that who asks for finite ones has asked for everything. A key that
    an object has twice is an error: one of the two values would be lost without a word.

    Raises:
        JsonError: why it cannot be read; the file is for the caller to name.
    """
    try:
        if isinstance(text, bytes):
            # As `json` would do it, but so that the bytes are given up before the values are made.
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        with _uncollected():
            return json.loads(text, object_pairs_hook=_object, parse_int=_whole_number)
    except RecursionError:
        raise JsonError("it is nested deeper than any file of annotations; write it without the nesting") from None
    except UnicodeDecodeError as error:
        raise JsonError(f"it is no text of {error.encoding}: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise JsonError(str(error)) from None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for garbage, which looks through a million new objects again and again; JSON makes none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise JsonError(f"an object has the key {shown(twice)} twice; leave one of them out")
    return found


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_FLOAT else float(digits)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value of JSON is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class _Short(reprlib.Repr):
    """The beginning of what `repr` gives, however large or deep the value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict = 3, 4, 4, 5
        self.maxstring = self.maxother = self.maxlong = _LONGEST_SHOWN


_SHORT = _Short()


def shown(value: Any, *, length: int = _LONGEST_SHOWN) -> str:
    """The beginning of `repr(value)`, for messages; neither the size nor the depth of a value matters."""
    text = _SHORT.repr(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def some(names: Iterable[str], *, length: int = _LONGEST_SHOWN) -> str:
    """The first five names, each cut as `brief` does it, and how many more there are."""
    names = list(names)
    first = ", ".join(brief(name, length=length) for name in names[:5])
    return f"{first} and {len(names) - 5} more" if len(names) > 5 else first


def brief(text: str, *, length: int = _LONGEST_SHOWN) -> str:
    """`text`, of which only beginning and end are left where it is longer than about `length` characters."""
    if len(text) <= length:
        return text
    end = length // 2
    return f"{text[: length - end]}[... {len(text) - length} characters ...]{text[-end:]}"


def is_text(name: str) -> bool:
    """Whether a name of a file can be written as UTF-8; of others Python keeps the bytes as half surrogate pairs."""
    return name.isascii() or name.encode(errors="replace").decode() == name


def path_inside(folder: Path, name: str, *, allow_links: bool = False) -> Path:
    """`folder / name`, which stays below the folder.

    Args:
        folder: may itself be a link.
        name: from a file that somebody wrote.
        allow_links: whether links below the folder may lead out of it.

    Raises:
        UnsafeNameError: it is absolute, climbs with `..`, leads out through a link, or is no name of a file.
    """
    parts = name.replace("\\", "/").split("/")
    fault = _fault(name, parts)
    if fault is None and not allow_links:
        fault = _link_out(folder, parts)
    if fault is not None:
        raise UnsafeNameError(f"{shown(name)} {fault}, and names of files must stay in {folder}")
    return folder / name


def _fault(name: str, parts: Sequence[str]) -> str | None:
    if ".." in parts or not parts[0] or Path(name).is_absolute():
        return "leads out of the folder"
    if _CONTROL.search(name):
        return "holds control characters"
    try:
        longest = max(map(len, map(os.fsencode, parts)))
    except UnicodeEncodeError:
        return "holds half a surrogate pair, which no file is called"
    return f"has {longest} bytes, more than the {_LONGEST_NAME} of a file" if longest > _LONGEST_NAME else None


def _link_out(folder: Path, parts: Sequence[str]) -> str | None:
    """Why the path leads out, if it does. Looks at the parts below the folder alone, so that it costs little."""
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            return f"is (or lies in) the link {path} that leads out of the folder, to {os.path.realpath(path)}"
    return None


def spreadsheet_safe(text: str) -> str:
    """`text` for a cell of a CSV file: with an apostrophe in front if it would be run as a formula, and with spaces
    for control characters."""
    text = _CONTROL.sub(" ", text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA_STARTS) else text


def from_spreadsheet(text: str) -> str:
    """`text` of a cell without the apostrophe that `spreadsheet_safe` puts in front."""
    return text[1:] if text.startswith("'") and text[1:].lstrip().startswith(_FORMULA_STARTS) else text


def visible(text: str) -> str:
    """`text` on one line, with escapes such as \\x1b for what a terminal would obey instead of showing it."""
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """`text` with escapes for what a terminal would obey, but for line breaks and tabs, which stay."""
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))


def readable(message: str) -> str:
    """A message as people are shown it, whatever has got into it: nothing that a terminal obeys, and no flood."""
    return visible_lines(brief(message, length=_LONGEST_MESSAGE))
