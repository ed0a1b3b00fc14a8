"""How much memory tensors take, moment by moment, without having any: a program runs on tensors without values."""

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from re2tal.reversible.dry_run import is_computing_a_tile

__all__ = ["TILE", "MemoryTracker", "answer_without_values"]

TILE = "tile"
"""Label of what a branch of a reversible chain allocates while it is computed or differentiated."""


class MemoryTracker(TorchDispatchMode):
    """Sees every tensor come and go inside it, under the label that is set at the time.

    Made for fake tensors: where a program asks for a value it gets 1 or False, and a selection by a mask is as large as
    it can be.

    Args:
        has_values: tensors are real, and asked themselves.
    """

    def __init__(self, *, has_values: bool = False) -> None:
        super().__init__()
        self._has_values = has_values
        self.label = ""
        self._known: dict[int, int] = {}
        """Address of a storage that lives: its number."""
        self._sizes: list[int] = []
        self._labels: list[str] = []
        self._events: list[tuple[int, int]] = []
        """(number of a storage, its bytes, negative where it goes)."""

    @contextmanager
    def labelled(self, label: str) -> Iterator[None]:
        """Inside, what is allocated is called `label`."""
        before, self.label = self.label, label
        try:
            yield
        finally:
            self.label = before

    def relabel(self, tensor: Tensor, label: str) -> None:
        """Call what holds `tensor`, which lives, `label` from its beginning."""
        number = self._known.get(tensor.untyped_storage()._cdata)
        if number is not None:
            self._labels[number] = label

    def restart(self) -> None:
        """Forget what has gone; the peak is looked for from now on."""
        self._events = [(number, self._sizes[number]) for number in self._known.values()]

    def peak(self) -> dict[str, int]:
        """Bytes by label at the moment when all together were the most."""
        now: Counter[str] = Counter()
        fullest: Counter[str] = Counter()
        total = most = 0
        for number, size in self._events:
            now[self._labels[number]] += size
            total += size
            if total > most:
                most, fullest = total, now.copy()
        return {label: size for label, size in fullest.items() if size}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = None if self._has_values else answer_without_values(func, args)
        if result is None:
            result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._see(tensor)
        return result

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._known:
            return
        number = len(self._sizes)
        self._known[storage._cdata] = number
        self._sizes.append(storage.nbytes())
        self._labels.append(TILE if is_computing_a_tile() else self.label)
        self._events.append((number, self._sizes[number]))
        weakref.finalize(storage, self._lose, storage._cdata, number)

    def _lose(self, address: int, number: int) -> None:
        del self._known[address]
        self._events.append((number, -self._sizes[number]))


_VALUE = torch.ops.aten._local_scalar_dense.default
_EQUAL = torch.ops.aten.equal.default
_INDEX = torch.ops.aten.index.Tensor


def answer_without_values(func: Any, args: Any) -> Any:
    """What depends on values that are not there; None for everything else."""
    if func is _VALUE:
        return False if args[0].dtype == torch.bool else 1.0 if args[0].is_floating_point() else 1
    if func is _EQUAL:
        return True
    if func is _INDEX:
        source, indices = args
        masks = [(place, index) for place, index in enumerate(indices) if index is not None]
        if len(masks) == 1 and masks[0][1].dtype == torch.bool:
            place, mask = masks[0]
            return source.new_empty((*source.shape[:place], mask.numel(), *source.shape[place + mask.dim() :]))
    return None
