"""The metric as a table for people."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from re2tal.common.untrusted import visible
from re2tal.evaluation.average_precision import MapResult

__all__ = ["as_rich_table", "as_text", "counts_in_words", "format_table", "rich_table"]


def rich_table(result: MapResult, *, title: str = "mAP (%)", per_class: bool = False) -> Table:
    """One column per threshold and the mean; one row per class if asked for, then the mean over classes."""
    rows = [_headings(result), *_rows(result, per_class=per_class)]
    return as_rich_table(rows, title=title, caption=counts_in_words(result))


def format_table(result: MapResult, *, per_class: bool = False) -> str:
    """The same as plain text, for log files and pipes."""
    return f"{as_text([_headings(result), *_rows(result, per_class=per_class)])}\n{counts_in_words(result)}"


def as_rich_table(rows: Sequence[Sequence[str]], *, title: str | None = None, caption: str | None = None) -> Table:
    """A table for terminals: the first row is the heading, the first column is text, the others are numbers."""
    table = Table(title=title and Text(title), caption=caption and Text(caption))
    for place, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if place else "left")
    for row in rows[1:]:
        table.add_row(*(Text(visible(cell)) for cell in row))  # as text, brackets in names are no markup
    return table


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """The same rows in plain text, aligned."""
    rows = [list(map(visible, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    )


def _headings(result: MapResult) -> list[str]:
    return ["tIoU", *(f"{tiou:g}" for tiou in result.tious), "mean"]


def _rows(result: MapResult, *, per_class: bool) -> list[list[str]]:
    def row(name: str, values: tuple[float, ...]) -> list[str]:
        mean = sum(values) / len(values)
        return [name, *(f"{100 * value:.2f}" for value in (*values, mean))]

    classes = [row(name, values) for name, values in sorted(result.per_class.items())] if per_class else []
    return [*classes, row("mAP", result.per_tiou)]


def counts_in_words(result: MapResult) -> str:
    """How much was evaluated, and what was left out."""
    parts = [f"{result.num_predictions} predictions, {result.num_actions} actions, {result.num_videos} videos"]
    if result.num_other_videos:
        parts.append(f"{result.num_other_videos} predictions for other videos left out")
    if result.num_other_classes:
        parts.append(f"{result.num_other_classes} predictions of other classes left out")
    return "; ".join(parts)
