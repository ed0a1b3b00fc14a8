"""Proposals -> detections: candidates, soft-NMS, segment voting, seconds, files."""

from re2tal.detections.config import NmsConfig
from re2tal.detections.files import rows_of, write_detections, write_rows, writing_rows
from re2tal.detections.nms import soft_nms
from re2tal.detections.postprocess import PostprocessConfig, detect_window, merge_windows
from re2tal.detections.streaming_nms import FinalDetections, StreamingNms
from re2tal.detections.video_scores import (
    CuhkConfig,
    SubmissionConfig,
    TcanetConfig,
    UntrimmedNetConfig,
    VideoScores,
    VideoScoresError,
    VideoScoresSettings,
)

__all__ = [
    "CuhkConfig",
    "FinalDetections",
    "NmsConfig",
    "PostprocessConfig",
    "StreamingNms",
    "SubmissionConfig",
    "TcanetConfig",
    "UntrimmedNetConfig",
    "VideoScores",
    "VideoScoresError",
    "VideoScoresSettings",
    "detect_window",
    "merge_windows",
    "rows_of",
    "soft_nms",
    "write_detections",
    "write_rows",
    "writing_rows",
]
