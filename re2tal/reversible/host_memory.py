"""What a chain keeps for its backward pass, in the host's memory while what follows runs on an accelerator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["kept_on_host"]

_WHERE_HOST_IS = ("cpu", "meta")


@contextmanager
def kept_on_host(wanted: bool) -> Iterator[None]:
    """Inside, what autograd keeps goes to the host, if that is wanted, and comes back when it is needed.

    The copies are queued with the kernels of the device, from and to pinned memory, so the program waits for neither.
    """
    if not wanted:
        yield
        return
    with torch.autograd.graph.saved_tensors_hooks(_to_host, _back):
        yield


def _to_host(tensor: Tensor) -> tuple[torch.device, Tensor]:
    if tensor.device.type in _WHERE_HOST_IS:
        return tensor.device, tensor
    host = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
    return tensor.device, host.copy_(tensor, non_blocking=True)


def _back(kept: tuple[torch.device, Tensor]) -> Tensor:
    device, tensor = kept
    return tensor.to(device, non_blocking=True)
