"""Put adapters on a network, and choose what of it is trained."""

from collections.abc import Collection, Mapping
from typing import Literal

from torch import nn

from re2tal.networks.adapters.blocks import blocks_of, depths_of
from re2tal.networks.adapters.settings import AdapterSettings, BlockLayout

__all__ = ["TrainedPart", "adapt"]

_DROP_PATHS = ("DropPath", "StochasticDepth")


class TrainedPart:
    """What of a network is trained, and how deep it lies.

    Attributes:
        adapters: names of the parameters and buffers of adapters, as in a state dict.
        held: modules that are kept in eval mode.
    """

    def __init__(
        self, network: nn.Module, *, blocks: Collection[str], adapters: Collection[str], held: Collection[nn.Module]
    ) -> None:
        self._network, self._blocks = network, tuple(blocks)
        self.adapters = frozenset(adapters)
        self.held = tuple(held)

    def frozen(self) -> frozenset[str]:
        """Names, as in the network's state dict, of what training leaves as it is."""
        still = {id(buffer) for module in self.held for buffer in module.buffers(recurse=False)}
        return frozenset(
            name
            for name, value in self._network.state_dict(keep_vars=True).items()
            if (isinstance(value, nn.Parameter) and not value.requires_grad) or id(value) in still
        )

    def blocks_above(self) -> Mapping[str, int]:
        """For every parameter of the network, by name, the blocks from it to the network's end, its own among them.

        0 for what stands behind the last block, and for adapters, which were not pretrained; n + 1 for what stands
        before the first of n blocks.

        Raises:
            ValueError: there are no blocks in a sequence.
        """
        if not self._blocks:
            raise ValueError(
                f"{type(self._network).__name__} is no sequence of blocks, of which one lies above the other; set "
                "training.layer_decay=1"
            )
        new = {id(p) for name, p in self._network.state_dict(keep_vars=True).items() if name in self.adapters}
        depths = depths_of([name for name, _ in self._network.named_parameters()], self._blocks)
        top = len(self._blocks) + 1
        return {name: 0 if id(p) in new else top - depths[name] for name, p in self._network.named_parameters()}


def adapt(
    network: nn.Module,
    settings: AdapterSettings | None,
    *,
    layout: BlockLayout,
    train_from: int | Literal["auto", "none"],
) -> TrainedPart:
    """Put adapters on `network`, if there are settings of some, and freeze what is not trained; in place.

    Args:
        network: not rewired.
        settings: of adapters.
        layout: of what its blocks hand on.
        train_from: first block whose own weights are trained; what lies below is frozen. "auto": all are trained, or,
            with adapters, none, as with "none".

    Raises:
        ValueError: the network has no such blocks.
    """
    blocks = blocks_of(network)
    in_sequence = blocks if layout.in_sequence else {}
    trained = ("none" if settings is not None else 0) if train_from == "auto" else train_from
    if trained != "none" and trained >= max(len(in_sequence), 1):
        raise ValueError(_no_block("backbone.train_from", trained, network, in_sequence))
    names = list(network.state_dict())
    modules, parameters = dict(network.named_modules()), dict(network.named_parameters())
    learning = {name for name, parameter in parameters.items() if parameter.requires_grad}
    if settings is not None:
        if settings.from_block >= len(blocks):
            raise ValueError(_no_block("backbone.adapter.from_block", settings.from_block, network, blocks))
        settings.put_on(network, list(blocks.values())[settings.from_block :], layout=layout)
    adapters = set(network.state_dict()) - set(names)
    frozen = _up_to(trained, parameters, blocks)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in learning and name not in frozen)
    around = {outer for block in blocks for outer in _around(block)} if trained != "none" else set()
    held = [modules[name] for name in _up_to(trained, modules, blocks) if name not in around]
    # As in AdaTAD: what an adapter is given is dropped at random, as it was when the network was trained.
    held = [m for m in held if settings is None or not type(m).__name__.endswith(_DROP_PATHS)]
    return TrainedPart(network, blocks=in_sequence, adapters=adapters, held=held)


def _up_to(trained: int | Literal["none"], names: Collection[str], blocks: Collection[str]) -> set[str]:
    """The names of what lies below the block from which a network is trained."""
    if trained == "none":
        return set(names)
    depths = depths_of(names, blocks)
    return {name for name in names if trained and depths[name] <= trained}


def _around(name: str) -> list[str]:
    """Of the modules that something lies in: "", "a", "a.b" of "a.b.c"."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts))]


def _no_block(setting: str, value: object, network: nn.Module, blocks: Collection[str]) -> str:
    if not blocks:
        return f"{type(network).__name__} is no sequence of blocks of which {setting} could be one; leave it out"
    return f"{setting} counts blocks from 0, and {type(network).__name__} has {len(blocks)}; got {value}"
