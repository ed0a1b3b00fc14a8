"""Mixed precision by name."""

import time
from typing import Literal, assert_never

import torch
from torch.nn import functional as F

from re2tal.training.progress import log

__all__ = ["Amp", "Precision", "autocast", "chosen_precision", "warn_of_slow_precision"]

Precision = Literal["none", "bf16", "fp16"]
Amp = Literal["auto", "none", "bf16", "fp16"]
"""How a network is run: in a precision, or in the one that suits the device."""

_SLOW = 1.2
"""Times as long as in float32, from which on a precision is warned about."""


def chosen_precision(amp: Amp, *, device: torch.device) -> Precision:
    """What `amp` means on a device: "auto" is half precision where the device computes in it, else float32.

    Processors without instructions for it convert every number, and take several times as long as in float32.
    """
    if amp != "auto":
        return amp
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        return "bf16" if major >= 8 else "fp16" if major >= 7 else "none"
    return "bf16" if device.type == "cpu" and _processor_has_bf16() else "none"


def _processor_has_bf16() -> bool:
    return getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


def autocast(amp: Amp, *, device: torch.device) -> torch.autocast:
    """The context in which the model runs, in training and in testing."""
    precision = chosen_precision(amp, device=device)
    kind = "cpu" if device.type == "meta" else device.type  # tensors without values have no precision of their own
    match precision:
        case "none":
            return torch.autocast(kind, enabled=False)
        case "bf16":
            return torch.autocast(kind, dtype=torch.bfloat16)
        case "fp16":
            return torch.autocast(kind, dtype=torch.float16)
        case _:
            assert_never(precision)


def warn_of_slow_precision(amp: Amp, *, device: torch.device) -> None:
    """Tell if a precision that was asked for takes longer than float32 on this processor, and how much longer."""
    if device.type != "cpu" or amp in ("auto", "none") or (amp == "bf16" and _processor_has_bf16()):
        return
    factor = _seconds(amp, device=device) / _seconds("none", device=device)
    if factor > _SLOW:
        log.warning(
            "training.amp=%s: this processor does not compute in it; a convolution that was tried took %.1f times as "
            "long as in float32. training.amp=auto takes half precision only where it pays",
            amp,
            factor,
        )


def _seconds(amp: Amp, *, device: torch.device) -> float:
    """The shortest of a few runs of a small convolution, forward and backward."""
    x = torch.zeros(4, 64, 32, 32, device=device)
    weight = torch.zeros(64, 64, 3, 3, device=device, requires_grad=True)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.enable_grad(), autocast(amp, device=device):
            F.conv2d(x, weight, padding=1).sum().backward()
        times.append(time.perf_counter() - start)
    return min(times)
