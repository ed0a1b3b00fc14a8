"""Memory and time of a training step against clip length, four ways: the README's table and picture.

    python benchmarks/memory_by_frames.py [--backbone B] [--size 112] [--frames 16 32 64] [--picture F.svg] [--json]

Each case runs `train_step.py` in a fresh process.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

WAYS = {
    ("plain", "auto"): ("plain autograd", "#b3541e"),
    ("checkpoint", "auto"): ("checkpointing of every block", "#8a8a3c"),
    ("reversible", "off"): ("reversible, whole branches", "#7fb2dd"),
    ("reversible", "auto"): ("reversible, in cells", "#1e6fb3"),
}
"""(mode, cells) of train_step.py: name and colour."""


def run(backbone: str, mode: str, cells: str, *, frames: int, size: int, repeats: int) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("train_step.py")), "--json", "--repeats", str(repeats)]
    command += ["--backbone", backbone, "--mode", mode, "--cells", cells, "--frames", str(frames), "--size", str(size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row for each clip length; memory and time of each way, and the last way's share of the first's."""
    lines = ["| frames | " + " | ".join(name for name, _ in WAYS.values()) + " | share of plain |"]
    lines.append("|---" * (len(WAYS) + 2) + "|")
    for frames in sorted({result["frames"] for result in results}):
        rows = [_find(results, way, frames) for way in WAYS]
        cells = [f"{row['activation_mib']:.0f} MiB, {row['step_s']:.1f} s" for row in rows]
        shares = [rows[-1][key] / rows[0][key] for key in ("activation_mib", "step_s")]
        lines.append(f"| {frames} | " + " | ".join(cells) + f" | {shares[0]:.2f} of memory, {shares[1]:.2f} of time |")
    return "\n".join(lines)


def _find(results: list[dict[str, Any]], way: tuple[str, str], frames: int) -> dict[str, Any]:
    return next(row for row in results if (row["mode"], row["cells"], row["frames"]) == (*way, frames))


def draw(results: list[dict[str, Any]], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    lengths = sorted({result["frames"] for result in results})
    for way, (label, colour) in WAYS.items():
        points = [(frames, _find(results, way, frames)["activation_mib"] / 1024) for frames in lengths]
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=label)
    axes.set(xlabel="frames in the clip", ylabel="memory of a training step (GiB)", xlim=(0, None), ylim=(0, None))
    axes.set_title(f"{results[0]['backbone']}, {results[0]['size']} x {results[0]['size']} pixels, batch 1, float32")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=("swin_tiny", "slowfast101"), default="swin_tiny")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 32, 64, 96])
    parser.add_argument("--repeats", type=int, default=0, help="counted steps after a warm-up; 0 counts the first")
    parser.add_argument("--picture", type=Path, help="where to draw (SVG or PNG)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    results = [
        run(args.backbone, *way, frames=frames, size=args.size, repeats=args.repeats)
        for frames in args.frames
        for way in WAYS
    ]
    if args.picture:
        draw(results, args.picture)
    print(json.dumps(results) if args.json else table(results))


if __name__ == "__main__":
    main()
