"""Modules that are not reversible: their input alone is stored, and they are computed again, in tiles if possible."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from re2tal.reversible.autograd import differentiable_once
from re2tal.reversible.branch import Branch
from re2tal.reversible.branch_call import BranchCall, autocast_contexts, entered, trainable
from re2tal.reversible.devices import empty_as
from re2tal.reversible.gradients import Gradients
from re2tal.reversible.guards import Guard, restored
from re2tal.reversible.host_memory import kept_on_host
from re2tal.reversible.malloc import return_freed_memory
from re2tal.reversible.rng import preserved
from re2tal.reversible.storage import Storage, StoredGradients, stored
from re2tal.reversible.tiles import Mode, Tile, TileSize, add_to, most_bytes, part_of, put_into

__all__ = ["run_checkpointed"]


def run_checkpointed(
    branch: Branch,
    guard: Guard,
    x: Tensor,
    *,
    mode: Mode,
    size: TileSize,
    storage: Storage,
    on_host: bool = False,
) -> Tensor:
    """`branch(x)`, whose backward pass runs it again, tile by tile or, where it must be, as a whole.

    In mode "store" by the same steps, under ordinary autograd; with activations in storage it is not run again.
    `on_host`: `x` is kept in the host's memory until then.
    """
    limit = most_bytes(size, x.device)
    branch_call = BranchCall(branch, guard, tuple(x.shape), args=False, limit=limit, device=x.device)
    branch_call.begin()
    if mode == "store":
        return branch_call.with_graph(x, ())
    is_stored = torch.is_grad_enabled() and storage.of(0) == "activations"
    call = _Call(branch_call, autocast_contexts(x.device), is_stored)
    with kept_on_host(on_host and not is_stored):
        result: Tensor = _Checkpointed.apply(call, x, *trainable(branch_call.parameters))
    return result


@dataclass(frozen=True)
class _Call:
    """What a backward pass has to know besides the input."""

    branch_call: BranchCall
    autocast: list[torch.autocast]
    is_stored: bool
    """Whether graphs of the forward pass stay for it."""


class _Checkpointed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, x: Tensor, *_: Tensor) -> Tensor:
        ctx.call = call
        ctx.save_for_backward(x)
        branch_call = call.branch_call
        out: Tensor | None = None
        with closing(_results(call, x, x_needs=ctx.needs_input_grad[1])) as results:
            for tile, y in results:
                if not branch_call.in_tiles:
                    return y
                if out is None:
                    out = empty_as(y, branch_call.result_shape())
                put_into(out, tile.write, y)
        assert out is not None
        return out

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        if not torch.is_grad_enabled():
            return _backward(ctx, dy)
        with torch.no_grad():
            found = _backward(ctx, dy)
        return differentiable_once(found)


def _results(call: _Call, x: Tensor, *, x_needs: bool) -> Generator[tuple[Tile, Tensor]]:
    """What the branch gives, tile by tile, without a graph outside."""
    branch_call = call.branch_call
    if call.is_stored:
        with stored(branch_call, x, args=(), leaves=(), autocast=call.autocast) as gradients:
            for tile in branch_call.tiles:
                part = part_of(x, tile.read).detach()
                yield tile, gradients.computed(part.requires_grad_() if x_needs else part, tile)
        return
    with entered(call.autocast):
        prepared = branch_call.prepare(x)
        for tile in branch_call.tiles:
            yield tile, branch_call.compute(part_of(x, tile.read), prepared, tile, ())


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    call: _Call = ctx.call
    branch_call = call.branch_call
    branch_call.check_unmodified()
    (x,) = ctx.saved_tensors
    dx = torch.zeros_like(x) if ctx.needs_input_grad[1] else None
    if isinstance(graph := branch_call.graph, StoredGradients):
        retain = torch._C._autograd._get_current_graph_task_keep_graph()
        sums = graph.backward(dy, dx, retain=retain)
        if not retain:
            branch_call.graph = None
        return None, dx, *sums
    return_freed_memory(x)
    with preserved(*branch_call.devices), restored([branch_call.guard]), branch_call.replayed() as parameters:
        gradients = Gradients(branch_call, x, args=(), leaves=(), parameters=parameters, autocast=call.autocast)
        for tile in branch_call.tiles:
            part = part_of(x, tile.read).detach()
            found = gradients.tile(part.requires_grad_() if dx is not None else part, tile, dy)
            if dx is not None and found is not None:
                add_to(dx, tile.read, found)
        return None, dx, *gradients.sums()
