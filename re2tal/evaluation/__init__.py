"""How good detections are: mean average precision, from files or from values."""

from re2tal.evaluation.average_precision import (
    MapResult,
    PrecisionResult,
    mean_average_precision,
    precision_table,
    result_of_matches,
)
from re2tal.evaluation.config import EvaluationConfig
from re2tal.evaluation.curves import precision_curves
from re2tal.evaluation.epic import EPIC_TASKS, epic_precision
from re2tal.evaluation.evaluate import evaluate_files, read_files
from re2tal.evaluation.false_alarms import count_false_alarms
from re2tal.evaluation.files import read_blocked, read_ground_truth, read_predictions
from re2tal.evaluation.matching import Ranked, best_overlaps, match_actions, rank_predictions
from re2tal.evaluation.spotting import LOOSE, TIGHT, spotting_precision
from re2tal.evaluation.table import counts_in_words, print_result
from re2tal.evaluation.tables import EvaluationError, GroundTruth, Predictions

__all__ = [
    "EPIC_TASKS",
    "EvaluationConfig",
    "EvaluationError",
    "GroundTruth",
    "LOOSE",
    "MapResult",
    "PrecisionResult",
    "Predictions",
    "Ranked",
    "TIGHT",
    "best_overlaps",
    "count_false_alarms",
    "counts_in_words",
    "epic_precision",
    "evaluate_files",
    "match_actions",
    "mean_average_precision",
    "precision_curves",
    "precision_table",
    "print_result",
    "rank_predictions",
    "read_blocked",
    "read_files",
    "read_ground_truth",
    "read_predictions",
    "result_of_matches",
    "spotting_precision",
]
