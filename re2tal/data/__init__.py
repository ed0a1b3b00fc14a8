"""Annotation files and videos to clips and batches."""

from re2tal.data.annotations import (
    AnnotationError,
    Annotations,
    find_class_names,
    read_annotations,
    read_class_names,
)
from re2tal.data.broken import TooManyBrokenVideosError
from re2tal.data.collate import batches_of, collate
from re2tal.data.config import DataConfig, ResizeSampling, Sampling, WindowSampling
from re2tal.data.features import FeaturesError, VideoFeatures, read_features
from re2tal.data.shards import ClipShard
from re2tal.data.streaming import ClipStream
from re2tal.data.subsets import AGNOSTIC_CLASS
from re2tal.data.testing_set import TestingSet
from re2tal.data.training_set import TrainingSet
from re2tal.data.whole import annotations_of

__all__ = [
    "AGNOSTIC_CLASS",
    "AnnotationError",
    "Annotations",
    "ClipShard",
    "ClipStream",
    "DataConfig",
    "FeaturesError",
    "ResizeSampling",
    "Sampling",
    "TestingSet",
    "TooManyBrokenVideosError",
    "TrainingSet",
    "VideoFeatures",
    "WindowSampling",
    "annotations_of",
    "batches_of",
    "collate",
    "find_class_names",
    "read_annotations",
    "read_class_names",
    "read_features",
]
