"""Branches that were cut out of a module by tracing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from re2tal.reversible.branch import Branch, Slot

__all__ = ["CutBranch"]


@dataclass(frozen=True)
class CutBranch(Branch):
    """As a `Branch`; its function is a tape.

    `uses` may name what lies deeper in the owner than its children: "layer.0.attention".
    """

    reads_args: bool = True
    """Whether the arguments of the block matter to it."""
    needs_graph: bool = False
    """In the forward pass, too: torch chooses other kernels where no gradient is needed, and they round differently."""

    def modules(self) -> Iterator[nn.Module]:
        children = dict(self.owner.named_modules(remove_duplicate=False))
        roots = [children[name] for name in self.uses if name in children]
        yield from {module: None for root in roots for module in root.modules()}

    def parameters(self) -> list[Slot]:
        slots = [
            Slot(module, name, parameter)
            for module in self.modules()
            for name, parameter in module._parameters.items()
            if parameter is not None
        ]
        for path in self.uses:
            parent, _, name = path.rpartition(".")
            holder = self.owner.get_submodule(parent)
            if (parameter := holder._parameters.get(name)) is not None:
                slots.append(Slot(holder, name, parameter))
        return slots
