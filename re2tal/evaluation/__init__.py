"""How good detections are: mean average precision, from files or from values."""

from re2tal.evaluation.average_precision import MapResult, mean_average_precision
from re2tal.evaluation.config import EvaluationConfig
from re2tal.evaluation.curves import PrecisionCurves, precision_curves
from re2tal.evaluation.evaluate import evaluate_files
from re2tal.evaluation.files import read_blocked, read_ground_truth, read_predictions
from re2tal.evaluation.table import format_table, rich_table
from re2tal.evaluation.tables import EvaluationError, GroundTruth, Predictions

__all__ = [
    "EvaluationConfig",
    "EvaluationError",
    "GroundTruth",
    "MapResult",
    "PrecisionCurves",
    "Predictions",
    "evaluate_files",
    "format_table",
    "mean_average_precision",
    "precision_curves",
    "read_blocked",
    "read_ground_truth",
    "read_predictions",
    "rich_table",
]
