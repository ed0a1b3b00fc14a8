"""What is told of all rounds: tables and curves."""

import statistics
from pathlib import Path
from typing import Any

from labelling.edits import Edits
from re2tal.inference import SHOWN_FROM

ORDERS = ("suggested", "uncertainty", "random")


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: mean mAP for each order, means over the seeds (each seed); then the edits."""
    numbers = sorted({row["round"] for row in rows})
    minutes = [statistics.mean(row["minutes"] for row in rows if row["round"] == number) for number in numbers]
    lines = ["| minutes labelled | " + " | ".join(f"{value:.1f}" for value in minutes) + " |"]
    lines.append("|---" * (len(numbers) + 1) + "|")
    for order in ORDERS:
        cells = []
        for number in numbers:
            found = [
                100 * row["metrics"]["average_mAP"] for row in rows if (row["order"], row["round"]) == (order, number)
            ]
            cells.append(
                f"{statistics.mean(found):.1f} ({', '.join(f'{value:.1f}' for value in found)})" if found else ""
            )
        lines.append(f"| {order} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| order, detections shown | from nothing | correcting | accepted, rejected, relabelled, moved, added |",
    ]
    lines.append("|---" * 4 + "|")
    for order in ORDERS:
        for which, told in (("default", f"from {SHOWN_FROM:g}"), ("best", "at the best threshold")):
            total = sum((Edits(**row["edits"][which]) for row in rows if row["order"] == order), Edits())
            kinds = f"{total.accepted}, {total.rejected}, {total.relabelled}, {total.moved}, {total.added}"
            share = f" ({total.total / total.from_nothing:.0%})" if total.from_nothing else ""
            lines.append(f"| {order}, {told} | {total.from_nothing} | {total.total}{share} | {kinds} |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Curves of the mean mAP over the minutes labelled; a thin line for each seed."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.2))
    for order, colour in zip(ORDERS, ("#2563eb", "#d97706", "#6b7280"), strict=True):
        own = [row for row in rows if row["order"] == order]
        for seed in sorted({row["seed"] for row in own}):
            points = sorted((row["minutes"], 100 * row["metrics"]["average_mAP"]) for row in own if row["seed"] == seed)
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.6, alpha=0.5)
        numbers = sorted({row["round"] for row in own})
        means = [
            [statistics.mean(values) for values in zip(*found, strict=True)]
            for found in (
                [(row["minutes"], 100 * row["metrics"]["average_mAP"]) for row in own if row["round"] == number]
                for number in numbers
            )
        ]
        axes.plot(*zip(*means, strict=True), color=colour, linewidth=2, label=order)
    axes.set(xlabel="minutes labelled", ylabel="mean mAP (%)")
    axes.legend(frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
