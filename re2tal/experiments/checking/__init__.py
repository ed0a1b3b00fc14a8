"""What `re2tal check-data` finds: everything about an experiment's data that a run would stumble over."""

from re2tal.experiments.checking.check import check_data
from re2tal.experiments.checking.report import DataReport, print_report

__all__ = ["DataReport", "check_data", "print_report"]
