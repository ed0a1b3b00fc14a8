"""From two files to the metric, as `re2tal evaluate` does it."""

from collections.abc import Collection, Sequence
from pathlib import Path

from re2tal.evaluation.average_precision import MapResult, mean_average_precision
from re2tal.evaluation.files import read_ground_truth, read_predictions
from re2tal.evaluation.tables import EvaluationError, GroundTruth, Predictions

__all__ = ["evaluate_files", "read_files"]


def evaluate_files(
    ground_truth: Path | str,
    predictions: Path | str,
    *,
    subset: str | Sequence[str],
    tious: Sequence[float],
    blocked: Path | str | Collection[str] | None = None,
    subset_file: Path | str | None = None,
    as_annotated: bool = False,
    count_other_videos: bool = False,
    recall_multiples: Sequence[int] = (),
    average_recall_at: Sequence[int] = (),
) -> MapResult:
    """Mean average precision of a predictions file.

    Args:
        ground_truth: JSON of ActivityNet's layout (see `read_ground_truth`).
        predictions: JSON of ActivityNet's submission layout, or NPZ (see `read_predictions`).
        subset: Name of the evaluated subset, or several.
        tious: Temporal IoU thresholds.
        blocked: Videos to leave out: ids, or a JSON file with a list of ids.
        subset_file: CSV (video, subset), for a ground truth that does not tell the subsets.
        as_annotated: Count empty and repeated annotations too.
        count_other_videos: Count predictions for videos outside the subset as false ones.
        recall_multiples: Values of k for recall@kx, and so on; see `mean_average_precision`.
        average_recall_at: Values of AN for AR@AN.
    """
    truth, found = read_files(
        ground_truth,
        predictions,
        subset=subset,
        blocked=blocked,
        subset_file=subset_file,
        as_annotated=as_annotated,
    )
    return mean_average_precision(
        truth,
        found,
        tious=tious,
        count_other_videos=count_other_videos,
        recall_multiples=recall_multiples,
        average_recall_at=average_recall_at,
    )


def read_files(
    ground_truth: Path | str,
    predictions: Path | str,
    *,
    subset: str | Sequence[str],
    blocked: Path | str | Collection[str] | None = None,
    subset_file: Path | str | None = None,
    as_annotated: bool = False,
    point_seconds: float | None = None,
) -> tuple[GroundTruth, Predictions]:
    """Both files, with an error if they have no video or no class in common.

    Arguments are those of `evaluate_files`, and `point_seconds` that of `read_ground_truth`.
    """
    truth = read_ground_truth(
        ground_truth,
        subset=subset,
        blocked=blocked,
        subset_file=subset_file,
        as_annotated=as_annotated,
        point_seconds=point_seconds,
    )
    found = read_predictions(predictions)
    known = set(truth.video_ids)
    if found.video_ids and not known & set(found.video_ids):
        raise EvaluationError(
            f"no video of {predictions} is in the evaluated subset of {ground_truth}: the predictions have ids like "
            f"{found.video_ids[0]!r}, the ground truth like {truth.video_ids[0]!r}; use the same ids"
        )
    if found.class_names and truth.class_names and not set(found.class_names) & set(truth.class_names):
        raise EvaluationError(
            f"no label of {predictions} is a class of {ground_truth}: the predictions have labels like "
            f"{found.class_names[0]!r}, the ground truth like {truth.class_names[0]!r}; use the same names"
        )
    return truth, found
