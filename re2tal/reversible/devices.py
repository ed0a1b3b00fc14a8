"""What kinds of devices want, each in its own way: chosen here, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

__all__ = ["DeviceTraits", "empty_as", "is_dense", "laid_out", "lay_out_weights", "traits_of"]


@dataclass(frozen=True)
class DeviceTraits:
    """Of one kind of device."""

    waits_for_calls: bool
    """Launching costs more than arithmetic, and a value that is asked for stops the program: few large tiles, and all
    values at once."""
    memory_format: torch.memory_format
    """Of what 3-D convolutions work on, and of their weights."""
    has_float64: bool
    """Computes with 64 bits, as integers and as floating-point numbers."""
    fuses_attention: bool
    """Has kernels of attention that hold no scores in memory, with gradients and whatever is added to the scores."""
    changes_pixels: bool
    """Has time to change the pixels of training clips, which the processes that decode them lack."""


_PROCESSOR = DeviceTraits(
    waits_for_calls=False,
    memory_format=torch.contiguous_format,
    has_float64=True,
    fuses_attention=False,
    changes_pixels=False,
)
_ACCELERATOR = replace(_PROCESSOR, waits_for_calls=True)
_CUDA = replace(_ACCELERATOR, memory_format=torch.channels_last_3d, fuses_attention=True, changes_pixels=True)
_MPS = replace(_ACCELERATOR, has_float64=False)

_KNOWN = {"cpu": _PROCESSOR, "cuda": _CUDA, "meta": _CUDA, "mps": _MPS}
"""Tensors without values do what those of a GPU would."""


def traits_of(device: torch.device) -> DeviceTraits:
    """What a device wants."""
    return _KNOWN.get(device.type, _ACCELERATOR)


def laid_out(x: Tensor) -> Tensor:
    """`x`, (B, C, T, H, W), in the order of memory that convolutions of its device want."""
    return x.contiguous(memory_format=traits_of(x.device).memory_format) if x.dim() == 5 else x


def lay_out_weights(module: nn.Module) -> None:
    """Bring the weights of 3-D convolutions, in place, into the order that their device wants."""
    for inner in module.modules():
        if isinstance(inner, nn.Conv3d):
            inner.weight.data = laid_out(inner.weight.data)


def is_dense(x: Tensor) -> bool:
    """Whether every element of `x` has memory of its own, without gaps, in one of the usual orders."""
    return x.is_contiguous() or (x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d))


def empty_as(y: Tensor, shape: Sequence[int]) -> Tensor:
    """A new tensor of another shape in the order of `y`."""
    like_last = y.dim() == len(shape) == 5 and not y.is_contiguous() and is_dense(y)
    memory_format = torch.channels_last_3d if like_last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=y.dtype, device=y.device, memory_format=memory_format)
