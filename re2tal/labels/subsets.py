"""Names of subsets, as data sets write them."""

import re

__all__ = ["subset_in_name", "subset_name"]

_NAMES = {
    "training": ("train", "training", "trn", "tr"),
    "validation": ("val", "valid", "validation", "dev"),
    "testing": ("test", "testing", "tst"),
}
_KNOWN = {spelling: name for name, spellings in _NAMES.items() for spelling in spellings}


def subset_name(text: str) -> str | None:
    """`training`, `validation` or `testing` for any usual spelling; other names stay; None for nothing."""
    stripped = text.strip()
    return _KNOWN.get(stripped.lower(), stripped) or None


def subset_in_name(stem: str) -> str | None:
    """The subset that a file's name tells, as `EPIC_100_train` does."""
    found = [_KNOWN[word] for word in re.split(r"[\W_]+", stem.lower()) if len(word) > 2 and word in _KNOWN]
    return found[-1] if found else None
