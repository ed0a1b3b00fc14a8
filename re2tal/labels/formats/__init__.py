"""The formats of label files: one module for each family, and the table of all in `recognition`."""

from re2tal.labels.formats.published import find_thumos_texts, read_thumos
from re2tal.labels.formats.recognition import LabelFormat, find_format
from re2tal.labels.formats.refused import BY_ENDING, what_bytes_are
from re2tal.labels.formats.source_file import SourceFile
from re2tal.labels.formats.workbooks import is_workbook, sheets_of

__all__ = [
    "BY_ENDING",
    "LabelFormat",
    "SourceFile",
    "find_format",
    "find_thumos_texts",
    "is_workbook",
    "read_thumos",
    "sheets_of",
    "what_bytes_are",
]
