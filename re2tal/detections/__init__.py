"""Proposals -> detections: candidates, soft-NMS, segment voting, seconds, files."""

from re2tal.detections.files import write_detections
from re2tal.detections.nms import NmsConfig, soft_nms
from re2tal.detections.postprocess import PostprocessConfig, detect_window, merge_windows

__all__ = ["NmsConfig", "PostprocessConfig", "detect_window", "merge_windows", "soft_nms", "write_detections"]
