"""SlowFast and Video Swin, plain and rewired, trained from pixels on real footage: the table of docs/experiments.md.

    python benchmarks/ucf_mini.py [--networks re2slowfast slowfast] [--seeds 42 43] [--minutes 12] [--jobs 2] [--json]

Every run is `tools/train.py` and `tools/test.py` in fresh processes on one core each. Its figures are written to
`exps/ucf_mini/results/` as soon as it ends; `--reuse` takes those that are there and trains only the rest.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.config import ExperimentConfig, load_config
from re2tal.evaluation import GroundTruth, Predictions, read_ground_truth, read_predictions
from re2tal.evaluation.average_precision import average_precision

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = REPOSITORY / "configs" / "ucf_mini"
NETWORKS = ("re2slowfast", "slowfast", "re2swin", "swin")
CONFIGURED_MINUTES = 12.0
"""What training takes with the configs' number of epochs, about, on one core of the machine of the docs."""
EDGE_SECONDS = 0.06
"""A boundary this close to a cut lies on it: one and a half frames."""
BASELINE_OVERLAPS = (0.0, 0.5, 0.75)
BASELINE_DRAWS = 20


# The metric, split


def edge_actions(truth: GroundTruth, annotations: Path) -> np.ndarray:
    """(N,) bool: the actions that begin or end at a cut between two of the clips a video was joined from."""
    database = json.loads(annotations.read_text(encoding="utf-8"))["database"]
    at_edge = np.zeros(len(truth.segments), bool)
    for row, (start, end) in enumerate(truth.segments):
        entry = database[truth.video_ids[truth.video_index[row]]]
        firsts = np.array([part["start"] for part in entry["parts"]])
        lasts = firsts + np.array([part["frames"] for part in entry["parts"]]) / entry["fps"]
        at_edge[row] = (abs(firsts - start) <= EDGE_SECONDS).any() or (abs(lasts - end) <= EDGE_SECONDS).any()
    return at_edge


def group_map(truth: GroundTruth, found: Predictions, *, group: np.ndarray, tious: Sequence[float]) -> list[float]:
    """Mean average precision of finding the actions in a group; finding another action counts neither way.

    Args:
        truth: N actions.
        found: predictions.
        group: (N,) bool.
        tious: I thresholds.

    Returns:
        I means over the classes that have actions in the group.
    """
    labels = [label for label in range(len(truth.class_names)) if (group & (truth.label_index == label)).any()]
    return [
        float(np.mean([_group_precision(truth, found, group=group, label=label, tiou=tiou) for label in labels]))
        for tiou in tious
    ]


def _group_precision(truth: GroundTruth, found: Predictions, *, group: np.ndarray, label: int, tiou: float) -> float:
    rows = [row for row, name in enumerate(found.label_index) if found.class_names[name] == truth.class_names[label]]
    # Among equal scores the later row comes first, as in the metric.
    rows.sort(key=lambda row: (-found.scores[row], -row))
    free = truth.label_index == label
    verdicts = []
    for row in rows:
        video = found.video_ids[found.video_index[row]]
        if video not in truth.video_ids:
            continue
        here = free & (truth.video_index == truth.video_ids.index(video))
        iou = np.where(here, _iou(found.segments[row], truth.segments), -1.0)
        best = int(iou.argmax())
        if iou[best] >= tiou:
            free[best] = False
            if group[best]:
                verdicts.append(True)
        else:
            verdicts.append(False)
    return average_precision(np.array(verdicts, bool), num_actions=int((group & (truth.label_index == label)).sum()))


def _iou(segment: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(2,), (N, 2) -> (N,)."""
    overlap = np.minimum(segment[1], others[:, 1]) - np.maximum(segment[0], others[:, 0])
    overlap = overlap.clip(min=0)
    return overlap / (segment[1] - segment[0] + others[:, 1] - others[:, 0] - overlap)


# What is known without looking


def tiles(truth: GroundTruth, *, lengths: dict[str, float], durations: dict[str, float], overlap: float) -> Predictions:
    """Segments of one length per class laid over every video, in random order of score.

    Args:
        truth: says which videos.
        lengths: seconds, by class.
        durations: seconds, by video.
        overlap: share of a segment that the next one covers too.
    """
    names = tuple(lengths)
    rows = [
        (video, label, start, start + lengths[name])
        for label, name in enumerate(names)
        for video, video_id in enumerate(truth.video_ids)
        for start in np.arange(0, durations[video_id] - lengths[name] / 2, lengths[name] * (1 - overlap))
    ]
    table = np.array(rows)
    return Predictions(
        video_ids=truth.video_ids,
        class_names=names,
        video_index=table[:, 0].astype(np.int64),
        label_index=table[:, 1].astype(np.int64),
        segments=table[:, 2:],
        scores=np.zeros(len(rows)),
    )


def baseline(config: ExperimentConfig) -> dict[str, Any]:
    """Tiles of each class's median length, as dense as is best on the training videos; mean over random orders."""
    data, tious = config.data, config.evaluation.tious
    database = json.loads(data.annotations.read_text(encoding="utf-8"))["database"]
    durations = {video_id: entry["duration"] for video_id, entry in database.items()}
    training = read_ground_truth(data.annotations, subset=data.train_subset)
    spans = training.segments[:, 1] - training.segments[:, 0]
    lengths = {
        name: float(np.median(spans[training.label_index == label])) for label, name in enumerate(training.class_names)
    }

    def score(truth: GroundTruth, overlap: float, group: np.ndarray) -> np.ndarray:
        found = tiles(truth, lengths=lengths, durations=durations, overlap=overlap)
        orders = (np.random.default_rng(draw).random(len(found.scores)) for draw in range(BASELINE_DRAWS))
        draws = [group_map(truth, _scored(found, scores), group=group, tious=tious) for scores in orders]
        return np.mean(draws, axis=0)

    everything = np.ones(len(training.segments), bool)
    overlap = max(BASELINE_OVERLAPS, key=lambda overlap: score(training, overlap, everything).mean())
    truth = read_ground_truth(data.annotations, subset=data.test_subset)
    groups = groups_of(truth, data.annotations)
    return {
        "network": "lengths only",
        "overlap": overlap,
        "lengths": lengths,
        "mAP": {name: score(truth, overlap, group).tolist() for name, group in groups.items()},
    }


def groups_of(truth: GroundTruth, annotations: Path) -> dict[str, np.ndarray]:
    """The groups of actions that the table reports, each (N,) bool."""
    at_edge = edge_actions(truth, annotations)
    return {"all": np.ones(len(at_edge), bool), "edge": at_edge, "inside": ~at_edge}


def _scored(found: Predictions, scores: np.ndarray) -> Predictions:
    return Predictions(**{**vars(found), "scores": scores})


# Runs


@dataclass(frozen=True)
class Run:
    """One training: which network, which seed, how long."""

    network: str
    seed: int
    epochs: int

    @property
    def config_path(self) -> Path:
        return CONFIGS / f"{self.network}.py"

    @property
    def result_path(self) -> Path:
        return REPOSITORY / "exps" / "ucf_mini" / "results" / f"{self.network}_seed{self.seed}_epochs{self.epochs}.json"


def measure(run: Run) -> dict[str, Any]:
    """Train and test in fresh processes; the figures are also written to `run.result_path`."""
    options = ["--seed", str(run.seed), "--id", str(run.seed)]
    options += ["--cfg-options", f"training.epochs={run.epochs}", f"training.eval_from={run.epochs - 1}"]
    seconds, minutes, peak_mib = call("train.py", run.config_path, options)
    call("test.py", run.config_path, options)
    config = load_config(run.config_path)
    folder = config.work_dir / f"gpu1_id{run.seed}"
    truth = read_ground_truth(config.data.annotations, subset=config.data.test_subset)
    found = read_predictions(folder / "detections.json")
    tious = config.evaluation.tious
    result = {
        **vars(run),
        "mAP": {
            name: group_map(truth, found, group=group, tious=tious)
            for name, group in groups_of(truth, config.data.annotations).items()
        },
        "metrics": json.loads((folder / "metrics.json").read_text(encoding="utf-8")),
        "wall_minutes": round(seconds / 60, 2),
        "core_minutes": round(minutes, 2),
        "peak_mib": round(peak_mib),
    }
    run.result_path.parent.mkdir(parents=True, exist_ok=True)
    run.result_path.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def call(tool: str, config: Path, options: Sequence[str]) -> tuple[float, float, float]:
    """Run a tool on one core: (seconds of wall clock, minutes of processor time, largest resident memory in MiB)."""
    command = [sys.executable, str(REPOSITORY / "tools" / tool), str(config), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=sys.stderr)
    # Waiting for this very child gives its own use of resources, not that of all children.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - start, (usage.ru_utime + usage.ru_stime) / 60, _mib(usage)


def _mib(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20


# The table


def table(first: dict[str, Any], results: list[dict[str, Any]], *, tious: Sequence[float]) -> str:
    """Markdown: the baseline, then a row for each network, means over its seeds."""
    heads = ["network", "mean (each seed)", *(f"{tiou:g}" for tiou in tious), "at edges", "inside"]
    heads += ["core minutes", "memory"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines.append(_row(first["network"], [first], costs=["", ""]))
    for network in NETWORKS:
        runs = [result for result in results if result["network"] == network]
        if runs:
            minutes = f"{np.mean([run['core_minutes'] for run in runs]):.1f}"
            lines.append(_row(network, runs, costs=[minutes, f"{max(run['peak_mib'] for run in runs)} MiB"]))
    return "\n".join(lines)


def _row(name: str, runs: list[dict[str, Any]], *, costs: list[str]) -> str:
    means = [100 * np.mean(run["mAP"]["all"]) for run in runs]
    each = f" ({', '.join(f'{mean:.1f}' for mean in means)})" if len(means) > 1 else ""
    at_tiou = [f"{100 * value:.1f}" for value in np.mean([run["mAP"]["all"] for run in runs], axis=0)]
    groups = [f"{100 * np.mean([run['mAP'][group] for run in runs]):.1f}" for group in ("edge", "inside")]
    return "| " + " | ".join([name, f"{np.mean(means):.1f}{each}", *at_tiou, *groups, *costs]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43])
    parser.add_argument(
        "--minutes",
        type=float,
        default=CONFIGURED_MINUTES,
        help=f"budget of a training; {CONFIGURED_MINUTES:g} is the configs' number of epochs, others scale it",
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one core")
    parser.add_argument("--reuse", action="store_true", help="take results of an earlier call where they are there")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    configs = {network: load_config(CONFIGS / f"{network}.py") for network in args.networks}
    share = args.minutes / CONFIGURED_MINUTES
    runs = [
        Run(network, seed, max(round(configs[network].training.epochs * share), 2))
        for seed in args.seeds
        for network in args.networks
    ]
    first = baseline(configs[args.networks[0]])

    def take(run: Run) -> dict[str, Any]:
        if args.reuse and run.result_path.is_file():
            return json.loads(run.result_path.read_text(encoding="utf-8"))
        return measure(run)

    with ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(take, runs))
    tious = configs[args.networks[0]].evaluation.tious
    print(json.dumps([first, *results]) if args.json else table(first, results, tious=tious))


if __name__ == "__main__":
    main()
