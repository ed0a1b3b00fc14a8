"""Bouts of behaviour: what is counted of them, and how far two observers agree on them."""

from re2tal.evaluation.bouts.agreement import Agreement, measure_agreement, paired_observations
from re2tal.evaluation.bouts.agreement_tables import agreement_tables, print_agreement
from re2tal.evaluation.bouts.observation import Observation
from re2tal.evaluation.bouts.reading import BoutRules, Observed, read_observed
from re2tal.evaluation.bouts.summary import ClassSummary, classes_of, summarize, summarize_classes
from re2tal.evaluation.bouts.tables import print_summary, summary_tables

__all__ = [
    "Agreement",
    "BoutRules",
    "ClassSummary",
    "Observation",
    "Observed",
    "agreement_tables",
    "classes_of",
    "measure_agreement",
    "paired_observations",
    "print_agreement",
    "print_summary",
    "read_observed",
    "summarize",
    "summarize_classes",
    "summary_tables",
]
