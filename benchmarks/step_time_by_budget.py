"""What a training step takes in time, by the memory that it may take: `auto` beside the ways that do not choose.

    python benchmarks/step_time_by_budget.py [--networks swin_tiny slowfast101 vit_small demo_slowfast demo_swin]
        [--shares 0 0.1 ... 1] [--repeats 3] [--runs 5] [--json > budget.json]
    python benchmarks/step_time_by_budget.py --read budget.json --pictures docs/pictures

`auto` may store a share of a rewired network's activations, from nothing to all; each point is a fresh process of
`train_step.py`, run `--runs` times in turn with the others, and its median counts. The table tells for each how long a
step takes to that of the fastest fixed way of the rewired network that needs no more memory, and to plain training.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from ways_of_training import WAYS, Row, draw_lines, measured

NETWORKS: dict[str, tuple[int, int, int]] = {
    "swin_tiny": (1, 32, 224),
    "slowfast101": (1, 32, 224),
    "vit_small": (1, 16, 224),
    "demo_slowfast": (4, 128, 32),
    "demo_swin": (4, 128, 32),
}
"""Clips, frames and height of these."""
FIXED = ("store", "whole", "tiles")
"""Ways to train the same network."""
OTHERS = ("plain", "checkpoint", "selective")
"""Of the network that was never rewired."""
SAME_MEMORY = 1.02
"""Times as much: peaks of the same step differ by so much."""


def measure(args: argparse.Namespace) -> list[Row]:
    cases: list[tuple[str, list[str]]] = []
    for network in args.networks:
        batch, frames, size = NETWORKS[network]
        options = ["--backbone", network, "--repeats", str(args.repeats), "--batch", str(batch)]
        options += ["--frames", str(args.frames or frames), "--size", str(args.size or size)]
        cases += [(way, options) for way in (*OTHERS, *FIXED) if not (network == "vit_small" and "ec" in way)]
        cases += [("auto", [*options, "--share", str(share)]) for share in args.shares]
    return measured(cases, runs=args.runs)


def of_network(results: list[Row], network: str, *ways: str) -> list[Row]:
    return [row for row in results if row.get("backbone") == network and row["way"] in ways]


def compared(results: list[Row], network: str) -> list[dict[str, Any]]:
    """Each of auto's points, and its time to that of others."""
    plain = of_network(results, network, "plain")
    points = []
    for row in of_network(results, network, "auto"):
        fixed = [
            other["step_s"]
            for other in of_network(results, network, *FIXED)
            if other["activation_mib"] <= SAME_MEMORY * row["activation_mib"]
        ]
        points.append(
            {
                "network": network,
                "share": row["share"],
                "activation_mib": row["activation_mib"],
                "step_s": row["step_s"],
                "to_best_fixed": round(row["step_s"] / min(fixed), 3) if fixed else None,
                "to_plain": round(row["step_s"] / plain[0]["step_s"], 3) if plain else None,
                "processor_to_plain": round(row["processor_s"] / plain[0]["processor_s"], 3) if plain else None,
            }
        )
    return points


def table(results: list[Row]) -> str:
    lines = [
        "| network | way | memory | step | to the best fixed way | to plain | processor, to plain |",
        "|---|---|---|---|---|---|---|",
    ]
    for network in NETWORKS:
        for row in of_network(results, network, *OTHERS, *FIXED):
            lines.append(
                f"| {network} | {WAYS[row['way']][0]} | {row['activation_mib']:.0f} MiB | {row['step_s']:.3f} s | | | |"
            )
        for point in compared(results, network):
            ratios = (point["to_best_fixed"], point["to_plain"], point["processor_to_plain"])
            cells = " | ".join("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
            what = f"auto, {point['share']:.0%} of activations"
            lines.append(
                f"| {network} | {what} | {point['activation_mib']:.0f} MiB | {point['step_s']:.3f} s | {cells} |"
            )
    failed = sorted({f"{row['way']}: {row['failed']}" for row in results if "failed" in row})
    return "\n".join([*lines, *(f"\n{line}" for line in failed)])


def draw(results: list[Row], folder: Path) -> None:
    """`step_time_by_budget_<network>.svg`, one for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        rows = of_network(results, network, "auto", *OTHERS, *FIXED)
        if not rows:
            continue
        lines = {
            ("auto" if way == "auto" else WAYS[way][0], WAYS[way][1]): {
                row["activation_mib"] / 1024: row["step_s"] for row in rows if row["way"] == way
            }
            for way in ("auto", *OTHERS, *FIXED)
        }
        first = rows[0]
        title = f"{network}, {first['batch']} x {first['frames']} frames of {first['size']} x {first['size']} pixels"
        picture = folder / f"step_time_by_budget_{network}.svg"
        draw_lines(lines, picture, title=title, across="memory of a training step (GiB)", up="its time (s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", choices=NETWORKS, nargs="+", default=list(NETWORKS))
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1])
    parser.add_argument("--frames", type=int, help="of every clip, if not the network's own")
    parser.add_argument("--size", type=int, help="of every frame, if not the network's own")
    parser.add_argument("--repeats", type=int, default=3, help="counted steps after the warm-up")
    parser.add_argument("--runs", type=int, default=5, help="fresh processes for every point")
    parser.add_argument("--read", type=Path, help="figures that --json printed, instead of measuring")
    parser.add_argument("--pictures", type=Path, help="folder to draw into")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    results = json.loads(args.read.read_text(encoding="utf-8")) if args.read else measure(args)
    if args.pictures:
        draw(results, args.pictures)
    print(json.dumps(results) if args.json else table(results))


if __name__ == "__main__":
    main()
