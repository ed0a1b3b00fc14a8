"""Labels of videos -> files of other programs."""

from re2tal.labels.exporting.content import (
    EXPORTED_FROM,
    ExportContent,
    ExportError,
    ExportItem,
    ExportNotes,
    ExportOptions,
    ExportVideo,
)
from re2tal.labels.exporting.writers import WRITERS, LabelWriter
from re2tal.labels.exporting.writing import ExportReport, export_labels, find_writer

__all__ = [
    "EXPORTED_FROM",
    "WRITERS",
    "ExportContent",
    "ExportError",
    "ExportItem",
    "ExportNotes",
    "ExportOptions",
    "ExportReport",
    "ExportVideo",
    "LabelWriter",
    "export_labels",
    "find_writer",
]
