"""A residual branch: the `f` in `x + f(x)`, over modules that exist already."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from re2tal.reversible.tiles import Tiling

__all__ = ["Branch"]


def _call(owner: nn.Module, x: Tensor, *args: object) -> Tensor:
    result: Tensor = owner(x, *args)
    return result


@dataclass(frozen=True)
class Branch:
    """`function(owner, x, *args)` is the branch; in a chain it keeps the shape of `x`.

    The function must be a module-level function and reach its modules through `owner`, so that a deep copy of the
    model has branches over the copied modules.
    """

    owner: nn.Module
    """The module whose children the branch calls, usually the residual block."""
    function: Callable[..., Tensor] = _call
    """Maps (owner, x, *args) to `f(x)`; by default calls the owner."""
    uses: tuple[str, ...] | None = None
    """Names of the owner's submodules or parameters in this branch, "layer.0.attention" for a deeper one; None: all of
    the owner."""
    tiling: Tiling | None = None
    """How it can be computed in tiles; None: only as a whole."""
    keeps_shape: bool = True
    """As it has to in a chain; False for what stands between chains."""
    reads_args: bool = True
    """Whether the further arguments of a call matter to it; tiles are computed only where they do not."""
    ends_in_activation: bool = False
    """Whether it applies what its block applies after the addition, so that no coefficients give the original."""
    needs_graph: bool = False
    """Compute with a graph in the forward pass, too: torch chooses other kernels where no gradient is needed, and they
    round differently."""

    def __call__(self, x: Tensor, *args: object) -> Tensor:
        """`f(x)`.

        Raises:
            ValueError: the branch changed the shape, or returned something else than a tensor.
        """
        f = self.function(self.owner, x, *args)
        if not isinstance(f, Tensor):
            raise ValueError(
                f"a reversible branch must return a tensor, but {type(self.owner).__name__} returned a "
                f"{type(f).__name__}; wrap it in a module that returns what is to be added"
            )
        if self.keeps_shape and f.shape != x.shape:
            raise ValueError(
                f"a reversible branch must keep the shape of its input, but {type(self.owner).__name__} made "
                f"{tuple(f.shape)} of {tuple(x.shape)}; leave this module outside the chain"
            )
        return f

    def modules(self) -> Iterator[nn.Module]:
        """Every module the branch runs through, each once."""
        roots = [self.owner]
        if self.uses is not None:
            named = dict(self.owner.named_modules(remove_duplicate=False))
            roots = [named[name] for name in self.uses if name in named]
        yield from {module: None for root in roots for module in root.modules()}

    def parameters(self) -> Iterator[tuple[nn.Module, str, Tensor]]:
        """Where the branch holds parameters: (module, name, what it holds now); a shared one is held several times."""
        for module in self.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield module, name, parameter
        for path in self.uses or ():
            parent, _, name = path.rpartition(".")
            holder = self.owner.get_submodule(parent)
            if (parameter := holder._parameters.get(name)) is not None:
                yield holder, name, parameter

    def buffers(self) -> Iterator[tuple[nn.Module, str, Tensor]]:
        """Where the branch or its owner holds buffers: a branch that was cut out of its owner may read all of them."""
        for module in dict.fromkeys((self.owner, *self.modules())):
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    yield module, name, buffer

    @property
    def constants(self) -> tuple[Tensor, ...]:
        """Further tensors that the function reads."""
        found: Mapping[object, Tensor] = getattr(self.function, "constants", {})
        return tuple(found.values())

    def check_gathered(self) -> None:
        """Raise a ValueError if FSDP2 still holds a parameter in shards: it gathers them where it calls a module."""
        sharding = sys.modules.get("torch.distributed.fsdp")
        if sharding is None or not any(isinstance(m, sharding.FSDPModule) for m in (self.owner, *self.modules())):
            return
        from torch.distributed.tensor import DTensor

        for module, name, parameter in self.parameters():
            if isinstance(parameter, DTensor):
                raise ValueError(
                    f"fully_shard was given a {type(module).__name__} or a module around it, which a reversible "
                    f"chain does not call, so its {name} is in shards; give fully_shard what "
                    "re2tal.reversible.sharding_units(model) yields, and the model, and nothing inside of these"
                )
