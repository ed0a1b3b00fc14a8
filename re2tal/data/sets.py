"""The clips of a data set, to train and to test on: its own, or those cut from its videos."""

from collections.abc import Collection

from re2tal.data.annotations import Annotations
from re2tal.data.config import DataSettings
from re2tal.data.feature_files import FeatureDataConfig, FeatureTestingSet, FeatureTrainingSet
from re2tal.data.features import VideoFeatures
from re2tal.data.interface import TestingClips, TrainingClips
from re2tal.data.testing_set import TestingSet
from re2tal.data.training_set import TrainingSet
from re2tal.video import AugmentSettings

__all__ = ["stored_features", "testing_clips", "training_clips"]


def training_clips(
    config: DataSettings,
    augment: AugmentSettings,
    *,
    seed: int,
    annotations: Annotations,
    changed_later: bool = False,
) -> TrainingClips:
    """The clips to train on; `annotations` are those of the config, `changed_later` is as for a `TrainingSet`."""
    if isinstance(config, FeatureDataConfig):
        return FeatureTrainingSet(config, seed=seed, annotations=annotations)
    own = config.training_clips(augment, seed=seed)
    if own is None:
        return TrainingSet(config, augment, seed=seed, annotations=annotations, changed_later=changed_later)
    if config.negative_share:
        raise ValueError(
            f"data.negative_share is of clips that are cut from videos, got {config.negative_share:g}, and "
            f"{type(config).__name__} gives its own; set it to 0 and let them show nothing themselves"
        )
    return own


def testing_clips(config: DataSettings, *, leave_out: Collection[str], annotations: Annotations) -> TestingClips:
    """The clips to test on; `annotations` are those of the config."""
    if isinstance(config, FeatureDataConfig):
        return FeatureTestingSet(config, leave_out=leave_out, annotations=annotations)
    own = config.testing_clips(leave_out=leave_out)
    return TestingSet(config, leave_out=leave_out, annotations=annotations) if own is None else own


def stored_features(clips: TrainingClips | TestingClips) -> tuple[VideoFeatures, ...]:
    """Of every video, where clips are made of stored features and not of pixels."""
    return clips.features if isinstance(clips, TrainingSet | TestingSet) else ()
