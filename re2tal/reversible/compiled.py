"""Branches compiled by a backend of `torch.compile`.

Kernels of a compiler round otherwise than torch's own, and otherwise again where they are made for another kind of
call. So there is one compiled function for a branch's forward pass and for its recomputation: both run the forward half
of what is compiled for training, with gradients for the same inputs; the forward pass throws away what it saves.

What Python code depends on is known here already, by the guards of the blocks: a branch is compiled again if its guard
is of another key, or if it is given tensors of other shapes, strides or types. Everything else is a constant of it.
"""

from __future__ import annotations

import dataclasses
import logging
import operator
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from re2tal.reversible.isolated import Place, holding
from re2tal.reversible.rng import preserved
from re2tal.reversible.tiles import Part, Rows, Tile
from re2tal.reversible.trees import PLAIN

__all__ = ["BranchCompiler", "CompiledCall", "autocast_contexts", "is_real"]

log = logging.getLogger(__name__)

_MOST_VARIANTS = 32
"""Compiled for a branch; calls of further kinds are not."""

Compute = Callable[[Tensor, tuple[Tensor, ...], Tile, Sequence[object]], Tensor]
"""Maps a tile's input, what all tiles share, the tile, and further arguments to its result."""


def autocast_contexts(device: torch.device) -> list[torch.autocast]:
    """Contexts that enter the present autocast state again, on the CPU and on `device`.

    Without the cache of cast weights: a weight cast without a graph in the forward pass must not be found there by
    code outside the chain that needs the graph.
    """
    return [
        torch.autocast(
            kind,
            dtype=torch.get_autocast_dtype(kind),
            enabled=torch.is_autocast_enabled(kind),
            cache_enabled=False,
        )
        for kind in dict.fromkeys(("cpu", device.type))
        if kind != "meta"  # which has none
    ]


class BranchCompiler:
    """Compiles branches, and keeps what it has compiled for blocks that compute the same way.

    Args:
        backend: of `torch.compile`.
    """

    def __init__(self, backend: str = "inductor") -> None:
        known = torch.compiler.list_backends(exclude_tags=())
        if backend not in known:
            raise ValueError(f"backend must be one of {', '.join(known)}, got {backend!r}")
        self.backend = backend
        self._variants: dict[Hashable, tuple[list[_Variant], object]] = {}

    def call_of(self, key: Hashable, places: Sequence[Place], *, keep: object) -> CompiledCall:
        """One call of a branch.

        Args:
            key: equal for branches that compute the same way.
            places: of all parameters and buffers that the branch may read.
            keep: whatever the key has identities of.
        """
        variants, _ = self._variants.setdefault(key, ([], keep))
        return CompiledCall(self.backend, variants, places)

    def __deepcopy__(self, memo: object) -> BranchCompiler:
        return self  # what is compiled holds no parameter

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_variants": {}}


@dataclass(frozen=True)
class _Variant:
    signature: Hashable
    looked_at: dict[str, object]
    """What of the tile is a constant of the function."""
    function: Callable[..., Any] | None

    def is_for(self, tile: Tile) -> bool:
        return all(_told(tile, name) == value for name, value in self.looked_at.items())


@dataclass
class CompiledCall:
    """One call of a branch of one block."""

    backend: str
    variants: list[_Variant]
    """What is compiled of such branches, for each kind of input."""
    places: Sequence[Place]
    may_compile: bool | None = None
    """Whether the forward pass could, which the recomputation follows; None: it has not run."""

    def run(
        self, compute: Compute, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile, args: Sequence[object]
    ) -> Tensor:
        """`compute(x, prepared, tile, args)`, which must need gradients in the same way whenever it is called."""
        if self.may_compile is None:
            self.may_compile = is_real(x) and all(isinstance(arg, PLAIN) or type(arg) is Tensor for arg in args)
        if not self.may_compile:
            return compute(x, prepared, tile, args)
        inputs = _Inputs.of(x, prepared, tile, args, self.places)
        function = self._compiled(inputs, compute)
        if function is None:
            return compute(x, prepared, tile, args)
        graph = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad(), _without_autocast(x.device):
            (f,) = function(*map(_ordinary, inputs.tensors))
        result: Tensor = f
        return result if graph else result.detach()

    def _compiled(self, inputs: _Inputs, compute: Compute) -> Callable[..., Any] | None:
        """The function for such inputs; None if there is none, which stays so."""
        signature = inputs.signature()
        for variant in self.variants:
            if variant.signature == signature and variant.is_for(inputs.tile):
                return variant.function
        if len(self.variants) == _MOST_VARIANTS:
            return None
        body = _Body(compute, inputs, self.places, autocast_contexts(inputs.tensors[0].device))
        function = _compile(body, backend=self.backend)
        self.variants.append(_Variant(signature, body.looked_at, function))
        if len(self.variants) == _MOST_VARIANTS:
            log.warning("a branch has been compiled for %d kinds of input; further ones are not", _MOST_VARIANTS)
        return function


def _ordinary(tensor: Tensor) -> Tensor:
    """What may be kept for a backward pass, which tensors of inference mode may not."""
    return tensor.clone().requires_grad_(tensor.requires_grad) if tensor.is_inference() else tensor


def is_real(x: Tensor) -> bool:
    """Whether there are values to compute with, and nobody who watches every operation."""
    return type(x) is Tensor and not x.is_meta and torch._C._len_torch_dispatch_stack() == 0


@dataclass(frozen=True)
class _Inputs:
    """All tensors that a branch reads, in one row."""

    tensors: list[Tensor]
    """Those among what it is given, and then what modules hold, each once."""
    given: tuple[object, ...]
    """The leaves of (x, what is shared, arguments, rows of the tile's detail), with `Tensor` for a tensor."""
    tree: TreeSpec
    held: tuple[int, ...]
    """For every place, which of the tensors that modules hold is there."""
    tile: Tile

    @staticmethod
    def of(
        x: Tensor, prepared: Sequence[Tensor], tile: Tile, args: Sequence[object], places: Sequence[Place]
    ) -> _Inputs:
        """`x` as a tensor that needs a gradient, as wherever gradients flow."""
        x = x if x.requires_grad else x.detach().requires_grad_()
        rows = [part.on(x.device) for part in _rows(tile.detail)]
        leaves, tree = tree_flatten((x, tuple(prepared), list(args), rows))
        values = [module.__dict__[kind][name] for module, kind, name in places]
        each = list({id(tensor): tensor for tensor in values}.values())
        ranks = {id(tensor): rank for rank, tensor in enumerate(each)}
        return _Inputs(
            [*(leaf for leaf in leaves if isinstance(leaf, Tensor)), *each],
            tuple(Tensor if isinstance(leaf, Tensor) else leaf for leaf in leaves),
            tree,
            tuple(ranks[id(tensor)] for tensor in values),
            tile,
        )

    def signature(self) -> Hashable:
        """Equal for inputs for which the same function is compiled."""
        tensors = tuple((t.shape, t.stride(), t.dtype, t.device, t.requires_grad) for t in self.tensors)
        kinds = dict.fromkeys(("cpu", self.tensors[0].device.type))
        cast = tuple(torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) for kind in kinds)
        given = tuple((type(leaf), leaf) for leaf in self.given)
        return tensors, given, self.tree, self.held, cast, torch.are_deterministic_algorithms_enabled()


@dataclass(eq=False)
class _Body:
    """The branch as a function of all its tensors, for the compiler to trace."""

    __name__ = "branch"  # for graphs, which print it

    compute: Compute | None
    inputs: _Inputs
    places: Sequence[Place]
    autocast: Sequence[torch.autocast]
    looked_at: dict[str, object] = field(default_factory=dict)

    def __call__(self, *tensors: Tensor) -> tuple[Tensor]:
        assert self.compute is not None
        rest = iter(tensors)
        given = [next(rest) if leaf is Tensor else leaf for leaf in self.inputs.given]
        x, prepared, args, rows = tree_unflatten(given, self.inputs.tree)
        each = list(rest)
        tile = _LookedAt(self.inputs.tile, rows, self.looked_at)
        with ExitStack() as stack:
            for context in self.autocast:
                stack.enter_context(context)
            stack.enter_context(holding(self.places, [each[rank] for rank in self.inputs.held]))
            return (self.compute(x, prepared, tile, args),)  # type: ignore[arg-type]


class _LookedAt:
    """A tile as a branch sees it while it is traced: notes what it looks at, which is a constant from then on."""

    def __init__(self, tile: Tile, rows: Sequence[Tensor], looked_at: dict[str, object]) -> None:
        self._tile, self._rows, self._looked_at = tile, rows, looked_at

    def __getattr__(self, name: str) -> Any:
        self._looked_at[name] = _told(self._tile, name)
        value = getattr(self._tile, name)
        if name != "detail" or not self._rows:
            return value
        rest = iter(self._rows)
        rows = {f.name: next(rest) for f in dataclasses.fields(value) if isinstance(getattr(value, f.name), Rows)}
        return dataclasses.replace(value, **{n: Rows(tensor, {tensor.device: tensor}) for n, tensor in rows.items()})


def _rows(detail: object) -> list[Rows]:
    """Those among the fields of a tile's detail, which are inputs of what is compiled."""
    return [value for value in _fields(detail) if isinstance(value, Rows)]


def _fields(detail: object) -> list[object]:
    if not dataclasses.is_dataclass(detail) or isinstance(detail, type):
        return []
    return [getattr(detail, field.name) for field in dataclasses.fields(detail)]


def _told(tile: Tile, name: str) -> object:
    """What an attribute of a tile says, without the numbers of rows."""
    value: Part | object = getattr(tile, name)
    if not _rows(value):
        return value
    return type(value), [Rows if isinstance(part, Rows) else part for part in _fields(value)]


def _compile(body: _Body, *, backend: str) -> Callable[..., Any] | None:
    """A branch that a backend cannot compile is computed as it is, with a warning."""
    inputs, x = body.inputs, body.inputs.tensors[0]
    function: Callable[..., Any] | None = None
    try:
        if any(is_traceable_wrapper_subclass(tensor) for tensor in inputs.tensors):
            raise TypeError("it computes with tensors of other classes than torch's own")
        with preserved(x.device), torch.inference_mode(False), torch.enable_grad(), _without_autocast(x.device):
            tensors = [_ordinary(tensor) for tensor in inputs.tensors]
            function = _by_backend(backend, body, tensors)
            # Tried at once: a backend compiles the backward pass when it is first run, and may fail only then.
            (f,) = function(*tensors)
            torch.autograd.grad(f, tensors[0], torch.zeros_like(f), allow_unused=True)
    except Exception as error:
        function = None
        reason = str(error).strip().splitlines() or [""]
        warnings.warn(
            f"a branch could not be compiled by {backend} and is computed as it is ({type(error).__name__}: "
            f"{reason[0][:200]})",
            stacklevel=2,
        )
    body.compute = None  # it has the network
    return function


def _by_backend(backend: str, body: _Body, tensors: Sequence[Tensor]) -> Callable[..., Any]:
    """The body is one node of the graph that a backend is given, so that it is traced by its operations."""
    from torch._dynamo.backends.registry import lookup_backend  # which takes seconds

    graph = torch.fx.Graph()
    places = tuple(graph.placeholder(f"tensor_{place}") for place in range(len(tensors)))
    results = graph.call_function(body, places)
    graph.output((graph.call_function(operator.getitem, (results, 0)),))
    compiled: Callable[..., Any] = lookup_backend(backend)(torch.fx.GraphModule({}, graph), list(tensors))
    return compiled


@contextmanager
def _without_autocast(device: torch.device) -> Iterator[None]:
    """What is compiled casts by itself."""
    with ExitStack() as stack:
        for kind in dict.fromkeys(("cpu", device.type)):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield
