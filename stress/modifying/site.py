"""Where a modification is made: one copy of a network, and what is watched of it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from torch import Tensor, nn

from modifying.networks import Network, Spec, blocks_of, build

T = TypeVar("T")

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
UNCALLED = ("attn.qkv", "attn.proj")
"""Layers of torchvision's attention, which reads their weights and never calls them."""


@dataclass
class Site:
    """One copy of a network; every copy of a case is given the same modifications with the same random choices."""

    network: Network
    spec: Spec
    """What it was built of."""
    example: Tensor
    """An input."""
    random: Random = field(default_factory=Random)
    """Of the modification that is being made."""
    seen: dict[str, list[Any]] = field(default_factory=dict)
    """What hooks have seen, by what they are."""
    collected: list[Tensor] = field(default_factory=list)
    """Tensors that are part of the next loss."""
    scratches: list[list[Any]] = field(default_factory=list)
    """Lists that hooks fill and empty."""
    of_the_loss: list[Callable[[], Tensor | None]] = field(default_factory=list)
    """What give further ones, after the forward pass."""
    unregistered: dict[str, Tensor] = field(default_factory=dict)
    """Parameters that no module has registered."""
    later: list[Callable[[], None]] = field(default_factory=list)
    """Done before the next step."""
    prepared: dict[str, Any] = field(default_factory=dict)
    """What modifications that need two moments have kept."""
    inputs: str = "finite"
    """What is special about the input of the second step."""
    schedule: str = "one"
    """Of forward and backward passes in a step."""
    after_backward: list[Callable[[], None]] = field(default_factory=list)
    """Done behind every backward pass."""
    call: Callable[[Callable[..., Tensor], Tensor], Tensor] | None = None
    """How the network is called, given that and its input."""
    rewire_again: Callable[[], None] | None = None
    copies: list[dict[int, Any]] = field(default_factory=list)

    def blocks(self) -> list[nn.Module]:
        """Blocks, in order."""
        return blocks_of(self.network)

    def inner(self, *kinds: type[nn.Module]) -> list[nn.Module]:
        """Modules inside blocks, of these kinds if there are any."""
        found = dict.fromkeys(m for block in self.blocks() for m in block.modules() if m is not block)
        return [module for module in found if not kinds or isinstance(module, kinds)]

    def layers(self) -> list[nn.Module]:
        """Linear layers and convolutions inside blocks that are called and have a weight of their own."""
        names = {module: name for name, module in self.network.named_modules()}
        return [
            module
            for module in self.inner(*LAYERS)
            if type(module) in LAYERS and not names[module].endswith(UNCALLED) and "weight" in module._parameters
        ]

    def with_attribute(self, name: str) -> list[nn.Module]:
        """Blocks, and modules inside them, that have such a plain attribute."""
        found = dict.fromkeys(module for block in self.blocks() for module in block.modules())
        return [module for module in found if module.__dict__.get(name) is not None]

    def pick(self, choices: Sequence[T]) -> T | None:
        """One of them, or None."""
        return self.random.choice(choices) if choices else None

    def some(self, choices: Sequence[T]) -> list[T]:
        """One of them, or all."""
        return list(choices) if self.random.random() < 0.5 else list(choices) and [self.random.choice(choices)]

    def replace(self, old: nn.Module, new: nn.Module) -> None:
        """Put `new` wherever `old` is inside the network, but not inside `new`."""
        inside = set(new.modules())
        for parent in list(self.network.modules()):
            for name, child in list(parent.named_children()):
                if child is old and parent not in inside:
                    setattr(parent, name, new)

    def place_of(self, block: nn.Module) -> tuple[nn.ModuleList | nn.Sequential, int]:
        """The container of a block, and its index there."""
        return next((stage, i) for stage in self.network.stages for i, other in enumerate(stage) if other is block)

    def pristine_block(self) -> nn.Module:
        """A new block like one of the network's, as they were built."""
        return self.random.choice(blocks_of(build(self.spec)))

    def record(self, name: str) -> list[Any]:
        """A new list of what is seen."""
        return self.seen.setdefault(f"{name} #{len(self.seen)}", [])

    def scratch(self) -> list[Any]:
        """A new list for a hook."""
        self.scratches.append([])
        return self.scratches[-1]

    def counters(self) -> dict[nn.Module, int]:
        """Numbers that modules have counted their calls in."""
        return {module: module.calls for module in self.network.modules() if "calls" in module.__dict__}

    def copy_network(self) -> None:
        """Go on with a deep copy of the network."""
        memo: dict[int, Any] = {}
        self.network = copy.deepcopy(self.network, memo)
        self.copies.append(memo)
        self.unregistered = {name: self.now(tensor) for name, tensor in self.unregistered.items()}

    def now(self, thing: T) -> T:
        """What stands for a module or tensor of the network after it has been copied."""
        for memo in self.copies:
            thing = memo.get(id(thing), thing)
        return thing
