"""Whether somebody traces or transforms all operations, and how to keep a compiler out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["eagerly", "is_exported", "is_observed_by_a_compiler"]


def is_exported() -> bool:
    """Whether all operations are traced for a program that only predicts."""
    return torch.compiler.is_exporting() or bool(torch.jit.is_tracing())  # type: ignore[no-untyped-call]


def is_observed_by_a_compiler() -> bool:
    """Whether somebody traces all operations, or transforms them: no value can be looked at then."""
    return is_exported() or torch._C._functorch.peek_interpreter_stack() is not None


def eagerly(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, which is not compiled: a chain is an autograd function with a memory of its own."""
    if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
        return _uncompiled(function, *args)
    return function(*args)


def _uncompiled(function: Callable[..., Any], *args: Any) -> Any:
    return torch._dynamo.disable(function)(*args)  # type: ignore[no-untyped-call]


_uncompiled._torchdynamo_disable = True  # type: ignore[attr-defined]
# To decorate it with `torch.compiler.disable` would import the compiler, which takes seconds.
