"""How candidates for detections are thinned out."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from re2tal.common.settings import Settings

__all__ = ["NmsConfig"]


class NmsConfig(Settings):
    """How overlapping segments suppress each other.

    A picked segment multiplies the score of every other one that it overlaps by a decay of their IoU, where the IoU is
    at least `iou_threshold + iou_threshold_slope * length of the picked segment`.
    """

    decay: Literal["gaussian", "linear", "hard"] = "gaussian"
    """exp(-IoU^2 / sigma), 1 - IoU, or 0 (classical suppression)."""
    sigma: PositiveFloat = 0.7
    """Width of the Gaussian: the larger, the milder."""
    iou_threshold: float = Field(default=0.0, ge=0)
    """Overlaps below it are left alone."""
    iou_threshold_slope: float = Field(default=0.0, ge=0)
    """Grows the threshold with the length of the picked segment, in 1 / the unit of the segments."""
    min_score: PositiveFloat = 0.001
    """What falls below is dropped."""
    max_segments: PositiveInt = 2000
    """The best that are kept of a video."""
    per_class: bool = True
    """Segments suppress only those of their own class."""
    voting_tiou: float | None = Field(default=None, gt=0, le=1)
    """Move each kept segment to the score-weighted mean of all candidates that overlap it at least this much."""

    @model_validator(mode="after")
    def _voting_is_class_agnostic(self) -> Self:
        if self.per_class and self.voting_tiou is not None:
            raise ValueError(
                f"segment voting is for class-agnostic suppression, got voting_tiou={self.voting_tiou} with per_class; "
                "set per_class=False, or voting_tiou=None"
            )
        return self
