"""Residual branches on two streams, trained without storing what lies between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never, get_args

from torch import Tensor, nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.cells import CellSize, Mode, check_cell_size, most_bytes
from re2tal.reversible.coefficients import Coefficients
from re2tal.reversible.evaluation import Evaluation
from re2tal.reversible.grid import Grid, GridOverflowError, add_on_grid, most_headroom, put_on_grid
from re2tal.reversible.recompute import run_reversibly
from re2tal.reversible.rng import GeneratorState

__all__ = ["ReversibleChain"]


class ReversibleChain(nn.Module):
    """Residual branches f1..fn on two streams that can be recomputed from their last pair.

        start     u = v = x
        forward   (u, v) -> (v, beta * u + alpha * v + f(v))
        inverse   (v, w) -> ((w - alpha * v - f(v)) / beta, v)
        read-out  (beta * u + v) / (1 + beta)

    With alpha = 0, beta = 1: Zhao et al., "Re2TAL: Rewiring Pretrained Video Backbones for Reversible Temporal Action
    Localization", CVPR 2023, section 3. No parameter is added; gradients are those of plain backpropagation through the
    same computation.

    Args:
        branches: each a `Branch`, or a module that maps a tensor to one of the same shape. They become children
            "0", "1", ... unless `blocks` is given.
        blocks: the modules to register as children instead, under the names they shall have in the state dict
            (residual blocks of which several branches are parts).
        cell_size: what a cell of a branch may take in training, about, in bytes; None computes whole branches.
        mode: "reversible" saves only the last pair of streams and recomputes; "store" is plain autograd through the
            same computation, the reference for every test.

    Attributes:
        coefficients: alpha and beta; Re2TAL's unless `set_coefficients` changes them.
        headroom: the streams may grow to `2 ** headroom` times the largest value of the input. Grows by itself when
            that is not enough.
        lanes: cells that an accelerator works on at a time in a backward pass, each on a stream of its own. More take
            more memory. On the CPU cells are computed one after the other.
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
        cell_size: CellSize = "auto",
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
        self.coefficients = Coefficients()
        self.headroom = 8
        check_cell_size(cell_size)
        self.cell_size = cell_size
        self.lanes = 1
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
        state = GeneratorState.snapshot(x.device)
        statistics = [(norm, {name: b.clone() for name, b in norm.named_buffers()}) for norm in self._running_norms()]
        while True:
            try:
                return self._run(x, args)
            except GridOverflowError as error:
                if self.headroom >= most_headroom(x):
                    raise GridOverflowError(
                        f"streams grow to more than 2 ** {self.headroom} times the chain's input ({error}); lower the "
                        "learning rate if they grew in training, or run the chain in float64"
                    ) from error
                # As if nothing had happened, on a coarser grid; it is kept, so this is paid for once.
                self.headroom += 4
                state.restore()
                for norm, buffers in statistics:
                    for name, buffer in buffers.items():
                        norm.get_buffer(name).copy_(buffer)

    def _run(self, x: Tensor, args: tuple[object, ...]) -> Tensor:
        limit = most_bytes(self.cell_size, x.device)
        match self.mode:
            case "store":
                return _run_and_store(
                    self.branches, x, args, headroom=self.headroom, limit=limit, coefficients=self.coefficients
                )
            case "reversible":
                return run_reversibly(
                    self.branches,
                    x,
                    args,
                    headroom=self.headroom,
                    limit=limit,
                    lanes=self.lanes,
                    coefficients=self.coefficients,
                    report=self._report,
                )
            case _:
                assert_never(self.mode)

    def _running_norms(self) -> list[nn.Module]:
        return [norm for branch in self.branches for norm in branch.running_norms()]

    def _report(self, error: Tensor) -> None:
        self.reconstruction_error = error

    def extra_repr(self) -> str:
        return f"branches={len(self.branches)}, mode={self.mode!r}"


def _run_and_store(
    branches: Sequence[Branch],
    x: Tensor,
    args: tuple[object, ...],
    *,
    headroom: int,
    limit: int | None,
    coefficients: Coefficients,
) -> Tensor:
    grid = Grid.around(x, headroom=headroom)
    u = v = put_on_grid(x, grid)
    for branch in branches:
        evaluation = Evaluation.plan(branch, tuple(x.shape), args=bool(args), limit=limit)
        u, v = v, add_on_grid(u, v, evaluation.with_graph(v.values, args), grid, coefficients)
    return coefficients.read_out(u.values, v.values).to(x.dtype)
