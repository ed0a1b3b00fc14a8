"""Sizes of memory, as people write them."""

import re

__all__ = ["MIB", "format_memory", "parse_memory"]

MIB = 2**20


def parse_memory(text: str) -> int:
    """Bytes of "24GiB", "24 GB", "800MiB" or a number of bytes.

    Raises:
        ValueError: it is none of these.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"memory must be a number above 0 with a unit, such as 24GiB or 800MiB, got {text!r}")
    prefix = (match[2] or "").upper()
    power = " KMGT".index(prefix[0]) if prefix else 0
    return int(float(match[1]) * (1024 if prefix.endswith("I") else 1000) ** power)


def format_memory(size: int) -> str:
    """`512 MiB`, `4.9 GiB`."""
    return f"{size / MIB:.0f} MiB" if size < 1000 * MIB else f"{size / MIB / 1024:.1f} GiB"
