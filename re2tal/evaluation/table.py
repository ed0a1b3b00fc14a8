"""The metric as a table for people."""

from rich.table import Table

from re2tal.evaluation.average_precision import MapResult

__all__ = ["format_table", "rich_table"]


def rich_table(result: MapResult, *, title: str = "mAP (%)", per_class: bool = False) -> Table:
    """One column per threshold and the mean; one row per class if asked for, then the mean over classes."""
    table = Table(title=title, caption=_caption(result))
    for place, heading in enumerate(_headings(result)):
        table.add_column(heading, justify="left" if place == 0 else "right")
    for row in _rows(result, per_class=per_class):
        table.add_row(*row)
    return table


def format_table(result: MapResult, *, per_class: bool = False) -> str:
    """The same as plain text, for log files and pipes."""
    rows = [_headings(result), *_rows(result, per_class=per_class)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([*lines, _caption(result)])


def _headings(result: MapResult) -> list[str]:
    return ["tIoU", *(f"{tiou:g}" for tiou in result.tious), "mean"]


def _rows(result: MapResult, *, per_class: bool) -> list[list[str]]:
    def row(name: str, values: tuple[float, ...]) -> list[str]:
        mean = sum(values) / len(values)
        return [name, *(f"{100 * value:.2f}" for value in (*values, mean))]

    classes = [row(name, values) for name, values in sorted(result.per_class.items())] if per_class else []
    return [*classes, row("mAP", result.per_tiou)]


def _caption(result: MapResult) -> str:
    parts = [f"{result.num_predictions} predictions, {result.num_actions} actions, {result.num_videos} videos"]
    if result.num_other_videos:
        parts.append(f"{result.num_other_videos} predictions for other videos left out")
    if result.num_other_classes:
        parts.append(f"{result.num_other_classes} predictions of other classes left out")
    return "; ".join(parts)
