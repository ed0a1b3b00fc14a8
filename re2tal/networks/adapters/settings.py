"""What the settings of all adapters have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import NonNegativeInt
from torch import nn

from re2tal.common.extension import Extensible

__all__ = ["AdapterSettings", "BlockLayout"]


@dataclass(frozen=True, kw_only=True)
class BlockLayout:
    """What the blocks of a network hand on to each other.

    B clips, P sub-clips of each, T times, H/W space, N tokens of a sub-clip, C channels.
    """

    order: Literal["BNC", "BTHWC", "BCTHW"] | None = None
    """BNC: (B * P, N, C), tokens of one time beside each other and times in order. None: nobody knows."""
    times: int = 1
    """Times that the tokens of a sub-clip stand for; of BNC alone."""
    leading: int = 0
    """Tokens before those, such as a class token; of BNC alone."""
    in_sequence: bool = True
    """Whether the blocks follow each other; False for pathways side by side, in which no block is the k-th."""


class AdapterSettings(Extensible):
    """Parameters that are trained beside those of a pretrained network, or instead of them.

    A new adapter begins as nothing: the network gives what it gave without it, to the bit.
    """

    from_block: NonNegativeInt = 0
    """First block of the network that gets one, counted from 0; all behind it get one, too."""

    sees_whole_clips: ClassVar[bool] = False
    """Whether what it gives for a sub-clip depends on the others, so that features of sub-clips cannot be shared."""
    trains_inside: ClassVar[bool] = True
    """Whether gradients pass through the network's blocks; False where the network only gives features."""

    runs_dry: ClassVar[bool] = True
    """Whether it can be put on a network whose tensors have no values, for `re2tal plan`."""

    @abstractmethod
    def put_on(self, network: nn.Module, blocks: Sequence[nn.Module], *, layout: BlockLayout) -> None:
        """Put adapters on a network, in place; names and values of what the network has are untouched.

        Args:
            network: with its pretrained or fresh weights, not rewired.
            blocks: of it, from `from_block` on, in order.
            layout: of what they hand on.

        Raises:
            ValueError: the network cannot have such adapters.
        """
