"""What `re2tal check-data` finds: everything about an experiment's data that a run would stumble over."""

from re2tal.experiments.checking.check import check_data
from re2tal.experiments.checking.report import DataReport, SubsetCounts, print_report

__all__ = ["DataReport", "SubsetCounts", "check_data", "print_report"]
