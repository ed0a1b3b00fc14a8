"""How much memory there is, and how it is written."""

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

__all__ = ["MIB", "available_memory", "format_memory", "is_lack_of_memory", "parse_memory", "resident_memory"]

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


def available_memory(device: torch.device) -> int:
    """Bytes that this process may take on `device` in all: what it has, and what is free within all limits."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return min(_limits())


def is_lack_of_memory(error: RuntimeError) -> bool:
    """Whether PyTorch raised it because a tensor did not fit into what is free."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate" in str(error)


def resident_memory() -> int:
    """Bytes of this process's memory that lie in the machine's; 0 where it cannot be told."""
    return _pages_of_this_process()[1] * os.sysconf("SC_PAGE_SIZE")


def _limits() -> Iterator[int]:
    yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"))
    if found:
        yield int(found[1]) * 1024 + resident_memory()
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):  # containers
        if (limit := _read(path).strip()).isdigit():
            yield int(limit)
    limit_of_addresses, _ = resource.getrlimit(resource.RLIMIT_AS)  # ulimit -v
    if limit_of_addresses != resource.RLIM_INFINITY:
        virtual, resident = _pages_of_this_process()
        yield limit_of_addresses - (virtual - resident) * os.sysconf("SC_PAGE_SIZE")


def _pages_of_this_process() -> tuple[int, int]:
    """Virtual and resident."""
    numbers = _read("/proc/self/statm").split()
    return (int(numbers[0]), int(numbers[1])) if numbers else (0, 0)


def _read(path: str) -> str:
    """Empty where the system has no such file."""
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""
