"""What each chain and stem of a network stores, by the names of its blocks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from re2tal.reversible.chain import Chain
from re2tal.reversible.reversible_chain import ReversibleChain
from re2tal.reversible.rewire.patching import PatchedBetween, PatchedBlock
from re2tal.reversible.storage import Storage

__all__ = ["set_storage", "storage", "storing_parts"]


def storing_parts(model: nn.Module) -> dict[str, Chain | PatchedBetween]:
    """The chains and stems of a rewired network, and what stands between, by the name of their first block."""
    found: dict[str, Chain | PatchedBetween] = {}
    for name, module in model.named_modules():
        patch = module.__dict__.get("forward")
        part: Chain | PatchedBetween | None = module.chain if isinstance(module, ReversibleChain) else None
        if isinstance(patch, PatchedBetween):
            part = patch
        elif isinstance(patch, PatchedBlock):
            part = patch.chain
        if part is not None and part not in found.values():
            found[name] = part
    return found


def storage(model: nn.Module) -> dict[str, tuple[int, int]]:
    """How many branches of each part store activations, and how many behind those their input; see `Storage`."""
    return {name: (part.storage.activations, part.storage.inputs) for name, part in storing_parts(model).items()}


def set_storage(model: nn.Module, values: Mapping[str, tuple[int, int]]) -> None:
    """Have parts of a rewired network store what they could compute again, which takes memory and saves time.

    Results and gradients stay what they are, bit for bit.

    Args:
        model: rewired.
        values: as `storage` gives; parts that are not named store nothing.

    Raises:
        ValueError: a name is of no part, or a number is below 0.
    """
    parts = storing_parts(model)
    unknown = [name for name in values if name not in parts]
    if unknown:
        raise ValueError(
            f"{unknown[0][:80]!r} is no chain or stem of this {type(model).__name__}, which has "
            f"{', '.join(list(parts)[:8]) or 'none, since it is not rewired'}"
        )
    for name, part in parts.items():
        activations, inputs = values.get(name, (0, 0))
        part.storage = Storage(activations=activations, inputs=inputs)
