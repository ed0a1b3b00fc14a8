"""A residual branch: the `f` in `x + f(x)`, over modules that exist already."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from re2tal.reversible.cells import Locality

__all__ = ["Branch", "Slot", "Unmodified", "trainable"]


def _call(owner: nn.Module, x: Tensor, *args: object) -> Tensor:
    result: Tensor = owner(x, *args)
    return result


@dataclass(frozen=True)
class Slot:
    """A place that holds a parameter."""

    module: nn.Module
    name: str
    parameter: Tensor
    """What it held when the forward pass looked. `torch.func.functional_call` and sharding put other tensors there."""

    def hold(self, parameter: Tensor | None) -> None:
        """Put `parameter` there, whatever it is."""
        self.module._parameters[self.name] = parameter  # type: ignore[assignment]


def trainable(slots: Iterable[Slot]) -> list[Tensor]:
    """The parameters in `slots` that need a gradient, each once."""
    return list({id(slot.parameter): slot.parameter for slot in slots if slot.parameter.requires_grad}.values())


class Unmodified:
    """Notices parameters that change in place between a forward pass and a backward pass that computes with them."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        # Under inference mode tensors have no versions, and nothing runs backward.
        self._versions = [p._version for p in parameters] if torch.is_grad_enabled() else []

    def check(self) -> None:
        """Raise a RuntimeError if one has changed."""
        if any(p._version != version for p, version in zip(self._parameters, self._versions, strict=True)):
            raise RuntimeError(
                "a parameter of a reversible network was modified in place between its forward and its backward pass, "
                "which computes with it again; step the optimizer after the backward pass"
            )


@dataclass(frozen=True)
class Branch:
    """`function(owner, x, *args)` is the branch; in a chain it keeps the shape of `x`.

    The function must be a module-level function and reach its modules through `owner`, so that a deep copy of the
    model has branches over the copied modules.
    """

    owner: nn.Module
    """The module whose children the branch calls, usually the residual block."""
    function: Callable[..., Tensor] = _call
    """Maps (owner, x, *args) to `f(x)`; by default calls the owner."""
    uses: tuple[str, ...] = ()
    """Names of the owner's children (modules or parameters) in this branch; empty: all of the owner."""
    locality: Locality | None = None
    """How it can be computed in cells; None: only as a whole."""
    keeps_shape: bool = True
    """As it has to in a chain; False for what stands between chains."""

    def __call__(self, x: Tensor, *args: object) -> Tensor:
        """`f(x)`.

        Raises:
            ValueError: the branch changed the shape.
        """
        f = self.function(self.owner, x, *args)
        if self.keeps_shape and f.shape != x.shape:
            raise ValueError(
                f"a reversible branch must keep the shape of its input, but {type(self.owner).__name__} made "
                f"{tuple(f.shape)} of {tuple(x.shape)}; leave this module outside the chain"
            )
        return f

    def modules(self) -> Iterator[nn.Module]:
        """Every module the branch runs through, each once."""
        roots = [getattr(self.owner, name) for name in self.uses] or [self.owner]
        unique = {module: None for root in roots if isinstance(root, nn.Module) for module in root.modules()}
        yield from unique

    def parameters(self) -> list[Slot]:
        """Where the branch holds parameters, and what it holds there now; a shared one is held in several places."""
        slots = [
            Slot(module, name, parameter)
            for module in self.modules()
            for name, parameter in module._parameters.items()
            if parameter is not None
        ]
        own = self.owner._parameters
        return slots + [Slot(self.owner, name, p) for name in self.uses if (p := own.get(name)) is not None]

    def check_gathered(self, slots: Sequence[Slot]) -> None:
        """Raise a ValueError if FSDP2 still holds a parameter in shards: it gathers them where it calls a module."""
        sharding = sys.modules.get("torch.distributed.fsdp")
        if sharding is None or not any(isinstance(m, sharding.FSDPModule) for m in (self.owner, *self.modules())):
            return
        from torch.distributed.tensor import DTensor

        for slot in slots:
            if isinstance(slot.parameter, DTensor):
                raise ValueError(
                    f"fully_shard was given a {type(slot.module).__name__} or a module around it, which a reversible "
                    f"chain does not call, so its {slot.name} is in shards; give fully_shard what "
                    "re2tal.reversible.sharding_units(model) yields, and the model, and nothing inside of these"
                )

    def running_norms(self) -> list[nn.Module]:
        """The batch norms whose running statistics a call changes."""
        return [
            module
            for module in self.modules()
            if isinstance(module, _NormBase) and module.training and module.track_running_stats
        ]

    @contextmanager
    def replayed(self, slots: Sequence[Slot]) -> Iterator[list[Tensor]]:
        """Inside, the branch runs on what `slots` held in the forward pass and leaves no trace.

        Yields a leaf for each parameter that needs a gradient, in the order of `trainable(slots)`. The branch runs on
        these and not on the parameters, because the hooks of a parameter run whenever a gradient with respect to it is
        computed: differentiating the parameter here, and once more where its gradient arrives, would run every hook
        twice. Running statistics of batch norms in training mode belong to the forward pass and change only there.
        """
        leaves = {id(parameter): parameter.detach().requires_grad_() for parameter in trainable(slots)}
        present = [slot.module._parameters[slot.name] for slot in slots]
        norms = [(module, dict(module._buffers)) for module in self.running_norms()]
        try:
            for slot in slots:
                slot.hold(leaves.get(id(slot.parameter), slot.parameter))
            for module, buffers in norms:
                module._buffers.update({name: b.clone() for name, b in buffers.items() if b is not None})
            yield list(leaves.values())
        finally:
            for slot, parameter in zip(slots, present, strict=True):
                slot.hold(parameter)
            for module, buffers in norms:
                module._buffers.update(buffers)
