"""What to label next: stretches that a detector is unsure of and that are unlike each other."""

from re2tal.inference.suggesting.labels import by_video, read_labelled_stretches, with_detections
from re2tal.inference.suggesting.ranking import binary_entropy, rank_by_uncertainty, rank_by_use
from re2tal.inference.suggesting.stretches import cut_stretches, moment_scores, stretch_seconds
from re2tal.inference.suggesting.suggest import Suggestion, suggest, trace_videos, write_suggestions
from re2tal.inference.suggesting.traces import VideoTrace, read_trace, trace_clips, write_trace

__all__ = [
    "Suggestion",
    "VideoTrace",
    "binary_entropy",
    "by_video",
    "cut_stretches",
    "moment_scores",
    "rank_by_uncertainty",
    "rank_by_use",
    "read_labelled_stretches",
    "read_trace",
    "stretch_seconds",
    "suggest",
    "trace_clips",
    "trace_videos",
    "with_detections",
    "write_suggestions",
    "write_trace",
]
