"""What a network computes on one example: every operation and every call of a module, and what flows between them.

Functions and methods of torch are seen through a torch function mode, calls of modules through hooks. The network runs
as it always does, on real tensors: no Python code is interpreted, so loops, conditions and keyword arguments are
followed as they fall for this example. What its own code asks of tensors besides tensors (shapes, values) is noted too:
an answer is part of the recording, and whoever plays it again has to know.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from re2tal.reversible.guards import is_hooked
from re2tal.reversible.isolated import isolated
from re2tal.reversible.trees import Ref, leaves, replace_leaves, tensors_in

__all__ = ["Call", "End", "Event", "TraceGuard", "Op", "Recording", "name_of", "record"]


@dataclass(frozen=True)
class Op:
    """One function or method of torch."""

    function: Callable[..., Any]
    args: Any
    """Positional arguments, with a `Ref` for every tensor."""
    kwargs: Any
    inputs: tuple[int, ...]
    """Values among the arguments."""
    results: tuple[tuple[int, int], ...]
    """(place among the leaves of the result, value)"""
    changed: tuple[tuple[int, int], ...]
    """(place among the leaves of the arguments, value it has afterwards), for what is written in place."""

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(value for _, value in (*self.results, *self.changed))

    @property
    def name(self) -> str:
        return name_of(self.function)


@dataclass
class Call:
    """One call of a module."""

    module: nn.Module
    args: Any
    kwargs: Any
    inputs: tuple[int, ...]
    parent: Call | None
    start: int
    """Its place among the events."""
    end: int = -1
    """The place of its end."""
    output: Any = None
    outputs: tuple[int, ...] = ()
    """Values among the leaves of `output`."""

    @property
    def name(self) -> str:
        return type(self.module).__name__


@dataclass(frozen=True)
class End:
    """A module returns."""

    call: Call


@dataclass(frozen=True)
class TraceGuard:
    """Python code asks a tensor for something that is no tensor."""

    kind: Literal["shape", "values"]
    name: str
    value: int


Event = Op | Call | End | TraceGuard


@dataclass
class Recording:
    """A value is a tensor at a moment; writing to a tensor in place makes a new value of it."""

    events: list[Event] = field(default_factory=list)
    born: list[int] = field(default_factory=list)
    """For each value, the place of the event that made it; -1 if it was there before."""
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    floating: list[bool] = field(default_factory=list)
    external: dict[int, Tensor] = field(default_factory=dict)
    """What was there before: parameters, buffers, inputs, constants."""
    held: dict[int, list[tuple[nn.Module, str]]] = field(default_factory=dict)
    """Where modules hold values, for parameters and buffers."""

    def calls(self) -> Iterator[Call]:
        """In order."""
        for event in self.events:
            if isinstance(event, Call) and event.end >= 0:
                yield event

    def stream_of(self, call: Call) -> int | None:
        """The first floating-point tensor that a module is given."""
        return next((value for value in call.inputs if self.floating[value]), None)

    def result_of(self, call: Call) -> int | None:
        """The first tensor that a module returns with the shape of its stream."""
        stream = self.stream_of(call)
        if stream is None:
            return None
        return next((v for v in call.outputs if self.floating[v] and self.shapes[v] == self.shapes[stream]), None)


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function, method or property of torch."""
    name = getattr(function, "__name__", "") or type(function).__name__
    return str(function.__self__.__name__) if name == "__get__" and hasattr(function, "__self__") else name


_SHAPE = frozenset(
    {"shape", "size", "numel", "nelement", "__len__", "stride", "storage_offset", "nbytes", "unflatten_shape"}
)
_HARMLESS = frozenset(
    {"__get__", "__set__", "__hash__", "__repr__", "_version", "element_size", "itemsize", "get_device", "grad_fn"}
    | {"device", "dtype", "dim", "grad", "has_names", "is_complex", "is_conj", "is_contiguous", "is_cpu", "is_cuda"}
    | {"is_floating_point", "is_inference", "is_leaf", "is_meta", "is_mkldnn", "is_mps", "is_neg", "is_nested"}
    | {"is_pinned", "is_quantized", "is_shared", "is_signed", "is_sparse", "is_xla", "is_xpu", "layout", "names"}
    | {"ndim", "ndimension", "requires_grad", "result_type", "retains_grad", "type", "can_cast", "is_tensor", "name"}
    | {"__format__", "requires_grad_", "retain_grad", "is_storage", "is_vulkan", "is_ipu", "is_maia", "is_sparse_csr"}
)
"""Tell no more than what a tensor's type and device are, which do not change what is computed for another example."""


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.recording = Recording()
        self._values: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._stack: list[Call] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if name_of(func) == "__iter__":  # its result is no container
            self._look("shape", "__iter__", args[0])
            return iter(self.__torch_function__(torch.unbind, types, (args[0], 0)))
        given = tensors_in((args, kwargs))
        versions = [_version(tensor) for tensor in given]
        inputs = tuple(self._value(tensor) for tensor in given)
        template = replace_leaves((tuple(args), kwargs), self._ref)
        result = func(*args, **kwargs)
        places = [place for place, leaf in enumerate(leaves((args, kwargs))) if isinstance(leaf, Tensor)]
        changed = tuple(
            (place, self._new(tensor))
            for place, tensor, version in zip(places, given, versions, strict=True)
            if _version(tensor) != version
        )
        known = {id(tensor) for tensor in given}
        found = [(place, leaf) for place, leaf in enumerate(leaves(result)) if isinstance(leaf, Tensor)]
        results = tuple((place, self._new(tensor)) for place, tensor in found if id(tensor) not in known)
        if results or changed:
            self.recording.events.append(Op(func, template[0], template[1], inputs, results, changed))
        elif not found and given and (name := name_of(func)) not in _HARMLESS:
            self._look("shape" if name in _SHAPE else "values", name, given[0])
        return result

    def _look(self, kind: Literal["shape", "values"], name: str, tensor: Tensor) -> None:
        self.recording.events.append(TraceGuard(kind, name, self._value(tensor)))

    def _new(self, tensor: Tensor) -> int:
        """A value that the event to come makes."""
        return self._register(tensor, born=len(self.recording.events))

    def _known(self, tensor: Tensor) -> int | None:
        reference, value = self._values.get(id(tensor), (None, -1))
        return value if reference is not None and reference() is tensor else None

    def _value(self, tensor: Tensor) -> int:
        if (value := self._known(tensor)) is None:
            value = self._register(tensor, born=-1)
            self.recording.external[value] = tensor  # held, so that nothing else gets its identity
        return value

    def _register(self, tensor: Tensor, *, born: int) -> int:
        recording = self.recording
        value = len(recording.born)
        recording.born.append(born)
        recording.shapes.append(tuple(tensor.shape))
        recording.floating.append(tensor.is_floating_point())
        self._values[id(tensor)] = (weakref.ref(tensor), value)
        return value

    def _ref(self, leaf: object) -> object:
        return Ref(self._value(leaf)) if isinstance(leaf, Tensor) else leaf

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A module is called."""
        with torch._C.DisableTorchFunction():
            args, kwargs = replace_leaves((tuple(args), dict(kwargs)), self._ref)
        call = Call(
            module=module,
            args=args,
            kwargs=kwargs,
            inputs=tuple(leaf.value for leaf in leaves((args, kwargs)) if isinstance(leaf, Ref)),
            parent=self._stack[-1] if self._stack else None,
            start=len(self.recording.events),
        )
        self._stack.append(call)
        self.recording.events.append(call)

    def leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """A module returns; what it has computed by unseen means is its own work."""
        call = self._stack.pop()
        assert call.module is module
        with torch._C.DisableTorchFunction():
            for leaf in leaves(output):
                if isinstance(leaf, Tensor) and self._known(leaf) is None:
                    self._new(leaf)
            call.output = replace_leaves(output, self._ref)
        call.outputs = tuple(leaf.value for leaf in leaves(call.output) if isinstance(leaf, Ref))
        call.end = len(self.recording.events)
        self.recording.events.append(End(call))

    def find_holders(self, root: nn.Module) -> None:
        """Note which of the values are parameters and buffers."""
        places = {id(tensor): value for value, tensor in self.recording.external.items()}
        for module in root.modules():
            plain = ((name, value) for name, value in module.__dict__.items() if isinstance(value, Tensor))
            for name, tensor in (*module._parameters.items(), *module._buffers.items(), *plain):
                if tensor is not None and (value := places.get(id(tensor))) is not None:
                    self.recording.held.setdefault(value, []).append((module, name))


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def record(root: nn.Module, run: Callable[[], object], *, device: torch.device) -> Recording:
    """What `run`, which calls `root`, computes. Nothing of it lasts, and hooks are not called.

    Modules that only hand on what they are given leave no trace, unless they have hooks or are of unknown packages.
    """
    kept = {m for m in root.modules() if is_hooked(m) or not type(m).__module__.startswith(_PURE)}
    recorder = _Recorder()
    with ExitStack() as stack:
        stack.enter_context(isolated(root, device))
        for module in root.modules():
            hooks = [
                module.register_forward_pre_hook(recorder.enter, with_kwargs=True),
                *([module.register_forward_hook(_as_another_tensor)] if module in kept else []),
                module.register_forward_hook(recorder.leave, with_kwargs=True),
            ]
            for hook in hooks:
                stack.callback(hook.remove)
        with recorder:
            run()
        recorder.find_holders(root)
    return recorder.recording


def _as_another_tensor(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    if isinstance(output, Tensor) and any(output is arg for arg in args):
        return output.view_as(output)
    return None


_PURE = ("torch.nn.modules.", "torchvision.", "timm.", "transformers.")
"""Where classes are from that do nothing if they return what they are given."""
