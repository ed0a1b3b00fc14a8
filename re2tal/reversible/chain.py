"""Residual branches on two streams, trained without storing what lies between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, assert_never, get_args

from torch import Tensor, nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.recompute import run_reversibly

__all__ = ["Mode", "ReversibleChain"]

Mode = Literal["store", "reversible"]


class ReversibleChain(nn.Module):
    """Residual branches f1..fn on two streams that can be recomputed from their last pair.

        start     u = v = x
        forward   (u, v) -> (v, u + f(v))
        inverse   (v, w) -> (w - f(v), v)
        read-out  (u + v) / 2

    Zhao et al., "Re2TAL: Rewiring Pretrained Video Backbones for Reversible Temporal Action Localization", CVPR 2023,
    section 3. No parameter is added; gradients are those of plain backpropagation through the same computation.

    Args:
        branches: each a `Branch`, or a module that maps a tensor to one of the same shape. They become children
            "0", "1", ... unless `blocks` is given.
        blocks: the modules to register as children instead, under the names they shall have in the state dict
            (residual blocks of which several branches are parts).
        mode: "reversible" saves only the last pair of streams and recomputes; "store" is plain autograd through the
            same computation, the reference for every test.

    Attributes:
        reconstruction_error: after a backward pass, the largest difference between the two recovered streams at the
            start of the chain, where they must be equal, relative to the largest value there; a scalar tensor.
            None before. In "store" mode nothing is recovered and it stays None.
    """

    def __init__(
        self,
        branches: Iterable[Branch | nn.Module],
        *,
        blocks: Mapping[str, nn.Module] | None = None,
        mode: Mode = "reversible",
    ) -> None:
        super().__init__()
        self.branches = tuple(branch if isinstance(branch, Branch) else Branch(branch) for branch in branches)
        if not self.branches:
            raise ValueError("a reversible chain needs at least one branch, got none")
        if blocks is None:
            blocks = {str(index): branch.owner for index, branch in enumerate(self.branches)}
        for name, block in blocks.items():
            self.add_module(name, block)
        self.mode = mode
        self.reconstruction_error: Tensor | None = None

    @property
    def mode(self) -> Mode:
        """How the chain is differentiated."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
        self._mode: Mode = mode

    def forward(self, x: Tensor, *args: object) -> Tensor:
        """(...) -> (...) of the same shape; `args` (masks, position codes) go to every branch as they are.

        Raises:
            ValueError: a branch changed the shape, so the streams cannot be added.
        """
        match self.mode:
            case "store":
                return _run_and_store(self.branches, x, args)
            case "reversible":
                return run_reversibly(self.branches, x, args, report=self._report)
            case _:
                assert_never(self.mode)

    def _report(self, error: Tensor) -> None:
        self.reconstruction_error = error

    def extra_repr(self) -> str:
        return f"branches={len(self.branches)}, mode={self.mode!r}"


def _run_and_store(branches: Sequence[Branch], x: Tensor, args: tuple[object, ...]) -> Tensor:
    u = v = x
    for branch in branches:
        u, v = v, u + branch(v, *args)
    return (u + v) / 2
