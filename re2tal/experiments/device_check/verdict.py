"""What a report says: a verdict of a few lines, tables for a terminal, and whether all is as it should be."""

from collections.abc import Callable, Iterator
from typing import Any

from re2tal.common.terminal import Rows
from re2tal.experiments.device_check.context import LACK, Row

__all__ = ["has_passed", "rows_of", "tables_of", "verdict_of"]

Report = dict[str, Any]


def rows_of(report: Report, kind: str) -> list[Row]:
    """The results of all parts of a kind."""
    return [row for part in report["parts"] if part["kind"] == kind for row in part["rows"]]


def has_passed(report: Report) -> bool:
    """Whether every step that was compared is exact, and no part failed; one without time or memory has not failed."""
    exactness = rows_of(report, "exactness")
    is_exact = all(row["passed"] or row.get("state") == LACK for row in exactness)
    computed = all(row.get("state", LACK) == LACK for kind in ("steps", "planner") for row in rows_of(report, kind))
    kept = all(row.get("reconstruction_error", 0) == 0 for row in rows_of(report, "demo"))
    return is_exact and kept and computed and not any(part["state"] == "failed" for part in report["parts"])


def verdict_of(report: Report) -> list[str]:
    """Lines, for each kind of part that has found something, and for what was not done."""
    return [line for tell in _TELLERS for line in tell(report)]


def _tell_machine(report: Report) -> Iterator[str]:
    for row in rows_of(report, "machine"):
        memory = (row.get("total_memory_mib") or row["memory_mib"]) / 1024
        yield f"measured on {row['name']} ({row['device']}, {memory:.0f} GiB), torch {row['torch']}"
    if report["device"] == "cpu":
        yield "this was the reduced check of a CPU: it shows that everything runs, and nothing of a GPU"


def _tell_exactness(report: Report) -> Iterator[str]:
    rows = [row for row in rows_of(report, "exactness") if "state" not in row]
    if not rows:
        return
    lost = [row for row in rows if row["reconstruction_error"] != 0]
    yield f"streams came back bit for bit in {len(rows) - len(lost)} of {len(rows)} cases" + _named(lost)
    wrong = [row for row in rows if not row["passed"]]
    single = [row for row in rows if row["precision"] == "float32"]
    worst = max(single or rows, key=lambda row: row["to_float64"])
    yield (
        f"gradients are as near to float64 as those of plain autograd in {len(rows) - len(wrong)} of {len(rows)} cases"
        f"{_named(wrong)}; the worst in {worst['precision']}: {worst['to_float64']:.1e}, of plain autograd "
        f"{worst['stored_to_float64']:.1e} ({worst['network']})"
    )


def _named(rows: list[Row]) -> str:
    names = ", ".join(f"{row['network']} in {row['precision']}" for row in rows)
    return f", NOT for {names}" if names else ""


def _tell_steps(report: Report) -> Iterator[str]:
    measured = {(row["network"], row["frames"], row["strategy"]): row for row in _measured(report)}
    for network in dict.fromkeys(network for network, _, _ in measured):
        compared = [
            frames for name, frames, strategy in measured
            if name == network and strategy == "reversible" and (network, frames, "plain") in measured
        ]  # fmt: skip
        if not compared:
            continue
        frames = max(compared)
        ours = measured[network, frames, "reversible"]
        shares = [
            f"{ours['step_mib'] / other['step_mib']:.2f} of the memory and {ours['step_s'] / other['step_s']:.2f} of "
            f"the time of {strategy}"
            for strategy in ("plain", "checkpointed", "selective", "offloaded")
            if (other := measured.get((network, frames, strategy))) is not None
        ]
        yield f"{network}, {frames} frames: a reversible step takes {'; '.join(shares)}"


def _measured(report: Report) -> list[Row]:
    return [row for row in rows_of(report, "steps") if "state" not in row]


def _tell_longest(report: Report) -> Iterator[str]:
    rows = rows_of(report, "longest")
    if rows:
        found = ", ".join(
            f"{row['strategy']} {row['frames']}{'' if row['ended_by'] == LACK else ' and more'}" for row in rows
        )
        yield f"longest clip that fits, {rows[0]['network']}, frames of {rows[0]['pixels']} pixels: {found}"


def _tell_planner(report: Report) -> Iterator[str]:
    rows = rows_of(report, "planner")
    errors = [row["error"] for row in rows if "error" in row] or [
        row["error_of_tensors"] for row in rows if "state" not in row
    ]
    if errors:
        of = "all that a process holds" if any("error" in row for row in rows) else "tensors"
        yield f"the planner was off by {min(errors):+.1%} to {max(errors):+.1%} of {of}, in {len(errors)} whole steps"


def _tell_data(report: Report) -> Iterator[str]:
    for row in rows_of(report, "demo"):
        if "epoch_and_test_s" in row:
            yield (
                f"an epoch of the demo with its test: {row['epoch_and_test_s']:.1f} s, loss {row['first_loss']:.2f} to "
                f"{row['last_loss']:.2f}, reconstruction error {row['reconstruction_error']:.0e}"
            )
    if rows := rows_of(report, "decoding"):
        told = ", ".join(
            f"{row['frames_per_second']:.0f} with {row['loader_processes']} loader processes" for row in rows
        )
        yield f"frames of {rows[0]['video_pixels']} pixels decoded, augmented and on the device in a second: {told}"


def _tell_undone(report: Report) -> Iterator[str]:
    for part in report["parts"]:
        if part["state"] != "done":
            yield f"{part['name']}: {part['state']}, {part['error']}"


_TELLERS: tuple[Callable[[Report], Iterator[str]], ...] = (
    _tell_machine, _tell_exactness, _tell_steps, _tell_longest, _tell_planner, _tell_data, _tell_undone,
)  # fmt: skip


# Tables


def tables_of(report: Report) -> list[tuple[str, Rows]]:
    """Titles and rows of cells, the first of headings; only those that hold something."""
    tables = [
        ("Exactness: relative errors of the worst gradient", _exactness_table(report)),
        ("Memory and time of a training step", _steps_table(report)),
        ("Whole training steps, planned and measured", _planner_table(report)),
    ]
    return [(title, rows) for title, rows in tables if len(rows) > 1]


def _exactness_table(report: Report) -> list[list[str]]:
    table = [["network", "precision", "streams lost", "to stored", "to float64", "stored to float64", "passed"]]
    for row in rows_of(report, "exactness"):
        keys = ("reconstruction_error", "to_stored", "to_float64", "stored_to_float64")
        figures = [f"{row[key]:.1e}" if key in row else "" for key in keys]
        passed = row.get("state") or ("yes" if row["passed"] else "NO")
        table.append([row["network"], row["precision"], *figures, passed])
    return table


def _steps_table(report: Report) -> list[list[str]]:
    rows = rows_of(report, "steps")
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    found = {(row["network"], row["frames"], row["strategy"]): row for row in rows}
    table = [["network", "frames", *strategies]]
    for network, frames in dict.fromkeys((network, frames) for network, frames, _ in found):
        cells = [_step_cell(found.get((network, frames, strategy))) for strategy in strategies]
        table.append([network, str(frames), *cells])
    return table


def _step_cell(row: Row | None) -> str:
    if row is None:
        return ""
    return row.get("state") or f"{row['step_mib']:.0f} MiB, {1000 * row['step_s']:.0f} ms"


def _planner_table(report: Report) -> list[list[str]]:
    table = [["network", "strategy", "frames", "planned tensors", "measured", "planned", "held", "s"]]
    for row in rows_of(report, "planner"):
        measured = [
            row.get("state") or f"{row['tensors_mib']:.0f} MiB",
            f"{row['planned_mib']:.0f} MiB",
            f"{row['reserved_mib']:.0f} MiB" if row.get("reserved_mib") else "",
            f"{row['step_s']:.2f}" if "step_s" in row else "",
        ]
        planned = f"{row['planned_tensors_mib']:.0f} MiB"
        table.append([row["network"], row["strategy"], str(row["frames"]), planned, *measured])
    return table
