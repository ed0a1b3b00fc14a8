"""Memory and time of a training step, five ways, against clip length and depth: the README's tables and pictures.

    python benchmarks/ways_of_training.py [--backbone B] [--size 112] [--frames 16 32 64] [--depths 6 12 24]
        [--repeats 3] [--json > measured.json]
    python benchmarks/ways_of_training.py --read measured.json --pictures docs/pictures

Each case runs `train_step.py` in a fresh process. Depth is the number of blocks in the third stage, at 32 frames.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Way = tuple[str, str]
WAYS: dict[Way, tuple[str, str]] = {
    ("plain", "auto"): ("plain autograd", "#b3541e"),
    ("checkpoint", "auto"): ("checkpointing of every block", "#8a8a3c"),
    ("store", "auto"): ("rewired, stored", "#9a9a9a"),
    ("reversible", "off"): ("reversible, whole branches", "#7fb2dd"),
    ("reversible", "auto"): ("reversible, in tiles", "#1e6fb3"),
}
"""(mode, tiles) of train_step.py: name and colour."""
WAYS_BY_DEPTH: list[Way] = [("plain", "auto"), ("checkpoint", "auto"), ("reversible", "auto")]
FRAMES_BY_DEPTH = 32
DEEP_STAGE = 2


def run(backbone: str, way: Way, *, frames: int, size: int, repeats: int, depths: Iterable[int] = ()) -> dict[str, Any]:
    mode, tiles = way
    command = [sys.executable, str(Path(__file__).with_name("train_step.py")), "--json", "--repeats", str(repeats)]
    command += ["--backbone", backbone, "--mode", mode, "--tiles", tiles, "--frames", str(frames), "--size", str(size)]
    if depths := list(map(str, depths)):
        command += ["--depths", *depths]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    shared = {"size": args.size, "repeats": args.repeats}
    results = [run(args.backbone, way, frames=frames, **shared) for frames in args.frames for way in WAYS]
    plan = {"swin_tiny": [2, 2, 6, 2], "slowfast101": [3, 4, 23, 3]}[args.backbone]
    for depth in args.depths:
        plan[DEEP_STAGE] = depth
        results += [run(args.backbone, way, frames=FRAMES_BY_DEPTH, depths=plan, **shared) for way in WAYS_BY_DEPTH]
    return results


def by_frames(results: list[dict[str, Any]], way: Way) -> dict[int, dict[str, Any]]:
    """The measured cases of one way, at the backbone's own depth."""
    return {row["frames"]: row for row in results if (row["mode"], row["tiles"]) == way and not row["depths"]}


def by_depth(results: list[dict[str, Any]], way: Way) -> dict[int, dict[str, Any]]:
    return {row["depths"][DEEP_STAGE]: row for row in results if (row["mode"], row["tiles"]) == way and row["depths"]}


# Tables


def tables(results: list[dict[str, Any]]) -> str:
    """Markdown: memory and time of each way by clip length, the last way's share of the first's; memory by depth."""
    measured = {way: by_frames(results, way) for way in WAYS}
    lengths = sorted({frames for rows in measured.values() for frames in rows})
    lines = ["| frames | " + " | ".join(name for name, _ in WAYS.values()) + " | in tiles / plain |"]
    lines.append("|---" * (len(WAYS) + 2) + "|")
    for frames in lengths:
        cells = [_cell(rows.get(frames)) for rows in measured.values()]
        plain, ours = measured["plain", "auto"].get(frames), measured["reversible", "auto"].get(frames)
        if plain and ours:
            shares = [ours[key] / plain[key] for key in ("activation_mib", "step_s")]
            cells.append(f"{shares[0]:.2f} of memory, {shares[1]:.2f} of time")
        else:
            cells.append("")
        lines.append(f"| {frames} | " + " | ".join(cells) + " |")
    deep = {way: by_depth(results, way) for way in WAYS_BY_DEPTH}
    if any(deep.values()):
        lines += ["", "| blocks in the third stage | " + " | ".join(WAYS[way][0] for way in deep) + " |"]
        lines.append("|---" * (len(deep) + 1) + "|")
        for depth in sorted({depth for rows in deep.values() for depth in rows}):
            lines.append(
                f"| {depth} | " + " | ".join(_beyond_gradients(rows.get(depth)) for rows in deep.values()) + " |"
            )
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    return f"{row['activation_mib']:.0f} MiB, {row['step_s']:.1f} s" if row else ""


def _beyond_gradients(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    gradients = row["parameter_gradients_mib"]
    return f"{row['activation_mib'] - gradients:.0f} + {gradients:.0f} MiB"


# Pictures


def draw(results: list[dict[str, Any]], folder: Path) -> None:
    """`memory_by_frames.svg`, `memory_by_depth.svg` and `time_by_frames.svg`."""
    pictures = {
        "memory_by_frames": ("frames in the clip", "memory of a training step (GiB)", by_frames, _gib),
        "time_by_frames": ("frames in the clip", "time of a training step (s)", by_frames, _seconds),
        "memory_by_depth": ("blocks in the third stage", "memory without gradients (GiB)", by_depth, _gib_beyond),
    }
    first = results[0]
    title = f"{first['backbone']}, {first['size']} x {first['size']} pixels, batch 1, float32, two cores"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (across, up, select, value) in pictures.items():
        lines = {WAYS[way]: {n: value(row) for n, row in select(results, way).items()} for way in WAYS}
        _draw_lines(lines, folder / f"{name}.svg", title=title, across=across, up=up)


def _gib(row: dict[str, Any]) -> float:
    return row["activation_mib"] / 1024


def _seconds(row: dict[str, Any]) -> float:
    return row["step_s"]


def _gib_beyond(row: dict[str, Any]) -> float:
    return (row["activation_mib"] - row["parameter_gradients_mib"]) / 1024


def _draw_lines(
    lines: dict[tuple[str, str], dict[int, float]], picture: Path, *, title: str, across: str, up: str
) -> None:
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
    axes.legend(frameon=False)
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=("swin_tiny", "slowfast101"), default="swin_tiny")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--frames", type=int, nargs="*", default=[16, 32, 64])
    parser.add_argument("--depths", type=int, nargs="*", default=[], help="blocks in the third stage")
    parser.add_argument("--repeats", type=int, default=0, help="counted steps after a warm-up; 0 counts the first")
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
