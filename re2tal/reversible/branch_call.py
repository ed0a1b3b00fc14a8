"""One call of a branch, as a whole or tile by tile; both look alike from outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from re2tal.reversible.branch import Branch
from re2tal.reversible.compiled import BranchCompiler, CompiledCall, autocast_contexts
from re2tal.reversible.dry_run import computing_a_tile, to_compute
from re2tal.reversible.guards import Guard
from re2tal.reversible.isolated import holding, saving_unseen
from re2tal.reversible.observers import observers
from re2tal.reversible.rng import GeneratorState
from re2tal.reversible.tiles import Cut, Join, Tile, Tiling, prefers_few_tiles

__all__ = [
    "BranchCall",
    "Slot",
    "autocast_contexts",
    "branch_dtype",
    "entered",
    "graph_for",
    "may_move",
    "trainable",
    "version_of",
]

_WHOLE = (Tile(),)


@contextmanager
def entered(contexts: Sequence[torch.autocast]) -> Iterator[None]:
    """The autocast state of the forward pass."""
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


def branch_dtype(x: Tensor, branches: Sequence[Branch]) -> torch.dtype:
    """The type in which branches are given a stream that starts with `x`.

    Streams of half precision are held in float32. A network whose parameters are of half precision computes in it; one
    under autocast is given float32 and casts where it should.
    """
    if x.dtype not in (torch.bfloat16, torch.float16):
        return x.dtype
    if torch.is_autocast_enabled(x.device.type):
        parameters = (p for branch in branches for *_, p in branch.parameters() if p.is_floating_point())
        if not all(p.dtype == x.dtype for p in parameters):
            return torch.float32
    return x.dtype


@dataclass(frozen=True)
class Slot:
    """A place that holds a tensor, and what it held when the forward pass looked.

    `torch.func.functional_call` and sharding put other tensors there.
    """

    module: nn.Module
    name: str
    tensor: Tensor
    version: int
    learns: bool = False
    """Whether it needed a gradient."""
    copy: Tensor | None = None
    """Of a buffer, what it held, in memory of its own."""

    @property
    def is_modified(self) -> bool:
        """Whether it was written to since."""
        return version_of(self.tensor) != self.version

    def check(self) -> None:
        """Raise a RuntimeError if it was written to since, and nobody knows what it held."""
        if self.copy is None and self.is_modified:
            raise RuntimeError(
                f"{self.name} of a {type(self.module).__name__} in a reversible network was modified in place between "
                "its forward and its backward pass, which computes with it again; step the optimizer, and change "
                "weights and buffers, after the backward pass"
            )


def version_of(tensor: Tensor) -> int:
    """Changes whenever `tensor` is written to; tensors of inference mode have none, and nothing runs backward."""
    return -1 if tensor.is_inference() else tensor._version


def trainable(slots: Iterable[Slot]) -> list[Tensor]:
    """The parameters in `slots` that need a gradient, each once."""
    return list({id(slot.tensor): slot.tensor for slot in slots if slot.learns}.values())


def _largest_copy(buffer: Tensor) -> int:
    """Bytes up to which a buffer is copied before every call, in case it moves; a larger one once it has moved.

    Large integers are masks and indices.
    """
    return 2**20 if buffer.is_floating_point() else 2**16


class BranchCall:
    """One call of a branch: how it is carried out, and what running it again has to know.

    Args:
        branch: that is called.
        guard: of its modules, as they are now.
        shape: of the whole input.
        args: whether there are further arguments.
        limit: bytes that a tile may take, about; None: no tiles.
        device: of the input.
        compiler: of what is computed; None: it is computed as it is.
    """

    def __init__(
        self,
        branch: Branch,
        guard: Guard,
        shape: tuple[int, ...],
        *,
        args: bool,
        limit: int | None,
        device: torch.device,
        compiler: BranchCompiler | None = None,
    ) -> None:
        self.branch, self.guard, self.shape = branch, guard, shape
        self.tiles: Sequence[Tile] = _WHOLE
        self._tiling: Tiling | None = None
        if limit is not None and branch.tiling is not None and not (args and branch.reads_args):
            # Every kind of tile is compiled by itself.
            in_few = prefers_few_tiles(device) or compiler is not None
            few = branch.tiling.in_few if in_few else None
            tiling = few or branch.tiling
            tiles = tiling.tiles(branch.owner, shape, limit)
            if tiles is not None:
                self.tiles, self._tiling = to_compute(tiles, shape), tiling
        branch.check_gathered()
        self.parameters = [Slot(m, name, p, version_of(p), p.requires_grad) for m, name, p in branch.parameters()]
        held = (tensor for *_, tensor in (*branch.parameters(), *branch.buffers()))
        self.devices = tuple(dict.fromkeys((device, *(tensor.device for tensor in held))))
        """That it may draw random numbers on."""
        self.buffers: list[Slot] = []
        self.state: GeneratorState | None = None
        self.dropped: Tensor | None = None
        """What the streams' coefficients dropped when the branch's result was added."""
        may_compile = compiler is not None and not branch.constants and not guard.tensors
        self._compiled = self._variants(compiler) if compiler is not None and may_compile else None
        self.input: Tensor | None = None
        """The stream that it was computed of, where that is stored."""
        self.graph: object = None
        """Its graph, where that is stored."""

    def _variants(self, compiler: BranchCompiler) -> CompiledCall | None:
        buffers = list(self.branch.buffers())
        if any(may_move(module) for module, *_ in buffers):
            return None
        function = self.branch.function if self._tiling is None else self._tiling.compute
        held = [(slot.module, "_parameters", slot.name) for slot in self.parameters]
        held += [(module, "_buffers", name) for module, name, _ in buffers]
        key = self.guard.key(), id(function), self.branch.uses
        return compiler.call_of(key, held, keep=(function, self.guard))

    def begin(self, state: GeneratorState | None = None) -> GeneratorState:
        """The branch is about to run: note random state (that of the branch before may be the same) and buffers."""
        self.state = GeneratorState.snapshot(*self.devices, previous=state)
        self.buffers = [self._noted(module, name, buffer) for module, name, buffer in self.branch.buffers()]
        return self.state

    def _noted(self, module: nn.Module, name: str, buffer: Tensor) -> Slot:
        # Whether it has moved cannot be seen from its version: batch norms write to theirs without a change of it.
        wanted = (id(module), name) in self.guard.moving or (
            may_move(module) and buffer.nbytes <= _largest_copy(buffer)
        )
        return Slot(module, name, buffer, version_of(buffer), copy=buffer.detach().clone() if wanted else None)

    def check_moved(self) -> None:
        """After the forward pass: a large buffer that has moved for the first time cannot be put back.

        Raises:
            RuntimeError: there is one. It is copied in time from now on.
        """
        for slot in self.buffers:
            now = slot.module._buffers.get(slot.name)
            if slot.copy is None and (now is not slot.tensor or slot.is_modified):
                self.guard.moving.add((id(slot.module), slot.name))
                raise RuntimeError(
                    f"{slot.name} of a {type(slot.module).__name__} has moved in the forward pass of a reversible "
                    f"block for the first time, and its {slot.tensor.nbytes / 2**20:.0f} MiB were not copied before; "
                    "run the step again, or store this network (set_mode(model, 'store'))"
                )

    def put_buffers_back(self) -> None:
        """As if the branch had not run."""
        for slot in self.buffers:
            slot.module._buffers[slot.name] = slot.tensor
            if slot.copy is not None:
                # Another graph may read it, too; batch norms write to theirs without a new version.
                with torch.no_grad(), torch.autograd._unsafe_preserve_version_counter(slot.tensor):
                    slot.tensor.copy_(slot.copy)

    def check_unmodified(self) -> None:
        """Raise a RuntimeError if a tensor that the branch reads was written to since the forward pass."""
        for slot in (*self.parameters, *self.buffers):
            slot.check()

    @contextmanager
    def replayed(self) -> Iterator[list[Tensor]]:
        """Inside, the branch runs on what it had in the forward pass and leaves no trace.

        Yields what `on_leaves` does. Buffers move in the forward pass and only there.
        """
        assert self.state is not None
        self.state.restore()
        buffers = [slot.tensor if slot.copy is None else slot.copy.clone() for slot in self.buffers]
        places = [(slot.module, "_buffers", slot.name) for slot in self.buffers]
        with holding(places, buffers), self.on_leaves() as leaves:
            yield leaves

    @contextmanager
    def on_leaves(self) -> Iterator[list[Tensor]]:
        """Inside, the branch runs on leaves that stand for its parameters.

        Yields one for each parameter that needs a gradient, in the order of `trainable(self.parameters)`. The hooks of
        a parameter run whenever a gradient with respect to it is computed: differentiating the parameter here, and once
        more where its gradient arrives, would run every hook twice.
        """
        leaves = {id(parameter): parameter.detach().requires_grad_() for parameter in trainable(self.parameters)}
        # A parameter that was frozen since stays what it was.
        held = (slot.tensor.detach() if slot.tensor.requires_grad else slot.tensor for slot in self.parameters)
        tensors = [leaves.get(id(slot.tensor), tensor) for slot, tensor in zip(self.parameters, held, strict=True)]
        with holding([(slot.module, "_parameters", slot.name) for slot in self.parameters], tensors):
            yield list(leaves.values())

    def result_shape(self) -> tuple[int, ...]:
        """Of what the branch returns."""
        if self._tiling is None or self._tiling.result is None:
            return self.shape
        return self._tiling.result(self.branch.owner, self.shape)

    @property
    def needs_graph(self) -> bool:
        """Whether it has to be computed with a graph wherever it is computed."""
        needed = self._tiling is not None and self._tiling.needs_graph
        return needed or self.branch.needs_graph or self._compiled is not None

    @property
    def in_tiles(self) -> bool:
        """Whether the branch is not computed as a whole."""
        return self._tiling is not None

    def prepare(self, like: Tensor) -> tuple[Tensor, ...]:
        """What the tiles share; `like` has the shape and type of the input. Draws what the branch draws."""
        return () if self._tiling is None else self._tiling.prepare(self.branch.owner, like)

    def compute(self, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile, args: Sequence[object]) -> Tensor:
        """`f` of a tile."""
        told = observers()
        for observer in told:
            observer.begins(self.branch, x)
        with computing_a_tile():
            if self._compiled is None:
                f = self._computed(x, prepared, tile, args)
            else:
                f = self._compiled.run(self._computed, x, prepared, tile, args)
        for observer in told:
            observer.ended(self.branch, f)
        return f

    def _computed(self, x: Tensor, prepared: tuple[Tensor, ...], tile: Tile, args: Sequence[object]) -> Tensor:
        if self._tiling is None:
            return self.branch(x, *args)
        return self._tiling.compute(self.branch.owner, x, prepared, tile)

    def with_graph(self, x: Tensor, args: Sequence[object]) -> Tensor:
        """`f` of everything, by the same steps, under ordinary autograd."""
        if not self.in_tiles:
            return self.compute(x, (), self.tiles[0], args)
        prepared = self.prepare(x)
        parts = Cut.apply(x, [tile.read for tile in self.tiles])
        results = [self.compute(part, prepared, tile, ()) for part, tile in zip(parts, self.tiles, strict=True)]
        whole: Tensor = Join.apply(self.result_shape(), [tile.write for tile in self.tiles], *results)
        return whole


def may_move(module: nn.Module) -> bool:
    """Whether a call may change a buffer of the module; those of torch and torchvision are known."""
    if isinstance(module, _NormBase):
        return module.training and module.track_running_stats
    return not type(module).__module__.startswith(("torch.nn.modules.", "torchvision."))


@contextmanager
def graph_for(call: BranchCall) -> Iterator[bool]:
    """Yields whether the branch computes with a graph although nobody needs it."""
    if not call.needs_graph:
        with torch.no_grad():
            yield False
        return
    with torch.enable_grad(), saving_unseen():
        yield True
