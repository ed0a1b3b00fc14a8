"""A backbone trained as a classifier of trimmed clips, before it becomes a detector's."""

from re2tal.experiments.finetuning.accuracy import accuracy
from re2tal.experiments.finetuning.classifier import Classifier
from re2tal.experiments.finetuning.clips import TrimmedTestingSet, TrimmedTrainingSet
from re2tal.experiments.finetuning.config import ClipsConfig, ClipSource, FinetuneConfig
from re2tal.experiments.finetuning.lists import ClipList, ClipListError, list_clips

__all__ = [
    "Classifier",
    "ClipList",
    "ClipListError",
    "ClipSource",
    "ClipsConfig",
    "FinetuneConfig",
    "TrimmedTestingSet",
    "TrimmedTrainingSet",
    "accuracy",
    "list_clips",
]
