"""A backbone trained as a classifier of trimmed clips, before it becomes a detector's."""

from re2tal.experiments.finetuning.accuracy import Accuracy, accuracy
from re2tal.experiments.finetuning.classifier import Classifier
from re2tal.experiments.finetuning.clips import TrimmedTestingSet, TrimmedTrainingSet
from re2tal.experiments.finetuning.config import ClipsConfig, ClipSource, FinetuneConfig
from re2tal.experiments.finetuning.lists import ClipList, ClipListError, TrimmedVideo, list_clips

__all__ = [
    "Accuracy",
    "Classifier",
    "ClipList",
    "ClipListError",
    "ClipSource",
    "ClipsConfig",
    "FinetuneConfig",
    "TrimmedTestingSet",
    "TrimmedTrainingSet",
    "TrimmedVideo",
    "accuracy",
    "list_clips",
]
