"""Whether the branches of a rewired network are compiled."""

from torch import nn

from re2tal.reversible.compiled import BranchCompiler
from re2tal.reversible.rewire.rewiring import chains

__all__ = ["compile_branches"]


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
