"""What the detector needs of a head, so that a head of one's own can take the place of ActionFormer's.

B batch, C channels, S_l steps of level l, N actions, K classes.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from re2tal.common.extension import Extensible
from re2tal.common.types import Proposals

__all__ = ["DetectionHead", "HeadSettings", "RegressionRange"]

RegressionRange = tuple[float, float | None]
"""How far from a point, in steps, the farther boundary of the actions lies that it answers for: at least, and at most;
None: any distance."""


class DetectionHead(Protocol):
    """An `nn.Module` that makes proposals of the levels of a pyramid; what it predicts is known to itself alone."""

    @property
    def strides(self) -> Sequence[int]:
        """Steps from one point to the next, for each level, as it was built with."""

    def __call__(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> Any:
        """Predictions of features (B, C, S_l) and masks (B, S_l) bool of all levels; float32 or finer."""

    def losses(
        self,
        predictions: Any,
        *,
        segments: Sequence[Tensor],
        labels: Sequence[Tensor],
        labelled: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Scalars: `loss`, which is minimised, and any parts of it, which are logged.

        Args:
            predictions: of B clips.
            segments: B tensors (N_b, 2), in steps.
            labels: B tensors (N_b,) int64.
            labelled: masks (B, S_l) bool of all levels, True for points at which somebody has looked; nothing is known
                of the others, so that they may have no part in any loss. None: all of them, which is all that is ever
                given where videos are labelled as a whole.
        """

    def proposals(self, predictions: Any) -> list[Proposals]:
        """Segments in steps and scores of K classes, for each of the B clips."""


class HeadSettings(Extensible):
    """The settings of a head of any kind."""

    @abstractmethod
    def build(self, *, in_channels: int, num_classes: int, strides: Sequence[int]) -> DetectionHead:
        """The head, with fresh weights.

        Args:
            in_channels: C.
            num_classes: K.
            strides: steps from one point to the next, for each level.
        """

    def regression_ranges(self, strides: Sequence[int]) -> Sequence[RegressionRange] | None:
        """For each level, which actions its points answer for; None where length does not decide that."""
        return None
