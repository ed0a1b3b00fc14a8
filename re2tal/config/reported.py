"""What a report needs of a run's config, whatever classes of one's own the rest of it names."""

from typing import Any

from pydantic import BaseModel, Field

from re2tal.data import DataConfig, FeatureDataConfig
from re2tal.evaluation import EvaluationConfig

__all__ = ["ReportedConfig", "ReportedData"]


class ReportedData(BaseModel):
    """A data set of a class of one's own, which is not loaded."""

    source: str
    class_agnostic: bool
    ignore_labels: tuple[str, ...]
    test_subset: str | tuple[str, ...]


class _ReportedPostprocess(BaseModel):
    video_labels: dict[str, Any] | None


class ReportedConfig(BaseModel):
    """A part of the JSON of an `ExperimentConfig`."""

    name: str
    data: DataConfig | FeatureDataConfig | ReportedData = Field(union_mode="left_to_right")
    postprocess: _ReportedPostprocess
    evaluation: EvaluationConfig
