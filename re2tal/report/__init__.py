"""One HTML page that shows a run or a file of detections, and needs neither network nor program to be read."""

from re2tal.report.errors import ReportError
from re2tal.report.picture import timeline_pictures
from re2tal.report.report import WrittenReport, write_report
from re2tal.report.sources import DEFAULT_TIOUS, Excerpt, ReportVideos, Sources, TruthSource

__all__ = [
    "DEFAULT_TIOUS",
    "Excerpt",
    "ReportError",
    "Sources",
    "TruthSource",
    "ReportVideos",
    "WrittenReport",
    "timeline_pictures",
    "write_report",
]
