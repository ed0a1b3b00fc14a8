"""AdaTAD's ladder (AdaTAD-dagger): adapters beside a frozen network, which read what its blocks give.

No gradient passes through the blocks, so nothing of them is kept or computed again in training.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from re2tal.networks.adapters.settings import BlockLayout
from re2tal.networks.adapters.temporal import Bottleneck1d, put_behind

__all__ = ["LadderConfig"]


class LadderConfig(Bottleneck1d):
    """Adapters that read the outputs of the blocks and are added to that of the last one."""

    trains_inside: ClassVar[bool] = False
    kind: Literal["ladder"] = "ladder"

    def put_on(self, network: nn.Module, blocks: Sequence[nn.Module], *, layout: BlockLayout) -> None:
        """As `adapter`, a child of every block, called behind the last."""
        if not layout.in_sequence:
            raise ValueError(
                "a ladder is added to the output of the network's last block, and this one has pathways side by side; "
                "take backbone.adapter.kind=temporal"
            )
        sums = _Sums()
        for block in blocks:
            put_behind(block, self.for_block(block, layout=layout), mixin=_Top if block is blocks[-1] else _Rung)
            block.__dict__.update(ladder=sums, is_lowest=block is blocks[0])


class _Sums:
    """What the adapters below have added up in the present call."""

    total: Tensor | None = None


class _Rung(nn.Module):
    """Mixed into the class of a block whose adapter is added later."""

    ladder: _Sums

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = super().forward(*args, **kwargs)
        self.ladder.total = _added(self, given)
        return given


class _Top(nn.Module):
    """Mixed into the class of the last block."""

    ladder: _Sums

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = super().forward(*args, **kwargs)
        added, self.ladder.total = _added(self, given), None
        return (given[0] + added, *given[1:]) if isinstance(given, tuple) else given + added


def _added(block: Any, given: Any) -> Tensor:
    """The sum up to a block's own adapter."""
    stream: Tensor = given[0] if isinstance(given, tuple) else given
    rung: Tensor = block.adapter(stream.detach())
    below = None if block.is_lowest else block.ladder.total
    if below is not None and below.shape != rung.shape:
        raise ValueError(
            f"a ladder adds up what blocks of one size give, got {tuple(below.shape)} and {tuple(rung.shape)}; begin "
            "behind the last change of size with backbone.adapter.from_block"
        )
    return rung if below is None else below + rung
