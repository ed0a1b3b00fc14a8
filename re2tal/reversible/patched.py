"""Modules whose `forward` is replaced in the instance, and what they compute by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from re2tal.reversible.tracers import eagerly

__all__ = ["Patched", "call_own", "own_forward", "patched"]


class Patched:
    """Stands in the instance as `module.forward`; nothing else of the module is changed."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.replaced: Callable[..., Any] | None = module.__dict__.get("forward")
        """What stood there before, which somebody else had put there."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return eagerly(self.run, args, kwargs)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What is computed in place of the module's own forward."""
        raise NotImplementedError

    @property
    def __code__(self) -> Any:
        """Of the module's own forward, for who asks a module where its code is."""
        return self.own().__code__

    @property
    def __globals__(self) -> Any:
        # For torch.jit.script, which asks for it; others ask whether there is one.
        raise AttributeError(
            f"torch.jit.script compiles source code, and the {type(self.module).__name__} of a rewired network is not "
            "run by its own; use torch.jit.trace or torch.export, or unrewire the network"
        )

    def put(self) -> None:
        """Begin to stand there."""
        self.module.__dict__["forward"] = self

    def remove(self) -> None:
        """Give the module its own forward back."""
        if self.replaced is None:
            self.module.__dict__.pop("forward", None)
        else:
            self.module.__dict__["forward"] = self.replaced

    @contextmanager
    def removed(self) -> Iterator[None]:
        """Inside, the module is as if it had never been patched."""
        present = self.module.__dict__.get("forward")
        self.remove()
        try:
            yield
        finally:
            self.module.__dict__["forward"] = present  # this, or what somebody has put around it

    def own(self) -> Callable[..., Any]:
        """What the module itself computes."""
        forward: Callable[..., Any] = self.replaced or type(self.module).forward.__get__(self.module)
        return forward


def own_forward(module: nn.Module) -> Callable[..., Any]:
    """What the module itself computes, whether or not it is patched."""
    present = module.__dict__.get("forward")
    if isinstance(present, Patched):
        return present.own()
    forward: Callable[..., Any] = present or type(module).forward.__get__(module)
    return forward


def call_own(module: nn.Module, x: Tensor, *args: object) -> Tensor:
    """`module(x, *args)` by its own forward, without its hooks: these belong to the call that is under way."""
    result: Tensor = own_forward(module)(x, *args)
    return result


def patched(model: nn.Module) -> Iterator[Patched]:
    """Those in `model`, in order."""
    for module in model.modules():
        if isinstance(found := module.__dict__.get("forward"), Patched):
            yield found
