"""What the metric is computed at."""

from pathlib import Path

from pydantic import Field, PositiveInt, field_validator

from re2tal.common.settings import Settings

__all__ = ["EvaluationConfig"]


class EvaluationConfig(Settings):
    """Thresholds of the metric and the videos it leaves out."""

    tious: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7)
    """Temporal IoU thresholds; the average is taken over them."""
    tolerances: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0)
    """Seconds; where detections are point events (`postprocess.point_seconds`), the metric is taken at these instead.
    The default is SoccerNet's tight average-mAP."""
    frame_rate: float = Field(default=0.0, ge=0)
    """Frames per second that the times of point events are cut to before they are compared, 2 for SoccerNet's figures;
    0 compares them as they are."""
    recall_multiples: tuple[PositiveInt, ...] = ()
    """Values of k for recall@kx at every tIoU, (1, 5) for Ego4D's moment queries; empty: it is not computed."""
    average_recall_at: tuple[PositiveInt, ...] = ()
    """Average numbers of predictions of a video for average recall, (1, 5, 10, 100) for ActivityNet's proposals; empty:
    it is not computed."""
    blocked: Path | tuple[str, ...] | None = None
    """Videos left out of the metric: ids, or a JSON file with a list of ids."""

    @field_validator("tious")
    @classmethod
    def _check_tious(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or any(not 0 < tiou <= 1 for tiou in value) or len(set(value)) < len(value):
            raise ValueError(f"tious must be different numbers in (0, 1], got {value}; for example (0.3, 0.5, 0.7)")
        return value

    @field_validator("tolerances")
    @classmethod
    def _check_tolerances(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or any(not 0 < tolerance < float("inf") for tolerance in value) or len(set(value)) < len(value):
            raise ValueError(f"tolerances must be different numbers above 0, got {value}; for example (1, 2, 3, 4, 5)")
        return value
