"""When it is looked at whether streams have kept to their format.

Whoever asks an accelerator for a value waits until it has done all that it was given. On a processor nothing is to be
waited for, and every call of a chain asks at once. On an accelerator a whole network can be run first: then all flags
are asked for together, and if one is set, the network is run again, asking at once, as if it had not run.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.reversible.branch_call import may_move
from re2tal.reversible.devices import traits_of
from re2tal.reversible.fixed_point import FixedPoint
from re2tal.reversible.guards import has_global_hooks, is_hooked
from re2tal.reversible.rng import GeneratorState

__all__ = ["ask_now", "call_asking_once", "require_kept"]


class _Pending(threading.local):
    shares: list[Tensor] | None = None
    """Of formats that are yet to be asked for; None: all are asked for at once."""


_state = _Pending()

_KNOWN = ("torch", "torchvision", "re2tal")
"""Packages whose modules leave no trace of a call."""

_MOST_MOVING = 8
"""Buffers that are copied before a network is run that may have to be run again."""


def require_kept(format: FixedPoint, found: Sequence[Tensor]) -> None:
    """See whether numbers were inside of a format, now or when the network has run; see `FixedPoint.check`."""
    if _state.shares is None:
        format.check(*found)
    else:
        _state.shares.append(format.share(*found))


class _NotKept(Exception):
    """What has been computed so far is wrong, and nobody has seen it yet."""


def ask_now() -> None:
    """From here on ask at once: what follows cannot be run again unseen."""
    shares, _state.shares = _state.shares, None
    if shares and not _are_kept(shares):
        raise _NotKept


def _are_kept(shares: Sequence[Tensor]) -> bool:
    return float(torch.stack(list(shares)).amax()) <= 1


def call_asking_once(model: nn.Module, *args: Any) -> Any:
    """`model(*args)`, which waits for its device once, at the end, and not in every chain.

    Where it could not be run again without anybody noticing (modules with hooks, modules of unknown packages, which may
    hand something on, many buffers that move), and on a processor, it is called as usual. Blocks that are stored ask
    before they run.

    Args:
        model: rewired, or with reversible chains in it.
        args: of its forward; tensors among them tell the device.
    """
    device = next((arg.device for arg in args if isinstance(arg, Tensor)), torch.device("cpu"))
    if not _is_waited_for(device) or _state.shares is not None or _is_seen(model):
        return model(*args)
    moving = [b for module in model.modules() if may_move(module) for b in module._buffers.values() if b is not None]
    if len(moving) > _MOST_MOVING:
        return model(*args)
    devices = {device, *(parameter.device for parameter in model.parameters())}
    before, copies = GeneratorState.snapshot(*devices), [buffer.detach().clone() for buffer in moving]
    _state.shares = []
    try:
        result = model(*args)
        ask_now()
        return result
    except _NotKept:
        pass
    finally:
        _state.shares = None
    before.restore()
    for buffer, copy in zip(moving, copies, strict=True):
        with torch.no_grad(), torch.autograd._unsafe_preserve_version_counter(buffer):
            buffer.copy_(copy)
    return model(*args)


def _is_waited_for(device: torch.device) -> bool:
    return traits_of(device).waits_for_calls


def _is_seen(model: nn.Module) -> bool:
    """Whether somebody may see modules called twice."""
    return has_global_hooks() or any(
        is_hooked(module) or type(module).__module__.split(".")[0] not in _KNOWN for module in model.modules()
    )
