"""Proposals -> detections: candidates, soft-NMS, segment voting, seconds, files."""

from re2tal.detections.files import write_detections
from re2tal.detections.nms import NmsConfig, soft_nms
from re2tal.detections.postprocess import PostprocessConfig, detect_window, merge_windows
from re2tal.detections.video_labels import (
    CuhkConfig,
    SubmissionConfig,
    UntrimmedNetConfig,
    VideoLabels,
    VideoLabelsError,
    read_video_labels,
)

__all__ = [
    "CuhkConfig",
    "NmsConfig",
    "PostprocessConfig",
    "SubmissionConfig",
    "UntrimmedNetConfig",
    "VideoLabels",
    "VideoLabelsError",
    "detect_window",
    "merge_windows",
    "read_video_labels",
    "soft_nms",
    "write_detections",
]
