"""Steps to a given mAP: from a whole detector, from its backbone alone, and from scratch.

    python benchmarks/warm_start.py [--seeds 42 43 44] [--jobs 2] [--out exps/warm_start] [--json]

The demo's videos stand for two days of labelling. On the first day's a detector is trained; the second day's are others
(another seed), and fewer. Three trainings on them are compared, which differ in what they start from; each is evaluated
on further videos of the second day after every epoch. In a second case a class is new: on the first day nobody has
labelled it, so that the detector has learnt that it is nothing.

Results are written to `<out>/results.jsonl` as soon as a training ends; a call that is repeated goes on.
"""

import argparse
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from result_lines import add_line, read_lines

from re2tal.config import ExperimentConfig, override
from re2tal.config.building import build_detector
from re2tal.config.presets import demo
from re2tal.data.demo import make_demo_set
from re2tal.experiments import experiment
from re2tal.experiments.tester import Tester
from re2tal.experiments.warm_start import start_from_detector
from re2tal.training import Processes, RunFolder, seed_all

NEW_CLASS = "shiver"
STARTS = ("whole detector", "its backbone", "from scratch")
CASES = ("same classes", "one class new")
TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9)


def make_videos(out: Path, *, before: int, after: int, test: int) -> None:
    """The two days' videos, and the first day's labels without the class that is new on the second."""
    for name, seed, num_train in (("before", 7, before), ("after", 42, after)):
        note, told = out / name / "made.json", [seed, num_train, test]
        if not note.is_file() or json.loads(note.read_text()) != told:
            make_demo_set(out / name, seed=seed, num_train=num_train, num_test=test)
            note.write_text(json.dumps(told))
    content = json.loads((out / "before" / "annotations.json").read_text(encoding="utf-8"))
    for entry in content["database"].values():
        entry["annotations"] = [row for row in entry["annotations"] if row["label"] != NEW_CLASS]
    (out / "before" / "without.json").write_text(json.dumps(content), encoding="utf-8")


def train(config: ExperimentConfig, folder: RunFolder) -> None:
    """On this process's core alone; goes on where an earlier call was."""
    torch.set_num_threads(1)
    experiment.train(config, processes=Processes(), folder=folder, resume="auto")


def trained_before(out: Path, case: str, *, epochs: int) -> Path:
    """The detector of the first day."""
    folder = RunFolder(out / f"before_{case.replace(' ', '_')}_{epochs}")
    config = demo(data=out / "before", work_dir=folder.path, epochs=epochs)
    if case == "one class new":
        config = override(config, [f"data.annotations={out / 'before' / 'without.json'}"])
    if not folder.best.is_file():
        train(config, folder)
    return folder.best


def config_of(out: Path, case: str, start: str, *, seed: int, epochs: int, before: Path) -> ExperimentConfig:
    """A training of the second day; all differ in their start alone."""
    work_dir = out / f"{case}_{start}_{seed}_{epochs}".replace(" ", "_")
    options = [f"training.seed={seed}", "training.eval_from=0", "training.keep_checkpoints=1"]
    options += [f"training.checkpoint_every={epochs}"]
    match start:
        case "whole detector":
            options.append(f"training.start_from={before}")
        case "its backbone":
            options.append(f"backbone.pretrained={before}")
    return override(demo(data=out / "after", work_dir=work_dir, epochs=epochs), options)


def mean_map(config: ExperimentConfig) -> float:
    """Before the first step."""
    tester = Tester(config, processes=Processes())
    seed_all(config.training.seed)
    model = build_detector(config, num_classes=len(tester.class_names))
    if config.training.start_from is not None:
        start_from_detector(model, config, class_names=tester.class_names)
    with torch.no_grad():
        return tester.evaluate(model.eval())["average_mAP"]


def measure(out: Path, case: str, start: str, seed: int, *, epochs: int, before: Path) -> dict[str, Any]:
    """The mean mAP after every epoch of one training."""
    torch.set_num_threads(1)
    began = time.process_time()
    config = config_of(out, case, start, seed=seed, epochs=epochs, before=before)
    folder = RunFolder(config.work_dir)
    first = mean_map(config)
    train(config, folder)
    records = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
    maps = [record["average_mAP"] for record in records if record["kind"] == "evaluation"]
    steps = max(record["step"] for record in records if record["kind"] == "step") // epochs
    row = {"case": case, "start": start, "seed": seed, "epochs": epochs, "steps_per_epoch": steps}
    return row | {"mAP": [first, *maps], "core_minutes": round((time.process_time() - began) / 60, 2)}


def steps_to(row: dict[str, Any], target: float) -> int | None:
    """Steps after which the mean mAP is at least `target` for the first time; None: never."""
    return next((epoch * row["steps_per_epoch"] for epoch, value in enumerate(row["mAP"]) if value >= target), None)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row for each case and start, means over the seeds; in brackets each seed."""
    heads = [
        "case",
        "start",
        "mAP at step 0",
        *(f"steps to {100 * target:.0f}" for target in TARGETS),
        "mAP at the end",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for case in CASES:
        for start in STARTS:
            # From scratch, both cases are the same.
            found = [row for row in rows if row["start"] == start and (row["case"] == case or start == STARTS[2])]
            if not found:
                continue
            cells = [case, start, _percent([row["mAP"][0] for row in found])]
            cells += [_steps([steps_to(row, target) for row in found]) for target in TARGETS]
            lines.append("| " + " | ".join([*cells, _percent([row["mAP"][-1] for row in found])]) + " |")
    return "\n".join(lines)


def _percent(values: list[float]) -> str:
    return f"{100 * statistics.mean(values):.1f} ({', '.join(f'{100 * value:.1f}' for value in values)})"


def _steps(values: list[int | None]) -> str:
    each = ", ".join("never" if value is None else str(value) for value in values)
    reached = [value for value in values if value is not None]
    if len(reached) < len(values):
        return f"- ({each})"
    return f"{statistics.mean(reached):.0f} ({each})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--before", type=int, default=120, help="training videos of the first day")
    parser.add_argument("--after", type=int, default=48, help="training videos of the second day")
    parser.add_argument("--test", type=int, default=40, help="videos to test on")
    parser.add_argument("--epochs-before", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, each on one core")
    parser.add_argument("--out", type=Path, default=Path("exps/warm_start"))
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    results = args.out / "results.jsonl"
    make_videos(args.out, before=args.before, after=args.after, test=args.test)
    done = {(row["case"], row["start"], row["seed"], row["epochs"]) for row in read_lines(results)}
    wanted = [
        (case, start, seed)
        for seed in args.seeds
        for case in CASES
        for start in STARTS
        if (case, start) != (CASES[1], STARTS[2]) and (case, start, seed, args.epochs) not in done
    ]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        before = {case: pool.submit(trained_before, args.out, case, epochs=args.epochs_before) for case in CASES}
        paths = {case: future.result() for case, future in before.items()}
        running = [pool.submit(measure, args.out, *what, epochs=args.epochs, before=paths[what[0]]) for what in wanted]
        for future in running:
            add_line(results, future.result())
    rows = [row for row in read_lines(results) if row["seed"] in args.seeds and row["epochs"] == args.epochs]
    print(json.dumps(rows) if args.json else table(rows))


if __name__ == "__main__":
    main()
