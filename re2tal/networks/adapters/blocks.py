"""The blocks that a network is a sequence of, and how deep each of its parameters lies."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from torch import nn

__all__ = ["blocks_of", "depths_of", "width_of"]


def blocks_of(network: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a network, by name and in order; none if there are no such lists of modules.

    They are of one class, of which at least two stand in an `nn.ModuleList` or `nn.Sequential`: the class of which
    there are the most among those that hold at least half as many parameters as the largest.
    """
    candidates: dict[type[nn.Module], dict[str, nn.Module]] = defaultdict(dict)
    for holder in network.modules():
        if isinstance(holder, nn.ModuleList | nn.Sequential):
            kinds = [type(child) for child in holder if not type(child).__module__.startswith("torch.nn.")]
            for kind in set(kinds):
                if kinds.count(kind) > 1:
                    candidates[kind] = {}
    for name, module in network.named_modules():
        own = candidates.get(type(module))
        if own is not None and not any(name.startswith(f"{outer}.") for outer in own):
            own[name] = module
    sizes = {
        kind: sum(p.numel() for module in found.values() for p in module.parameters())
        for kind, found in candidates.items()
    }
    large = [kind for kind, size in sizes.items() if size and 2 * size >= max(sizes.values())]
    return candidates[max(large, key=lambda kind: len(candidates[kind]))] if large else {}


def depths_of(names: Iterable[str], blocks: Iterable[str]) -> Mapping[str, int]:
    """How deep parameters, or modules, lie in a network of n blocks, by name.

    0 for what stands before the first block, k for the k-th block (from 1) and for what stands between it and the next,
    n + 1 for what stands behind the last one.

    Args:
        names: in the order in which the network holds them.
        blocks: in the order in which they follow each other.
    """
    order = {block: place for place, block in enumerate(blocks, start=1)}
    reached = 0
    depths: dict[str, int] = {}
    for name in names:
        inside = next((order[outer] for outer in _outer(name) if outer in order), None)
        if inside is not None:
            reached = inside
        depths[name] = len(order) + 1 if inside is None and reached == len(order) else reached
    return depths


def _outer(name: str) -> Iterable[str]:
    """The names of the modules around something, and its own: "a", "a.b", "a.b.c" of "a.b.c"."""
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def width_of(block: nn.Module) -> int:
    """Channels of what a block hands on: those of the bias or scale of its last layer."""
    width = next((p.numel() for p in reversed(list(block.parameters())) if p.ndim == 1), None)
    if width is None:
        raise ValueError(
            f"{type(block).__name__} has no bias or scale that would tell how many channels it gives; put adapters on "
            "by a class of settings of your own"
        )
    return width
