"""Features that others have extracted, in the files of their packages: a data set's clips, without its videos."""

from re2tal.data.feature_files.checking import check_features
from re2tal.data.feature_files.config import FeatureDataConfig, FeatureFiles
from re2tal.data.feature_files.sets import FeatureTestingSet, FeatureTrainingSet

__all__ = [
    "FeatureDataConfig",
    "FeatureFiles",
    "FeatureTestingSet",
    "FeatureTrainingSet",
    "check_features",
]
