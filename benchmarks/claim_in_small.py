"""The paper's claim at reduced size: rewired networks reach the mAP of plain ones. The table of docs/experiments.md.

    python benchmarks/claim_in_small.py [--sets demo ucf_mini] [--networks ...] [--seeds 42 43 44] [--jobs 2] [--reuse]

Every run is `tools/train.py` and `tools/test.py` in fresh processes on one core each. A seed decides the demo's videos,
initial weights, order and augmentation; the networks of one seed see the same clips. Figures are written to
`exps/claim/` and `exps/ucf_mini/results/` as soon as a run ends; `--reuse` takes those that are there.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import ucf_mini

from re2tal.config import ExperimentConfig, load_config
from re2tal.data.demo import make_demo_set
from re2tal.networks.backbones import build_backbone
from re2tal.reversible.debug.verify import count_saved_bytes

CONFIGS = ucf_mini.REPOSITORY / "configs"
RESULTS = ucf_mini.REPOSITORY / "exps" / "claim"
DEMO_EPOCHS = {"slowfast": 32, "re2slowfast": 32, "swin": 60, "re2swin": 60}
"""The plain SlowFast needs twice the epochs of the demo to get there; both of a pair get as many."""


def measure_demo(network: str, seed: int) -> dict[str, Any]:
    """Train and test one network on the demo set of `seed`."""
    path = CONFIGS / "demo" / f"{network}.py"
    data, work_dir = RESULTS / f"data_seed{seed}", RESULTS / f"{network}_seed{seed}"
    options = ["--seed", str(seed), "--cfg-options", f"work_dir={work_dir}"]
    options += [f"data.annotations={data / 'annotations.json'}", f"data.videos={data / 'videos'}"]
    options += [f"training.{key}={DEMO_EPOCHS[network]}" for key in ("epochs", "checkpoint_every")]
    options += [f"training.eval_from={DEMO_EPOCHS[network] - 1}"]
    _, minutes, peak_mib = ucf_mini.call("train.py", path, options)
    ucf_mini.call("test.py", path, options)
    metrics = json.loads((work_dir / "gpu1_id0" / "metrics.json").read_text(encoding="utf-8"))
    result = {"set": "demo", "network": network, "seed": seed, "metrics": metrics}
    result |= {"core_minutes": round(minutes, 2), "peak_mib": round(peak_mib)}
    _demo_result(network, seed).write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def _demo_result(network: str, seed: int) -> Path:
    return RESULTS / f"demo_{network}_seed{seed}.json"


def measure_ucf(network: str, seed: int, *, reuse: bool) -> dict[str, Any]:
    """The same on real footage."""
    run = ucf_mini.Run(network, seed, load_config(CONFIGS / "ucf_mini" / f"{network}.py").training.epochs)
    if reuse and run.result_path.is_file():
        result = json.loads(run.result_path.read_text(encoding="utf-8"))
    else:
        result = ucf_mini.measure(run)
    return {
        "set": "ucf_mini",
        **{key: result[key] for key in ("network", "seed", "metrics", "core_minutes", "peak_mib")},
    }


def saved_mib(config: ExperimentConfig) -> float:
    """What autograd stores of the backbone for the backward pass of one clip, in MiB."""
    sampling, (height, width) = config.data.sampling, config.data.crop_size
    backbone = build_backbone(config.backbone).train()
    clip = torch.zeros(1, 3, sampling.num_steps * sampling.frames_per_step, height, width, dtype=torch.uint8)
    with count_saved_bytes(backbone) as saved:
        backbone(clip, sampling.num_steps)
    return saved[0] / 2**20


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row for each set and network, means and standard deviations over the seeds."""
    tious = {"demo": ("0.3", "0.5", "0.7"), "ucf_mini": ("0.1", "0.3", "0.5")}
    lines = ["| set | network | mean mAP | each seed | at tIoU | stored for backward | core minutes | memory |"]
    lines.append("|---" * 8 + "|")
    for name in tious:
        for network in ucf_mini.NETWORKS:
            runs = [row for row in results if (row["set"], row["network"]) == (name, network)]
            if not runs:
                continue
            means = 100 * np.array([run["metrics"]["average_mAP"] for run in runs])
            spread = f" ± {means.std(ddof=1):.1f}" if len(means) > 1 else ""
            at = [
                f"{tiou}: {100 * np.mean([run['metrics'][f'mAP@{tiou}'] for run in runs]):.1f}" for tiou in tious[name]
            ]
            stored = saved_mib(load_config(CONFIGS / name / f"{network}.py"))
            cells = [name, network, f"{means.mean():.1f}{spread}", ", ".join(f"{mean:.1f}" for mean in means)]
            cells += [", ".join(at), f"{stored:.0f} MiB", f"{np.mean([run['core_minutes'] for run in runs]):.1f}"]
            lines.append("| " + " | ".join([*cells, f"{max(run['peak_mib'] for run in runs)} MiB"]) + " |")
    return "\n".join(lines)


def run_all(sets: Sequence[str], networks: Sequence[str], seeds: Sequence[int], *, jobs: int, reuse: bool) -> list[Any]:
    """Every run that is asked for."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    if "demo" in sets:
        for seed in seeds:
            if not (RESULTS / f"data_seed{seed}" / "annotations.json").is_file():
                make_demo_set(RESULTS / f"data_seed{seed}", seed=seed)

    def take(which: tuple[str, int, str]) -> dict[str, Any]:
        name, seed, network = which
        if name == "ucf_mini":
            return measure_ucf(network, seed, reuse=reuse)
        if reuse and (known := _demo_result(network, seed)).is_file():
            return json.loads(known.read_text(encoding="utf-8"))
        return measure_demo(network, seed)

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(take, [(name, seed, network) for name in sets for seed in seeds for network in networks]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=("demo", "ucf_mini"), default=("demo", "ucf_mini"))
    parser.add_argument("--networks", nargs="+", choices=ucf_mini.NETWORKS, default=ucf_mini.NETWORKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one core")
    parser.add_argument("--reuse", action="store_true", help="take results of an earlier call where they are there")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    results = run_all(args.sets, args.networks, args.seeds, jobs=args.jobs, reuse=args.reuse)
    print(json.dumps(results) if args.json else table(results))


if __name__ == "__main__":
    main()
