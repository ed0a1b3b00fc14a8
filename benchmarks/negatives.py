"""What training on negatives does to false alarms: the table of docs/experiments.md.

    python benchmarks/negatives.py [--seeds 42 43 44] [--videos 240] [--negatives 120] [--epochs 8] [--jobs 2] [--json]

The demo's set with videos that show no action but what resembles one, and its detector, trained without these videos
(`data.negative_share=0`) and with them: for the same number of steps, so that without them the videos with actions are
seen more often. Both are tested on the same videos. Every run is `tools/train.py` and
`tools/test.py` in fresh processes on one core each, and a line of `exps/negatives/results.jsonl` as soon as it ends;
called again, the program does what is not done yet, and goes on with a training that was stopped.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ucf_mini

from re2tal.config import load_config
from re2tal.data.demo import make_demo_set
from re2tal.evaluation import count_false_alarms, read_ground_truth, read_predictions

CONFIG = ucf_mini.REPOSITORY / "configs" / "demo" / "re2slowfast.py"
RECALLS = (0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training."""

    seed: int
    """Of the videos and of the training."""
    trained_on_negatives: bool
    videos: int
    """With actions, to train on."""
    negatives: int
    """Without, to train on."""
    epochs: int
    """Of the training with negatives."""

    @property
    def share(self) -> float:
        """Of the clips, negatives."""
        return self.negatives / (self.negatives + self.videos) if self.trained_on_negatives else 0.0

    def options(self, *, batch_size: int) -> list[str]:
        """Settings of the training; as many steps with negatives as without."""
        epochs = self.epochs
        if not self.trained_on_negatives:
            epochs = round(epochs * ((self.videos + self.negatives) // batch_size) / (self.videos // batch_size))
        settings = {"data.negative_share": self.share, "training.epochs": epochs, "training.eval_from": epochs - 1}
        return [f"{name}={value}" for name, value in settings.items()]


def measure(run: Run, *, out: Path) -> dict[str, Any]:
    """Train, test, and count false alarms."""
    data = out / f"data_{run.seed}_{run.videos}_{run.negatives}"
    work_dir = out / f"seed{run.seed}_share{run.share:.2f}_{run.videos}_{run.epochs}"
    options = [
        f"work_dir={work_dir}",
        f"data.annotations={data / 'annotations.json'}",
        f"data.videos={data / 'videos'}",
    ]
    options += run.options(batch_size=load_config(CONFIG).training.batch_size)
    arguments = ["--seed", str(run.seed), "--cfg-options", *options]
    _, minutes, _ = ucf_mini.call("train.py", CONFIG, ["--resume", "auto", *arguments])
    ucf_mini.call("test.py", CONFIG, arguments)
    folder = work_dir / "gpu1_id0"
    truth = read_ground_truth(data / "annotations.json", subset="validation")
    found = read_predictions(folder / "detections.json")
    counted = {f"{recall:g}": count_false_alarms(truth, found, recall=recall) for recall in RECALLS}
    return {
        **asdict(run),
        "average_mAP": json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["average_mAP"],
        "false_alarms": {recall: None if alarms is None else alarms.as_json() for recall, alarms in counted.items()},
        "core_minutes": round(minutes, 2),
    }


def run_all(runs: Sequence[Run], *, out: Path, jobs: int) -> list[dict[str, Any]]:
    """The results of all runs; those that `out` has are taken from there."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.jsonl"
    known = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []

    def result_of(run: Run) -> dict[str, Any] | None:
        return next((result for result in known if asdict(run).items() <= result.items()), None)

    missing = [run for run in runs if result_of(run) is None]
    for run in missing:
        folder = out / f"data_{run.seed}_{run.videos}_{run.negatives}"
        if not (folder / "annotations.json").is_file():
            num_test = max(run.videos // 4, 1)
            make_demo_set(folder, seed=run.seed, num_train=run.videos, num_test=num_test, num_negatives=run.negatives)
    with ThreadPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(measure, run, out=out) for run in missing]):
            known.append(done.result())
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done.result()) + "\n")
    return [result for run in runs if (result := result_of(run)) is not None]


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row for each way to train, means over the seeds and each seed's figure."""
    heads = ["trained on negatives", "mean mAP"]
    heads += [f"false alarms per hour at {100 * recall:g} % recall" for recall in RECALLS]
    heads += ["in videos without actions, at 90 %", "core minutes"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for with_negatives in (False, True):
        runs = [result for result in results if result["trained_on_negatives"] == with_negatives]
        if not runs:
            continue
        cells = ["yes" if with_negatives else "no", _mean([100 * run["average_mAP"] for run in runs])]
        cells += [_mean([_alarms(run, f"{recall:g}", "per_hour") for run in runs]) for recall in RECALLS]
        cells += [_mean([_alarms(run, "0.9", "per_hour_empty") for run in runs])]
        lines.append("| " + " | ".join([*cells, f"{np.mean([run['core_minutes'] for run in runs]):.1f}"]) + " |")
    return "\n".join(lines)


def _alarms(run: dict[str, Any], recall: str, name: str) -> float | None:
    found = run["false_alarms"][recall]
    return None if found is None else found[name]


def _mean(values: Sequence[float | None]) -> str:
    """Of those that are there; a run that does not reach the recall has none."""
    there = [value for value in values if value is not None]
    each = ", ".join("not reached" if value is None else f"{value:.1f}" for value in values)
    return f"{np.mean(there):.1f} ({each})" if there else each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--videos", type=int, default=240, help="with actions, to train on; a quarter more to test on")
    parser.add_argument("--negatives", type=int, default=120, help="without, to train on; a quarter more to test on")
    parser.add_argument("--epochs", type=int, default=8, help="of the training with negatives")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one core")
    parser.add_argument("--out", type=Path, default=ucf_mini.REPOSITORY / "exps" / "negatives")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    runs = [
        Run(
            seed=seed,
            trained_on_negatives=with_negatives,
            videos=args.videos,
            negatives=args.negatives,
            epochs=args.epochs,
        )
        for seed in args.seeds
        for with_negatives in (False, True)
    ]
    results = run_all(runs, out=args.out.resolve(), jobs=args.jobs)
    print(json.dumps(results) if args.json else table(results))


if __name__ == "__main__":
    main()
