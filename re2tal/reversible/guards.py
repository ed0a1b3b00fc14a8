"""What a block's Python code depended on when it was examined, and whether it still is so.

A block is examined once and then run by what was found, again in the backward pass. Both are right only while nobody
has changed what its code reads: the modules inside it, their classes, hooks, instance `forward`s and plain attributes.
A `Guard` remembers all of that. `holds` costs microseconds; `key` describes it so that equal descriptions mean equal
computations, and survives a deep copy; `restored` puts back what a forward pass has read, for its recomputation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from operator import is_
from types import CellType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from re2tal.reversible.isolated import BOOKKEEPING, HOOKS
from re2tal.reversible.tracers import is_observed_by_a_compiler
from re2tal.reversible.trees import PLAIN

__all__ = ["Guard", "Key", "Onlooker", "Watch", "has_global_hooks", "is_hooked", "restored"]

_OF_MODULE = BOOKKEEPING | {"_is_full_backward_hook", "_is_hf_initialized"}
"""Attributes of every module, which are looked at on their own or do not matter."""
_LONGEST = 4096
"""Entries of a container that are looked at."""


Key = tuple[Hashable, Hashable]
"""What modules are, and what the globals are that their code reads."""


class Onlooker:
    """Whose methods are hooks that keep nothing and change nothing: they do not matter to how a block is run."""


def is_hooked(module: nn.Module) -> bool:
    """Whether calling `module` calls hooks, too, of others than onlookers."""
    attributes = module.__dict__
    return any(
        not isinstance(getattr(hook, "__self__", None), Onlooker)
        for name in HOOKS
        if attributes[name]
        for hook in attributes[name].values()
    )


def has_global_hooks() -> bool:
    """Whether calling any module calls hooks, too."""
    return bool(
        torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    )


def described(value: object, *, depth: int = 3) -> Hashable:
    """Equal for values that make Python code do the same, as far as can be told.

    Tensors may hold any numbers; of objects and functions of unknown kinds the identity counts.
    """
    if isinstance(value, PLAIN):
        return (type(value), repr(value) if isinstance(value, float) else value)
    if isinstance(value, Tensor):
        return (Tensor, value.dtype, value.requires_grad)
    if isinstance(value, list | tuple | set | frozenset | dict) and depth and len(value) <= _LONGEST:
        if isinstance(value, dict):
            return (type(value), *((described(k), described(v, depth=depth - 1)) for k, v in value.items()))
        if isinstance(value, set | frozenset):
            return (type(value), frozenset(described(item, depth=depth - 1) for item in value))
        return (type(value), *(described(item, depth=depth - 1) for item in value))
    attributes = getattr(value, "__dict__", None)
    if isinstance(value, ModuleType) or type(value).__module__.startswith("torch."):
        return (type(value), id(value))
    if not depth or isinstance(value, type | nn.Module) or callable(value) or not isinstance(attributes, dict):
        return (type(value), id(value))
    # A configuration, say.
    return (type(value), *((name, described(item, depth=0)) for name, item in attributes.items()))


def _may_change_inside(value: object) -> bool:
    """Whether it may say something else without being replaced."""
    if isinstance(value, (*PLAIN, Tensor, type, nn.Module)):
        return False
    if isinstance(value, ModuleType) or type(value).__module__.startswith(
        "torch."
    ):  # what FSDP2 knows of a module, say
        return False
    return isinstance(value, list | set | dict) or (not callable(value) and hasattr(value, "__dict__"))


_NO_CODE = compile("", "", "exec")


def _function_of(module: nn.Module) -> object:
    """The Python function that computes it; None for layers of torch, which read nothing from outside."""
    instance = module.__dict__.get("forward")
    function = getattr(instance, "replaced", instance) or type(module).forward
    if type(module).__module__.startswith("torch.nn.modules.") and instance is None:
        return None
    return getattr(function, "__func__", function)


def _closed_over(function: object) -> list[object]:
    """What the function has from the function that made it."""
    return [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if cell != CellType()]


def _absent(tensors: dict[str, Any]) -> dict[str, bool]:
    return {name: tensor is None for name, tensor in tensors.items()}


class _Record:
    """Of one module."""

    def __init__(self, name: str, module: nn.Module) -> None:
        attributes = module.__dict__
        self.name = name
        self.module, self.kind, self.forward = module, type(module), type(module).forward
        self.names, self.values = tuple(attributes), tuple(attributes.values())
        self.children = dict(module._modules)
        self.parameters, self.buffers = _absent(module._parameters), _absent(module._buffers)
        self.hooked = is_hooked(module)
        own = ((name, value) for name, value in attributes.items() if name not in _OF_MODULE)
        self.inside = tuple((name, v, described(v)) for name, v in own if _may_change_inside(v))
        function = _function_of(module)
        self.around, names = getattr(function, "__globals__", {}), getattr(function, "__code__", _NO_CODE).co_names
        self.read_globals = tuple((name, self.around[name]) for name in names if name in self.around)

    def holds(self, *, around: bool = True) -> bool:
        module = self.module
        attributes = module.__dict__
        children = attributes["_modules"]
        return (
            type(module) is self.kind
            and len(attributes) == len(self.values)
            and all(map(is_, attributes.values(), self.values))
            and len(children) == len(self.children)
            and all(map(is_, children.values(), self.children.values()))
            and _absent(attributes["_parameters"]) == self.parameters
            and _absent(attributes["_buffers"]) == self.buffers
            and is_hooked(module) == self.hooked
            and self.kind.forward is self.forward
            and all(described(value) == before for _, value, before in self.inside)
            and (not around or all(self.around.get(name, self) is value for name, value in self.read_globals))
        )

    def key(self, ignored: Collection[tuple[str, str]]) -> Hashable:
        # What a class says its modules are told before calls: it is put back for recomputations, and branches that call
        # them are right for any.
        told: Collection[str] = getattr(self.kind, "told_before_calls", ())
        own: list[Hashable] = [
            (name, described(value))
            for name, value in zip(self.names, self.values, strict=True)
            if name not in _OF_MODULE and (self.name, name) not in ignored and name not in told and name != "forward"
        ]
        instance = self.module.__dict__.get("forward")
        own += [described(value) for value in _closed_over(_function_of(self.module))]
        names = (tuple(self.children), tuple(self.parameters.items()), tuple(self.buffers.items()))
        replaced = instance and getattr(instance, "replaced", instance)
        return self.name, self.kind, self.forward, replaced, tuple(own), names

    def changed_inside(self) -> str | None:
        return next((name for name, value, before in self.inside if described(value) != before), None)


class Guard:
    """Of all modules of a block.

    Args:
        root: the block.
        ignored: (path, attribute) of what the block's own forward pass changes, such as counters: it says nothing.
        moving: (id of the module, name) of large buffers that a forward pass was seen to change, as far as known.
    """

    def __init__(
        self,
        root: nn.Module,
        *,
        ignored: frozenset[tuple[str, str]] = frozenset(),
        moving: set[tuple[int, str]] | None = None,
    ) -> None:
        self.root = root
        self.ignored = ignored
        self._records = [_Record(name, module) for name, module in root.named_modules()]
        self.hooked = tuple(record.name for record in self._records if record.name and record.hooked)
        """Names of the modules inside the block whose calls call hooks; those of the block itself run around it."""
        self.tensors = tuple(
            (f"{record.name or type(root).__name__}.{attribute}", value)
            for record in self._records
            for attribute, value in zip(record.names, record.values, strict=True)
            if isinstance(value, Tensor)
        )
        """Plain attributes that are tensors."""
        self._key: Key | None = None
        self.moving = set() if moving is None else moving

    def holds(self, *, around: bool = True) -> bool:
        """Whether nothing has changed, in the modules and, unless told otherwise, in the globals that they read."""
        return all(record.holds(around=around) for record in self._records)

    def key(self) -> Key:
        """Equal for blocks that compute the same way: this one at another time, and deep copies.

        It is of what the guard was made of, whatever has happened since.
        """
        if self._key is None:
            modules = tuple(record.key(self.ignored) for record in self._records)
            around = tuple((name, described(value)) for record in self._records for name, value in record.read_globals)
            self._key = (self.hooked, modules), around
        return self._key

    def changed_attributes(self) -> Iterator[tuple[str, str, object, object]]:
        """(path, attribute, value then, value now) of what has been bound anew since, None for what is not there."""
        for record in self._records:
            name = record.name
            now, then = record.module.__dict__, dict(zip(record.names, record.values, strict=True))
            for attribute in {**then, **now}:
                if now.get(attribute) is not then.get(attribute) and attribute not in _OF_MODULE:
                    yield name, attribute, then.get(attribute), now.get(attribute)
            if (inside := record.changed_inside()) is not None:
                yield name, inside, now[inside], now[inside]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Inside, the modules are what they were, and what happens to their attributes there leaves no trace.

        Raises:
            RuntimeError: something was changed that cannot be put back: a list or an object that was written to.
        """
        for record in self._records:
            if (attribute := record.changed_inside()) is not None:
                raise RuntimeError(
                    f"{record.name or type(self.root).__name__}.{attribute} of a reversible block was written to "
                    "between its forward and its backward pass, which computes with it again; change it after the "
                    "backward pass"
                )
        stale = [record for record in self._records if not record.holds()]
        kept = [(r, type(r.module), dict(r.module.__dict__), dict(r.module._modules)) for r in stale]
        try:
            for record in stale:
                _put_back(record)
            yield
        finally:
            for record, kind, attributes, children in kept:
                _replace(record.module, kind, attributes, children)

    def put_back(self) -> None:
        """Make the attributes what they were: what has happened since shall not have happened."""
        for record in self._records:
            if not record.holds() and record.changed_inside() is None:
                _put_back(record)


def _put_back(record: _Record) -> None:
    attributes = dict(zip(record.names, record.values, strict=True))
    if not record.hooked:
        attributes.update((name, OrderedDict()) for name in HOOKS if attributes[name])
    if record.kind.forward is not record.forward and "forward" not in attributes:
        attributes["forward"] = record.forward.__get__(record.module)
    _replace(record.module, record.kind, attributes, record.children)


def _replace(
    module: nn.Module, kind: type[nn.Module], attributes: dict[str, Any], children: dict[str, nn.Module | None]
) -> None:
    if type(module) is not kind:
        module.__class__ = kind
    module.__dict__.clear()
    module.__dict__.update(attributes)
    module._modules.clear()
    module._modules.update(children)


@contextmanager
def restored(guards: Sequence[Guard]) -> Iterator[None]:
    """Inside, the modules of all of them are what they were."""
    with ExitStack() as stack:
        for guard in guards:
            if not guard.holds():
                stack.enter_context(guard.restored())
        yield


class Watch:
    """The guard of a module as it is now: a new one whenever the module has changed.

    Args:
        module: that is watched.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.ignored: frozenset[tuple[str, str]] = frozenset()
        """(path, attribute) of what the module's own forward pass changes."""
        self._guard: Guard | None = None

    def guard(self) -> tuple[Guard, Key]:
        """And the key of the module's present state."""
        guard = self._guard
        # An export replaces functions among the globals.
        around = not is_observed_by_a_compiler()
        if guard is None or guard.ignored != self.ignored or not guard.holds(around=around):
            moving = set() if guard is None else guard.moving
            guard = self._guard = Guard(self.module, ignored=self.ignored, moving=moving)
        return guard, guard.key()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_guard": None}
