"""The metric as a table for people."""

from re2tal.common.terminal import print_table
from re2tal.evaluation.average_precision import MapResult, PrecisionResult

__all__ = ["counts_in_words", "print_result"]


def print_result(result: PrecisionResult, *, title: str, per_class: bool = False) -> None:
    """One column per threshold and the mean, in percent; one row per class if asked for, then the mean over classes."""
    classes = sorted(result.per_class.items()) if per_class else []
    rows = [[*result.headings, "mean"]]
    for name, values in [*classes, ("mAP", result.means)]:
        rows.append([name, *(f"{100 * value:.2f}" for value in (*values, result.averaged(values)))])
    print_table(rows, title=title, caption=counts_in_words(result))
    if isinstance(result, MapResult):
        _print_recalls(result, per_class=per_class)
    if result.false_alarms is not None:
        print(result.false_alarms.in_words())


def _print_recalls(result: MapResult, *, per_class: bool) -> None:
    """A table for each multiple of recall@kx, in percent, and one of average recall."""
    if (recall := result.recall) is not None:
        for row, multiple in enumerate(recall.multiples):
            classes = sorted(recall.per_class.items()) if per_class else []
            named = [*classes, ("mean over classes", recall.means), ("all actions", recall.of_all)]
            cells = [
                [name, *(f"{100 * value:.2f}" for value in (*table[row], table[row].mean()))] for name, table in named
            ]
            print_table([[*result.headings, "mean"], *cells], title=f"Recall@{multiple}x (%)")
    if (proposals := result.average_recall) is not None:
        headings = ["AN", *map(str, proposals.budgets), "AUC"]
        values = [f"{100 * value:.2f}" for value in (*proposals.recalls, proposals.area)]
        print_table([headings, ["average recall", *values]], title="Average recall of any class (%)")


def counts_in_words(result: PrecisionResult) -> str:
    """How much was evaluated, and what was left out."""
    parts = [f"{result.num_predictions} predictions, {result.num_actions} actions, {result.num_videos} videos"]
    if result.num_other_videos:
        parts.append(f"{result.num_other_videos} predictions for other videos left out")
    if result.num_other_classes:
        parts.append(f"{result.num_other_classes} predictions of other classes left out")
    if result.num_unlabelled:
        parts.append(f"{result.num_unlabelled} predictions where nobody has looked left out")
    return "; ".join(parts)
