"""Tables for people: drawn in a terminal, aligned plain text in a pipe."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from re2tal.common.untrusted import brief, visible, visible_lines

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_table"]

Rows = Sequence[Sequence[str]]

_LONGEST_CELL = 400


def print_table(
    rows: Rows, *, title: str = "", caption: str = "", numbers: bool = True, console: "Console | None" = None
) -> None:
    """Print a table; names in it are shown as they are, not obeyed.

    Args:
        rows: of cells; the first row holds the headings.
        title: above the table.
        caption: below it.
        numbers: whether all columns but the first hold numbers, which stand at the right.
        console: to print to; by default the standard output.
    """
    from rich.console import Console

    rows = [[visible(brief(cell, length=_LONGEST_CELL)) for cell in row] for row in rows]
    console = console or Console()
    if console.is_terminal:
        _draw(rows, title=title, caption=caption, numbers=numbers, console=console)
        return
    parts = (visible(title), _aligned(rows, numbers=numbers), visible_lines(caption))
    print(*filter(None, parts), sep="\n", file=console.file)


def _draw(rows: Rows, *, title: str, caption: str, numbers: bool, console: "Console") -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text  # in which brackets are no markup

    table = Table(box=box.SIMPLE_HEAD)
    for place, heading in enumerate(rows[0]):
        table.add_column(Text(heading), justify="right" if numbers and place else "left")
    for row in rows[1:]:
        table.add_row(*(Text(cell) for cell in row))
    # Title and caption stand beside the table: as its own they would be wrapped at its width.
    if title:
        console.print(Text(visible(title), style="bold"))
    console.print(table)
    if caption:
        console.print(Text(visible_lines(caption), style="dim"))


def _aligned(rows: Rows, *, numbers: bool) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if numbers and place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
