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
from re2tal.data.config import DataConfig, DataSettings, ResizeSampling, Sampling, WindowSampling
from re2tal.data.feature_files import FeatureDataConfig, FeatureFiles
from re2tal.data.features import FeaturesError, VideoFeatures, read_features
from re2tal.data.interface import TestingClips, TrainingClips
from re2tal.data.sets import stored_features, testing_clips, training_clips
from re2tal.data.shards import ClipShard
from re2tal.data.streaming import ClipStream
from re2tal.data.subsets import AGNOSTIC_CLASS
from re2tal.data.testing_set import TestingSet
from re2tal.data.training_set import TrainingSet
from re2tal.data.whole import annotations_of, as_file

__all__ = [
    "AGNOSTIC_CLASS",
    "AnnotationError",
    "Annotations",
    "ClipShard",
    "ClipStream",
    "DataConfig",
    "DataSettings",
    "FeatureDataConfig",
    "FeatureFiles",
    "FeaturesError",
    "ResizeSampling",
    "Sampling",
    "TestingClips",
    "TestingSet",
    "TooManyBrokenVideosError",
    "TrainingClips",
    "TrainingSet",
    "VideoFeatures",
    "WindowSampling",
    "annotations_of",
    "as_file",
    "batches_of",
    "collate",
    "find_class_names",
    "read_annotations",
    "read_class_names",
    "read_features",
    "stored_features",
    "testing_clips",
    "training_clips",
]
