"""A chain of branches as a module of its own."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from re2tal.reversible.branch import Branch
from re2tal.reversible.chain import Chain, Member, reason_of_hooks
from re2tal.reversible.guards import Watch
from re2tal.reversible.stored import Fallbacks
from re2tal.reversible.tiles import Mode, TileSize
from re2tal.reversible.tracers import eagerly, is_observed_by_a_compiler
from re2tal.reversible.tracing.effects import Effects, effects_of

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
        tile_size: what a tile of a branch may take in training, about, in bytes; None computes whole branches.
        mode: see `Chain`.

    Attributes:
        chain: the settings and the state of the chain.
    """

    def __init__(
        self,
        branches: Iterable[Branch | nn.Module],
        *,
        blocks: Mapping[str, nn.Module] | None = None,
        mode: Mode = "reversible",
        tile_size: TileSize = "auto",
    ) -> None:
        super().__init__()
        self.branches = tuple(branch if isinstance(branch, Branch) else Branch(branch) for branch in branches)
        if not self.branches:
            raise ValueError("a reversible chain needs at least one branch, got none")
        if blocks is None:
            blocks = {str(index): branch.owner for index, branch in enumerate(self.branches)}
        for name, block in blocks.items():
            self.add_module(name, block)
        self.chain = Chain(mode=mode, tile_size=tile_size)
        self._examined = ExaminedBranches()

    def forward(self, x: Tensor, *args: object) -> Tensor:
        """(...) -> (...) of the same shape; `args` (masks, position codes) go to every branch as they are.

        Raises:
            ValueError: a branch changed the shape, so the streams cannot be added.
        """
        result: Tensor = eagerly(self._run, x, args)
        return result

    def _run(self, x: Tensor, args: tuple[object, ...]) -> Tensor:
        if x.numel() == 0:
            return self.chain.floating(x, self.branches, args)
        names = {module: name for name, module in self.named_modules()}
        members = [
            self._examined.member(b, x, args, name=names.get(b.owner, str(n))) for n, b in enumerate(self.branches)
        ]
        return self.chain.run(x, members, args, closing=True)

    def extra_repr(self) -> str:
        return f"branches={len(self.branches)}, mode={self.chain.mode!r}"


class ExaminedBranches:
    """What is known of branches that were given as modules, as long as these are what they were when it was found."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[Watch, Fallbacks]] = {}
        self._effects: dict[Hashable, Effects] = {}

    def member(self, branch: Branch, x: Tensor, args: Sequence[object], *, name: str) -> Member:
        """The branch in a call."""
        place = id(branch)
        if place not in self._watched:
            self._watched[place] = Watch(branch.owner), Fallbacks(name, type(branch.owner).__name__)
        watch, fallbacks = self._watched[place]
        guard, key = watch.guard()
        if is_observed_by_a_compiler():
            return Member([branch], guard, fallbacks)
        if (effects := self._effects.get((place, key, torch.is_grad_enabled()))) is None:
            branch.check_gathered()
            effects = _examined(branch, x, args)
            watch.ignored |= effects.ignored
            guard, key = watch.guard()
            self._effects[place, key, torch.is_grad_enabled()] = effects
        return Member([branch], guard, fallbacks, effects.stored or reason_of_hooks(guard, with_root=True))

    def __deepcopy__(self, memo: object) -> ExaminedBranches:
        return ExaminedBranches()

    def __getstate__(self) -> dict[str, object]:
        return dict.fromkeys(self.__dict__, {})


def _examined(branch: Branch, x: Tensor, args: Sequence[object]) -> Effects:
    tensors = [arg for arg in args if isinstance(arg, Tensor)]

    def function(x: Tensor, further: list[Tensor]) -> Tensor:
        rest = iter(further)
        return branch(x, *(next(rest) if isinstance(arg, Tensor) else arg for arg in args))

    return effects_of(branch.owner, function, x, tensors)
