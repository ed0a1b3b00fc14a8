"""Memory of a training step against clip length, plain and reversible: the README's table and picture.

    python benchmarks/memory_by_frames.py [--backbone B] [--size 112] [--frames 16 32 64] [--picture FILE.svg] [--json]

Each case runs `train_step.py` in a fresh process.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

MODES = {"plain": "plain autograd", "reversible": "rewired, reversible"}


def run(backbone: str, mode: str, frames: int, size: int) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("train_step.py")), "--json", "--repeats", "0"]
    command += ["--backbone", backbone, "--mode", mode, "--frames", str(frames), "--size", str(size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row for each clip length, a column for each mode."""
    lines = ["| frames | " + " | ".join(MODES.values()) + " | ratio |", "|---|" + "---|" * (len(MODES) + 1)]
    for frames in sorted({result["frames"] for result in results}):
        values = [r["activation_mib"] for mode in MODES for r in results if (r["frames"], r["mode"]) == (frames, mode)]
        cells = [f"{value:.0f} MiB" for value in values]
        lines.append(f"| {frames} | " + " | ".join(cells) + f" | {values[-1] / values[0]:.2f} |")
    return "\n".join(lines)


def draw(results: list[dict[str, Any]], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (mode, label), colour in zip(MODES.items(), ("#b3541e", "#1e6fb3"), strict=True):
        points = sorted((r["frames"], r["activation_mib"] / 1024) for r in results if r["mode"] == mode)
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
    parser.add_argument("--picture", type=Path, help="where to draw (SVG or PNG)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    results = [run(args.backbone, mode, frames, args.size) for frames in args.frames for mode in MODES]
    if args.picture:
        draw(results, args.picture)
    print(json.dumps(results) if args.json else table(results))


if __name__ == "__main__":
    main()
