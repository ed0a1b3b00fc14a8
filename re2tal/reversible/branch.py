"""A residual branch: the `f` in `x + f(x)`, over modules that exist already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["Branch"]


def _call(owner: nn.Module, x: Tensor, *args: object) -> Tensor:
    result: Tensor = owner(x, *args)
    return result


@dataclass(frozen=True)
class Branch:
    """`function(owner, x, *args)` is the branch; it keeps the shape of `x`.

    The function must be a module-level function and reach its modules through `owner`, so that a deep copy of the
    model has branches over the copied modules.
    """

    owner: nn.Module
    """The module whose children the branch calls, usually the residual block."""
    function: Callable[..., Tensor] = _call
    """Maps (owner, x, *args) to `f(x)`; by default calls the owner."""
    uses: tuple[str, ...] = ()
    """Names of the owner's children (modules or parameters) in this branch; empty: all of the owner."""

    def __call__(self, x: Tensor, *args: object) -> Tensor:
        """`f(x)`, of the shape of `x`.

        Raises:
            ValueError: the branch changed the shape.
        """
        f = self.function(self.owner, x, *args)
        if f.shape != x.shape:
            raise ValueError(
                f"a reversible branch must keep the shape of its input, but {type(self.owner).__name__} made "
                f"{tuple(f.shape)} of {tuple(x.shape)}; leave this module outside the chain"
            )
        return f

    def modules(self) -> Iterator[nn.Module]:
        """Every module the branch runs through, each once."""
        roots = [getattr(self.owner, name) for name in self.uses] or [self.owner]
        unique = {module: None for root in roots if isinstance(root, nn.Module) for module in root.modules()}
        yield from unique

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that need a gradient, each once."""
        return list({id(p): p for _, _, p in self._slots() if p.requires_grad}.values())

    def _slots(self) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
        """Where the branch's parameters are held; a shared parameter is held in several places."""
        for module in self.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield module, name, parameter
        for name in self.uses:
            child = getattr(self.owner, name)
            if isinstance(child, nn.Parameter):
                yield self.owner, name, child

    @contextmanager
    def replayed(self, parameters: Sequence[nn.Parameter]) -> Iterator[list[Tensor]]:
        """Inside, the branch runs on leaf aliases of `parameters` (yielded in order) and leaves no trace.

        Aliases, because the hooks of a parameter run whenever a gradient with respect to it is computed:
        differentiating the parameters themselves here, and once more where their gradients arrive, would run every
        hook twice. Running statistics of batch norms in training mode belong to the forward pass and change only there.
        """
        aliases = {id(parameter): parameter.detach().requires_grad_() for parameter in parameters}
        slots = [(module, name, p) for module, name, p in self._slots() if id(p) in aliases]
        norms = [
            (module, dict(module._buffers))
            for module in self.modules()
            if isinstance(module, _NormBase) and module.training and module.track_running_stats
        ]
        try:
            for module, name, parameter in slots:
                module._parameters[name] = aliases[id(parameter)]  # type: ignore[assignment]
            for module, buffers in norms:
                module._buffers.update({name: b.clone() for name, b in buffers.items() if b is not None})
            yield list(aliases.values())
        finally:
            for module, name, parameter in slots:
                module._parameters[name] = parameter
            for module, buffers in norms:
                module._buffers.update(buffers)
