"""How much memory there is."""

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

__all__ = ["available_memory", "is_lack_of_memory", "resident_memory"]


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
