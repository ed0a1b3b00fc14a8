"""What people save memory with in training, in one run: memory, time and error of a step, as tables and pictures.

    python benchmarks/ways_of_training.py [--backbone B] [--size 112] [--frames 16 32 64] [--depths 6 12 24]
        [--ways plain checkpoint ...] [--repeats 3] [--runs 5] [--errors] [--json > measured.json]
    python benchmarks/ways_of_training.py --read measured.json --pictures docs/pictures

Each case runs `train_step.py` in a fresh process, `--runs` times in turn with the others, and its median counts. Memory
is the process's own largest, less what it had after building the network. Depth is the number of blocks in the third
stage, at 32 frames. `--errors` adds the worst gradient's error in float64 against plain autograd, on a small clip. A
way that does not work here, such as compiling without a compiler, is told and left out.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

WAYS: dict[str, tuple[str, str, list[str]]] = {
    "plain": ("plain autograd", "#b3541e", ["--mode", "plain"]),
    "checkpoint": ("checkpointing of every block", "#8a8a3c", ["--mode", "checkpoint"]),
    "selective": ("selective checkpointing", "#c9a227", ["--mode", "selective"]),
    "offload": ("save_on_cpu", "#a05195", ["--mode", "offload"]),
    "compile": ("torch.compile, half the activations", "#4c8c4a", ["--mode", "compile", "--share", "0.5"]),
    "store": ("rewired, stored", "#9a9a9a", ["--mode", "store"]),
    "whole": ("reversible, whole branches", "#7fb2dd", ["--mode", "reversible", "--tiles", "off"]),
    "tiles": ("reversible, in tiles", "#1e6fb3", ["--mode", "reversible"]),
    "auto": ("auto, half the activations", "#0b3c66", ["--mode", "auto", "--share", "0.5"]),
    "auto_all": ("auto, all activations", "#000000", ["--mode", "auto", "--share", "1"]),
}
"""Name, colour and options of train_step.py."""
WAYS_BY_DEPTH = ("plain", "checkpoint", "tiles")
FRAMES_BY_DEPTH = 32
DEEP_STAGE = 2
DEPTHS = {"swin_tiny": [2, 2, 6, 2], "slowfast101": [3, 4, 23, 3]}
SECONDS = 3600
"""That a case may take, compilation included."""
Row = dict[str, Any]


def run(way: str, options: Iterable[str], *more: str) -> Row:
    """One case in a fresh process; what went wrong as `failed`."""
    command = [sys.executable, str(Path(__file__).with_name("train_step.py")), "--json", *WAYS[way][2], *options, *more]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"way": way, "failed": f"longer than {SECONDS} s"}
    except subprocess.CalledProcessError as error:
        return {
            "way": way,
            "failed": (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1][:200],
        }
    return {"way": way, **json.loads(done.stdout.splitlines()[-1])}


def medians(rows: Iterable[Row]) -> Row:
    """Of the figures of several runs of one case."""
    rows = list(rows)
    failed = next((row for row in rows if "failed" in row), None)
    if failed is not None:
        return failed
    figures = ("activation_mib", "peak_mib", "baseline_mib", "forward_s", "step_s", "processor_s")
    found = {name: statistics.median(row[name] for row in rows) for name in figures}
    return rows[0] | found | {"runs": len(rows), "all_step_s": [row["step_s"] for row in rows]}


def measured(cases: Iterable[tuple[str, list[str]]], *, runs: int) -> list[Row]:
    """Every case several times, in turn with the others: the machine's state is the same for all of them."""
    cases = list(cases)
    rounds: list[list[Row]] = []
    for number in range(runs):
        rounds.append([])
        for place, (way, options) in enumerate(cases):
            if number and "failed" in rounds[0][place]:
                rounds[-1].append(rounds[0][place])
                continue
            rounds[-1].append(run(way, options))
            print(
                f"run {number + 1} of {runs}, case {place + 1} of {len(cases)}", end="\r", file=sys.stderr, flush=True
            )
    return [medians(rows) for rows in zip(*rounds, strict=True)]


def measure(args: argparse.Namespace) -> list[Row]:
    shared = ["--backbone", args.backbone, "--size", str(args.size), "--repeats", str(args.repeats)]
    cases = [(way, [*shared, "--frames", str(frames)]) for frames in args.frames for way in args.ways]
    for depth in args.depths:
        depths = [str(depth if stage == DEEP_STAGE else n) for stage, n in enumerate(DEPTHS[args.backbone])]
        options = [*shared, "--frames", str(FRAMES_BY_DEPTH), "--depths", *depths]
        cases += [(way, options) for way in WAYS_BY_DEPTH if way in args.ways]
    results = measured(cases, runs=args.runs)
    if args.errors:
        results += [run(way, shared, "--error") for way in args.ways]
    return results


def by_frames(results: list[Row], way: str) -> dict[int, Row]:
    """The measured cases of one way, at the backbone's own depth."""
    return {row["frames"]: row for row in results if row["way"] == way and "step_s" in row and not row["depths"]}


def by_depth(results: list[Row], way: str) -> dict[int, Row]:
    return {
        row["depths"][DEEP_STAGE]: row for row in results if row["way"] == way and "step_s" in row and row["depths"]
    }


# Tables


def tables(results: list[Row]) -> str:
    """Markdown: memory and time of each way by clip length, as shares of the first's, too; errors; memory by depth."""
    lengths = sorted({frames for way in WAYS for frames in by_frames(results, way)})
    errors = {row["way"]: row["float64"]["worst"] for row in results if "float64" in row}
    titles = [f"{frames} frames" for frames in lengths] + (["worst gradient's error in float64"] if errors else [])
    lines = ["| way | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    present = [way for way in WAYS if any(row["way"] == way for row in results)]
    for way in present:
        failed = next((row["failed"] for row in results if row["way"] == way and "failed" in row), None)
        cells = [_cell(by_frames(results, way).get(n), by_frames(results, "plain").get(n)) for n in lengths]
        if failed is not None:
            cells = [f"does not work here: {failed}"] + [""] * (len(lengths) - 1)
        cells += [f"{errors[way]:.1e}" if way in errors else ""] if errors else []
        lines.append(f"| {WAYS[way][0]} | " + " | ".join(cells) + " |")
    deep = {way: by_depth(results, way) for way in WAYS_BY_DEPTH}
    if any(deep.values()):
        lines += ["", "| blocks in the third stage | " + " | ".join(WAYS[way][0] for way in deep) + " |"]
        lines.append("|---" * (len(deep) + 1) + "|")
        for depth in sorted({depth for rows in deep.values() for depth in rows}):
            lines.append(
                f"| {depth} | " + " | ".join(_beyond_gradients(rows.get(depth)) for rows in deep.values()) + " |"
            )
    return "\n".join(lines)


def _cell(row: Row | None, plain: Row | None) -> str:
    if row is None:
        return ""
    told = f"{row['activation_mib']:.0f} MiB, {row['step_s']:.2f} s"
    if plain is None:
        return told
    memory, time = (row[name] / plain[name] for name in ("activation_mib", "step_s"))
    return f"{told} ({memory:.2f}, {time:.2f})"


def _beyond_gradients(row: Row | None) -> str:
    if row is None:
        return ""
    gradients = row["parameter_gradients_mib"]
    return f"{row['activation_mib'] - gradients:.0f} + {gradients:.0f} MiB"


# Pictures


def draw(results: list[Row], folder: Path) -> None:
    """`memory_by_frames.svg`, `memory_by_depth.svg` and `time_by_frames.svg`."""
    pictures: dict[str, tuple[str, str, Callable[[list[Row], str], dict[int, Row]], Callable[[Row], float]]] = {
        "memory_by_frames": ("frames in the clip", "memory of a training step (GiB)", by_frames, _gib),
        "time_by_frames": ("frames in the clip", "time of a training step (s)", by_frames, _seconds),
        "memory_by_depth": ("blocks in the third stage", "memory without gradients (GiB)", by_depth, _gib_beyond),
    }
    first = next(row for row in results if "step_s" in row)
    title = f"{first['backbone']}, {first['size']} x {first['size']} pixels, batch 1, float32, two cores"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (across, up, select, value) in pictures.items():
        lines = {WAYS[way][:2]: {n: value(row) for n, row in select(results, way).items()} for way in WAYS}
        draw_lines(lines, folder / f"{name}.svg", title=title, across=across, up=up)


def _gib(row: Row) -> float:
    return row["activation_mib"] / 1024


def _seconds(row: Row) -> float:
    return row["step_s"]


def _gib_beyond(row: Row) -> float:
    return (row["activation_mib"] - row["parameter_gradients_mib"]) / 1024


def draw_lines(
    lines: Mapping[tuple[str, str], Mapping[Any, float]], picture: Path, *, title: str, across: str, up: str
) -> None:
    """A line or a single point for each (label, colour) that has any."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "re2tal"  # the same picture from the same figures
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (label, colour), points in lines.items():
        if points:
            axes.plot(*zip(*sorted(points.items()), strict=True), marker="o", color=colour, label=label)
    axes.set(xlabel=across, ylabel=up, xlim=(0, None), ylim=(0, None))
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=tuple(DEPTHS), default="swin_tiny")
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=list(WAYS))
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--frames", type=int, nargs="*", default=[16, 32, 64])
    parser.add_argument("--depths", type=int, nargs="*", default=[], help="blocks in the third stage")
    parser.add_argument("--repeats", type=int, default=0, help="counted steps after a warm-up; 0 counts the first")
    parser.add_argument("--runs", type=int, default=1, help="fresh processes for every case")
    parser.add_argument("--errors", action="store_true", help="of the worst gradient, in float64")
    parser.add_argument("--read", type=Path, help="figures that --json printed, instead of measuring")
    parser.add_argument("--pictures", type=Path, help="folder to draw into")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    results = json.loads(args.read.read_text(encoding="utf-8")) if args.read else measure(args)
    if args.pictures:
        draw(results, args.pictures)
    print(json.dumps(results) if args.json else tables(results))


if __name__ == "__main__":
    main()
