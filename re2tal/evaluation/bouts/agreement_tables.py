"""Agreement as tables: for CSV files and for the terminal."""

from re2tal.common.terminal import print_table
from re2tal.evaluation.bouts.agreement import Agreement, ClassAgreement
from re2tal.evaluation.bouts.tables import MOST_PAIRED, FigureTable, shortened

__all__ = ["agreement_tables", "print_agreement"]


def agreement_tables(agreement: Agreement) -> dict[str, FigureTable]:
    """Figures of every class, and the confusion matrix with one pair of categories a row."""
    rows = [item.as_json() for item in (*agreement.classes, agreement.overall)]
    categories = agreement.categories
    return {
        "agreement": FigureTable(header=tuple(rows[0]), rows=[tuple(row.values()) for row in rows]),
        "confusion": FigureTable(
            header=("a", "b", "steps", "seconds"),
            rows=[
                (ours, theirs, int(count), int(count) * agreement.step_seconds)
                for ours, counts in zip(categories, agreement.confusion, strict=True)
                for theirs, count in zip(categories, counts, strict=True)
                if count or len(categories) <= MOST_PAIRED
            ],
        ),
    }


def print_agreement(agreement: Agreement, *, names: tuple[str, str]) -> None:
    """Figures of all classes, then the confusion matrix."""
    tolerance, tiou = f"{agreement.tolerance:g} s", f"tIoU {agreement.tiou:g}"
    header = ["", "precision", "recall", "F1", "kappa", f"bout F1, {tolerance}", f"bout F1, {tiou}", "start", "end"]
    rows = [header, *shortened(list(map(_row, agreement.classes))), _row(agreement.overall)]
    steps = (
        f"{agreement.num_videos} videos, {agreement.seconds:.1f} s seen by both, steps of {agreement.step_seconds:g} s"
    )
    print_table(rows, title=f"Agreement of A ({names[0]}, the reference) and B ({names[1]})", caption=steps)
    overall = {"kappa": agreement.kappa, "accuracy": agreement.accuracy, "mean F1": agreement.macro_f1}
    print("Over all categories: " + ", ".join(f"{name} {_figure(value)}" for name, value in overall.items()) + "\n")
    if len(agreement.categories) > MOST_PAIRED:
        print(f"Confusion matrix of {len(agreement.categories)} categories: --out FOLDER writes it")
        return
    confusion = zip(agreement.categories, agreement.confusion.tolist(), strict=True)
    seen_by_a = ([name, *map(str, counts)] for name, counts in confusion if any(counts))
    print_table(
        [["A \\ B", *agreement.categories], *seen_by_a],
        title="Confusion matrix (steps; A in rows, B in columns)",
    )


def _row(item: ClassAgreement) -> list[str]:
    shares = (item.precision, item.recall, item.f1, item.kappa, item.bout_f1_by_tolerance, item.bout_f1_by_overlap)
    return [item.label, *map(_figure, (*shares, item.start_difference, item.end_difference))]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
