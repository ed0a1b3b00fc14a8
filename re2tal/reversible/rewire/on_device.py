"""How a rewired network uses its device: whether branches are compiled, and what is kept on the host."""

from torch import nn

from re2tal.reversible.compiled import BranchCompiler
from re2tal.reversible.patched import patched
from re2tal.reversible.rewire.patching import PatchedBetween
from re2tal.reversible.rewire.rewiring import chains

__all__ = ["compile_branches", "keep_on_host"]


def compile_branches(model: nn.Module, backend: str | None = "inductor") -> None:
    """Compile the branches of every reversible chain in `model` when they are next computed.

    Streams come back bit for bit, since the function that is compiled for training runs in the forward pass, too. A
    branch is compiled again for tensors of other shapes, and when something of its block has changed.

    Args:
        model: rewired.
        backend: of `torch.compile`; None: branches are computed as they are again.

    Raises:
        ValueError: there is no such backend.
    """
    compiler = None if backend is None else BranchCompiler(backend)
    for chain in chains(model):
        chain.compiler = compiler


def keep_on_host(model: nn.Module, wanted: bool = True) -> None:
    """Keep what waits for the backward pass in the host's memory while later stages of `model` run.

    That is the last pair of streams of every chain that runs as one step, but the last one, and the input of the stem
    and of what stands between chains. Gradients do not change. On a CPU there is nothing to move.

    Args:
        model: rewired.
        wanted: False: on the device again.
    """
    for chain in list(chains(model))[:-1]:  # what the last one keeps is needed next
        chain.on_host = wanted
    for patch in patched(model):
        if isinstance(patch, PatchedBetween):
            patch.on_host = wanted
