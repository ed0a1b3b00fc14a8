"""One HTML page that shows a run or a file of detections, and needs neither network nor program to be read."""

from re2tal.report.errors import ReportError
from re2tal.report.media import find_videos
from re2tal.report.picture import timeline_pictures
from re2tal.report.report import WrittenReport, write_report
from re2tal.report.sources import Excerpt, ReportVideos, Sources, TruthSource
from re2tal.report.summary import write_summary

__all__ = [
    "Excerpt",
    "ReportError",
    "Sources",
    "TruthSource",
    "ReportVideos",
    "WrittenReport",
    "find_videos",
    "timeline_pictures",
    "write_report",
    "write_summary",
]
