"""People's own annotations and videos -> annotations that the package reads, and a config chosen for them."""

from re2tal.labels.choices import BUDGETS, Choices, Size, cache_mib_of, choose, class_hints, crop_of
from re2tal.labels.classes import read_class_names
from re2tal.labels.collecting import ImportOptions
from re2tal.labels.config_text import config_text, write_config
from re2tal.labels.formats import LabelFormat, SourceFile
from re2tal.labels.importing import ImportedLabels, import_annotations, write_annotations
from re2tal.labels.lengths import read_lengths
from re2tal.labels.measure import DataSet, Measures, load_data_set, measure
from re2tal.labels.records import FORMATS, Coverage, Format, Media, Problem, Reading, ReadOptions, Record, SourceError
from re2tal.labels.report import ImportReport, print_report
from re2tal.labels.sources import read_sources
from re2tal.labels.times import Time, TimeError, Unit, parse_time
from re2tal.labels.videos import lengths_in

__all__ = [
    "BUDGETS",
    "FORMATS",
    "Choices",
    "Coverage",
    "DataSet",
    "Format",
    "ImportOptions",
    "ImportReport",
    "ImportedLabels",
    "LabelFormat",
    "Measures",
    "Media",
    "Problem",
    "ReadOptions",
    "Reading",
    "Record",
    "Size",
    "SourceError",
    "SourceFile",
    "Time",
    "TimeError",
    "Unit",
    "cache_mib_of",
    "choose",
    "class_hints",
    "config_text",
    "crop_of",
    "import_annotations",
    "lengths_in",
    "load_data_set",
    "measure",
    "parse_time",
    "print_report",
    "read_class_names",
    "read_lengths",
    "read_sources",
    "write_annotations",
    "write_config",
]
