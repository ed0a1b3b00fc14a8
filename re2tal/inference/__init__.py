"""Trained networks on videos that nobody has annotated: what happens when, and features."""

from re2tal.inference.clips import ClipDetector
from re2tal.inference.extraction import extract, videos_of_data
from re2tal.inference.folder import SHOWN_FROM, PredictionFolder
from re2tal.inference.inputs import InputError, VideoFile, find_videos
from re2tal.inference.prediction import Predicted, detect_in_video, predict
from re2tal.inference.sharing import WindowFeatures, tell_of_sharing, why_not_shared
from re2tal.inference.stored import require_features_of
from re2tal.inference.trained import TrainedDetector, completed_by_pretrained, load_backbone, load_trained, settings_of
from re2tal.inference.videos import Outcome

__all__ = [
    "SHOWN_FROM",
    "ClipDetector",
    "InputError",
    "Outcome",
    "PredictionFolder",
    "Predicted",
    "TrainedDetector",
    "VideoFile",
    "WindowFeatures",
    "completed_by_pretrained",
    "detect_in_video",
    "extract",
    "find_videos",
    "load_backbone",
    "load_trained",
    "predict",
    "require_features_of",
    "settings_of",
    "tell_of_sharing",
    "videos_of_data",
    "why_not_shared",
]
