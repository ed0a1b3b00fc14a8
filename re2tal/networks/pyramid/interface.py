"""What the detector needs of a feature pyramid, so that one of one's own can take the place of ActionFormer's.

B batch, C channels, S steps, S_l steps of level l.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from re2tal.common.extension import Extensible

__all__ = ["FeaturePyramid", "PyramidSettings"]


class FeaturePyramid(Protocol):
    """An `nn.Module` that makes levels of ever coarser steps of a sequence of features."""

    @property
    def out_channels(self) -> int:
        """C, of every level."""

    @property
    def strides(self) -> Sequence[int]:
        """Steps between neighbours, for each level."""

    def __call__(self, x: Tensor, mask: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """(B, C_in, S) features and (B, S) bool mask -> features (B, C, S_l) and masks (B, S_l) of every level.

        The mask is True where a step is real. Sequences that do not divide by the strides are padded at their end.
        """


class PyramidSettings(Extensible):
    """The settings of a pyramid of any kind."""

    @property
    @abstractmethod
    def strides(self) -> tuple[int, ...]:
        """Steps between neighbours, for each level."""

    @abstractmethod
    def build(self, *, in_channels: int) -> FeaturePyramid:
        """The pyramid, with fresh weights, for features of `in_channels` channels."""

    def require_steps(self, num_steps: int) -> None:
        """Refuse training clips of `num_steps` steps that it cannot take, by a ValueError."""

    def fit_steps(self, pyramid: nn.Module, *, num_steps: int) -> None:
        """Give a built pyramid the memory that one for clips of `num_steps` steps has; for `re2tal plan`."""
