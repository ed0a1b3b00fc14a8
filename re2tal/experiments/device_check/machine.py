"""What the device and the machine are, and how fast they are at what is usual."""

import os
import platform
from pathlib import Path

import torch

from re2tal.common.memory_size import MIB
from re2tal.experiments.device_check.context import PartContext, Row
from re2tal.experiments.device_check.exactness import DTYPES
from re2tal.experiments.device_check.measuring import elapsed
from re2tal.experiments.planning.memory import available_memory

__all__ = ["describe_machine"]

_SIDE = {"cuda": 8192, "cpu": 512}
_COPIED = {"cuda": 512 * MIB, "cpu": 16 * MIB}


def describe_machine(context: PartContext) -> None:
    """One row: names, versions, memory, and rates of a matrix product and of copies."""
    device = context.device
    row: Row = {
        "device": device.type,
        "name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "memory_mib": round(available_memory(device) / MIB),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        row |= {
            "total_memory_mib": round(properties.total_memory / MIB),
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    context.keep(row)
    for precision in dict.fromkeys(("none", *context.sizes.precisions)):
        row[f"matmul_tflops_{precision}"] = round(_matmul_rate(DTYPES[precision], device=device) / 1e12, 3)
    row["copy_to_device_gib_s"] = round(_copy_rate(device, pinned=device.type == "cuda") / 2**30, 2)
    row["copy_unpinned_gib_s"] = round(_copy_rate(device, pinned=False) / 2**30, 2)
    context.keep(row)


def _processor() -> str:
    """As Linux names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _matmul_rate(dtype: torch.dtype, *, device: torch.device) -> float:
    """Operations in a second."""
    side = _SIDE[device.type]
    a = torch.randn(side, side, device=device).to(dtype)
    a @ a
    return 2 * side**3 / elapsed(lambda: a @ a, device=device, repeats=5)


def _copy_rate(device: torch.device, *, pinned: bool) -> float:
    """Bytes in a second, from the host to the device; on a CPU, from memory to memory."""
    size = _COPIED[device.type]
    source = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned)
    target = torch.empty(size, dtype=torch.uint8, device=device)
    target.copy_(source)
    return size / elapsed(lambda: target.copy_(source, non_blocking=pinned), device=device, repeats=5)
