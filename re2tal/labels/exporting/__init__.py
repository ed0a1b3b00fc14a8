"""Labels of videos -> files of other programs."""

from re2tal.labels.exporting.content import ExportContent, ExportError, ExportItem, ExportNotes, ExportVideo
from re2tal.labels.exporting.writers import WRITERS, LabelWriter
from re2tal.labels.exporting.writing import (
    EXPORTED_FROM,
    ExportOptions,
    ExportReport,
    export_labels,
    find_writer,
)

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
