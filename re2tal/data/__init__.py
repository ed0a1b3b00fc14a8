"""Annotation files and videos to clips and batches."""

from re2tal.data.annotations import AnnotationError, Annotations, find_class_names, read_annotations
from re2tal.data.broken import TooManyBrokenVideosError
from re2tal.data.collate import collate
from re2tal.data.config import DataConfig, ResizeSampling, Sampling, WindowSampling
from re2tal.data.datasets import TestingSet, TrainingSet, ValidationSet, annotations_of

__all__ = [
    "AnnotationError",
    "Annotations",
    "DataConfig",
    "ResizeSampling",
    "Sampling",
    "TestingSet",
    "TooManyBrokenVideosError",
    "TrainingSet",
    "ValidationSet",
    "WindowSampling",
    "annotations_of",
    "collate",
    "find_class_names",
    "read_annotations",
]
