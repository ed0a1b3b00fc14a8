"""One step through the streams: which branches it runs, and what it must not change beside them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from re2tal.reversible.branch_call import BranchCall, autocast_contexts, trainable, version_of
from re2tal.reversible.guards import Guard
from re2tal.reversible.trees import PLAIN

__all__ = ["SidewaysError", "Step"]


class SidewaysError(Exception):
    """A branch has handed a tensor to somebody else than its caller, by an attribute."""

    def __init__(self, name: str, attribute: str) -> None:
        super().__init__(f"its forward pass writes a tensor, or to a list or object, in {name or 'it'}.{attribute}")


_TENSOR = object()
"""Stands in a step's arguments where a tensor goes."""


class Step:
    """The branches that run one after the other in one call: of a block, or of all blocks of a chain.

    Args:
        calls: of the branches.
        args: for every branch; tensors among them may need gradients.
        dtype: in which branches are given their input.
        device: of all.
    """

    def __init__(
        self, calls: Sequence[BranchCall], args: Sequence[object], *, dtype: torch.dtype, device: torch.device
    ) -> None:
        given = [arg for arg in args if isinstance(arg, Tensor)]
        self.calls, self.dtype, self.device = list(calls), dtype, device
        self.autocast = autocast_contexts(device)
        self.parameters = trainable(slot for call in calls for slot in call.parameters)
        """Those that need gradients, each once."""
        self.tensors, self.learning = [arg.detach() for arg in given], [arg.requires_grad for arg in given]
        """The tensors among the arguments, without their graphs, and which of these need gradients."""
        self._args = tuple(_TENSOR if isinstance(arg, Tensor) else arg for arg in args)
        self._versions = [version_of(arg) for arg in given]
        self._read = self._noted()
        """What the branches read beside parameters and buffers."""

    def _noted(self) -> list[tuple[str, Tensor, int]]:
        attributes = [entry for guard in self.guards for entry in guard.tensors]
        constants = [("a constant of a branch", t) for call in self.calls for t in call.branch.constants]
        return [(name, tensor, version_of(tensor)) for name, tensor in (*attributes, *constants)]

    def by_block(self) -> list[Step]:
        """Steps of one block each, which together are this one."""
        parts = []
        for _, calls in groupby(self.calls, key=lambda call: call.guard):
            part = copy.copy(self)
            part.calls = list(calls)
            part.parameters = trainable(slot for call in part.calls for slot in call.parameters)
            part._read = part._noted()
            parts.append(part)
        return parts

    @property
    def devices(self) -> list[torch.device]:
        """That the branches may draw random numbers on."""
        return list(dict.fromkeys(device for call in self.calls for device in call.devices))

    @property
    def guards(self) -> list[Guard]:
        """Of the blocks, each once."""
        return list(dict.fromkeys(call.guard for call in self.calls))

    def first(self, *, x_needs: bool) -> int:
        """No branch before this one needs a gradient; `x_needs`: whether the step's input does."""
        if x_needs or any(self.learning):
            return 0
        return next((index for index, call in enumerate(self.calls) if trainable(call.parameters)), 0)

    def filled(self, tensors: Sequence[Tensor]) -> list[object]:
        """The arguments, with `tensors` in the places of tensors."""
        replacement = iter(tensors)
        return [next(replacement) if arg is _TENSOR else arg for arg in self._args]

    def leaves(self, learning: Sequence[bool]) -> list[Tensor]:
        """The tensors among the arguments, as leaves."""
        return [arg.detach().requires_grad_(need) for arg, need in zip(self.tensors, learning, strict=True)]

    def check_effects(self) -> None:
        """After the forward pass: see what it did beside computing its result.

        Raises:
            SidewaysError: it has set an attribute to something that may have a graph.
            RuntimeError: a large buffer has moved that was not copied in time.
        """
        for call in self.calls:
            call.check_moved()
        for name, tensor, version in self._read:
            if version_of(tensor) != version:
                raise SidewaysError(name, "what it holds")
        for guard in self.guards:
            if not guard.holds():
                for name, attribute, _, now in guard.changed_attributes():
                    if (name, attribute) not in guard.ignored and not isinstance(now, PLAIN):
                        raise SidewaysError(name, attribute)

    def put_back(self) -> None:
        """As if the step had not run."""
        for call in reversed(self.calls):
            if call.state is not None:
                call.put_buffers_back()
                call.state.restore()
        for guard in self.guards:
            guard.put_back()

    def check_unmodified(self) -> None:
        """Raise a RuntimeError if a tensor that the step reads was written to since."""
        for call in self.calls:
            call.check_unmodified()
        for name, tensor, version in self._read:
            if version_of(tensor) != version:
                raise RuntimeError(
                    f"{name} of a reversible block was modified in place between its forward and its backward pass, "
                    "which computes with it again; change it after the backward pass"
                )
        # Those that autograd keeps, it looks after.
        if any(version_of(arg) != version for arg, version in zip(self.tensors, self._versions, strict=False)):
            raise RuntimeError(
                "an argument of a reversible block was modified in place between its forward and its backward pass, "
                "which computes with it again; give the block a copy"
            )
