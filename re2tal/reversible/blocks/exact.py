"""Whether a module is what its class says, so that reading its weights gives what calling it gives."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.modules import activation

from re2tal.reversible.guards import is_hooked
from re2tal.reversible.patched import Patched

__all__ = ["OF_EACH_ELEMENT", "OF_EACH_TOKEN", "are", "computes_as_published"]

OF_EACH_ELEMENT = (
    *(nn.ReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU, nn.ELU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.ReLU6),
    *(nn.Identity, nn.Dropout),
)
"""Layers that treat every number alike; active dropout is asked for on its own."""
OF_EACH_TOKEN = (nn.LayerNorm, nn.RMSNorm, nn.Identity)
"""Norms over the channels of one token."""
_KNOWN = (
    "torch.nn.modules.",
    "torchvision.",
    "re2tal.networks.backbones.",
    "transformers.models.timesformer.",
    "transformers.models.videomae.",
    "transformers.models.vjepa2.",
    "transformers.activations",
)
"""Where classes are from that are known to do nothing beside computing their result."""


def are(modules: Iterable[nn.Module | None], kinds: tuple[type, ...]) -> bool:
    """Whether each is of one of these classes, not of one derived from it."""
    return all(type(module) in kinds for module in modules)


def computes_as_published(root: nn.Module) -> bool:
    """Whether all modules in `root` are of known classes, unpatched, and call no hooks.

    Hooks of `root` itself run around its call.
    """
    return all(
        (module is root or not is_hooked(module))
        and _has_no_forward_of_its_own(module)
        and not any(isinstance(value, Tensor) for value in module.__dict__.values())  # as FSDP1 holds its weights
        and type(module).__module__.startswith(_KNOWN)
        and _is_unpatched(type(module))
        for module in root.modules()
    )


def _has_no_forward_of_its_own(module: nn.Module) -> bool:
    present = module.__dict__.get("forward")
    return (present.replaced if isinstance(present, Patched) else present) is None


def _is_unpatched(kind: type[nn.Module]) -> bool:
    for base in kind.__mro__:
        if (forward := base.__dict__.get("forward")) is not None:
            names = getattr(forward, "__module__", None), getattr(forward, "__qualname__", None)
            return names == (base.__module__, f"{base.__qualname__}.forward") or base.__module__ == activation.__name__
    return True
