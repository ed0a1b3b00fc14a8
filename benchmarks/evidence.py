"""Adapters, full, rewired and annealed at equal processor time, with and without tube masking: a table of the docs.

    python benchmarks/evidence.py [--sets ucf_mini demo] [--seeds 42 43 44] [--jobs 2] [--out exps/evidence] [--json]
    python benchmarks/evidence.py --table                    # of what is there, without training anything

A small VideoMAE learns to detect in several ways, from scratch or from weights that tube masking of the training
videos' frames has given it, beside the SlowFasts of the configs. Every case has `--seconds` of processor time of one
core: it trains until they are used up, with the rate's schedule and the annealing of coefficients laid over them.
Tube masking has `--masking-seconds` beside, spent once for each seed and kind of network, plain or rewired; cases
called "longer" train from scratch for both together. Decoding the videos, building the network and testing are not
counted.

Results are appended to `<out>/results.jsonl`; a call that is repeated goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from result_lines import add_line, read_lines

from re2tal.config import ExperimentConfig, load_config
from re2tal.config.building import build_detector, count_parameters
from re2tal.data import TrainingClips, annotations_of, collate, training_clips
from re2tal.data.demo import make_demo_set
from re2tal.experiments.experiment import prepare_process
from re2tal.experiments.loading import load_epochs
from re2tal.experiments.pretrained import start_from_pretrained, write_backbone
from re2tal.experiments.pretraining import TubeMasking, frames_alone, masked_network
from re2tal.experiments.tester import Tester
from re2tal.networks.backbones import MaskedVideoMae
from re2tal.training import Processes, RunFolder, Trainer, seed_all

REPOSITORY = Path(__file__).resolve().parents[1]
ALONE = Processes()
PARTS = 1000
"""Epochs that a schedule is divided into; how many steps there are in truth, the processor decides."""
REWIRED = ("backbone.reversible=True",)
ANNEALED = (*REWIRED, "backbone.alpha=0.75", "backbone.beta=0.25", f"training.anneal_epochs={PARTS // 2}")
ADAPTERS = ("backbone.adapter={'kind':'temporal'}",)


@dataclass(frozen=True)
class Way:
    """What is trained, and from where."""

    network: str
    start: str
    """scratch, longer (from scratch), masked plain, masked rewired."""
    options: tuple[str, ...] = ()


WAYS = {
    "SlowFast": Way("slowfast", "scratch"),
    "SlowFast, rewired": Way("re2slowfast", "scratch"),
    "SlowFast, longer": Way("slowfast", "longer"),
    "full": Way("videomae", "scratch"),
    "full, longer": Way("videomae", "longer"),
    "rewired": Way("videomae", "scratch", REWIRED),
    "masked, full": Way("videomae", "masked plain"),
    "masked, frozen with adapters": Way("videomae", "masked plain", ADAPTERS),
    "masked, annealed": Way("videomae", "masked plain", ANNEALED),
    "masked rewired, rewired": Way("videomae", "masked rewired", REWIRED),
    "masked rewired, frozen with adapters": Way("videomae", "masked rewired", (*REWIRED, *ADAPTERS)),
}
"""In the order of the table."""


@dataclass(frozen=True)
class Case:
    """One training, of a detector or, with a way that is a start, of a backbone."""

    data: str
    way: str
    seed: int
    seconds: float


# One case, in a process of its own


def config_of(case: Case, *, network: str, options: tuple[str, ...], out: Path) -> ExperimentConfig:
    """What the case trains."""
    changes = [f"training.seed={case.seed}", f"training.epochs={PARTS}", f"training.warmup_epochs={PARTS / 20}"]
    changes += [f"training.eval_from={PARTS - 1}", f"training.checkpoint_every={PARTS}", *options]
    if case.data == "demo":
        data = out / f"demo_seed{case.seed}"
        changes += [f"data.annotations={data / 'annotations.json'}", f"data.videos={data / 'videos'}"]
    return load_config(REPOSITORY / "configs" / case.data / f"{network}.py", changes)


def spend(trainer: Trainer, clips: TrainingClips, *, seconds: float) -> int:
    """Train until this process has used `seconds` more of processor time; returns the optimizer steps."""
    for index in range(len(clips)):  # decoded, and kept from then on
        clips[index]
    done, epoch, begun = 0, 0, time.process_time()
    while True:
        trainer.loader.set_epoch(epoch)
        trainer.model.train()
        for batch in trainer.loader:
            share = min((time.process_time() - begun) / seconds, 1.0)
            place = int(share * trainer.schedule.total_steps)
            trainer.schedule.set_step(place)
            trainer.annealing.set_step(place)
            if share == 1:
                return done
            last = trainer.step([batch])
            done += 1
            if done % 100 == 0:
                print(f"{done} steps, {share:.0%} of the time, loss {last['loss']:.3f}", file=sys.stderr, flush=True)
        epoch += 1


def trained(model: torch.nn.Module, config: ExperimentConfig, clips: TrainingClips, case: Case) -> dict[str, Any]:
    """Train `model`; the average of its weights, as `Trainer` keeps it, and how many steps that took."""
    loader = load_epochs(clips, config.training, processes=ALONE, clip_bytes=1)
    folder = RunFolder(Path("/dev/null"))  # nothing is written
    trainer = Trainer(model, config=config.training, loader=loader, processes=ALONE, folder=folder, about={})
    seed_all(case.seed)
    steps = spend(trainer, clips, seconds=case.seconds)
    return {"average": trainer.ema.module, "steps": steps}


def mask(case: Case, out: Path) -> dict[str, Any]:
    """Tube masking of one kind of network; its weights go into `out`."""
    options = REWIRED if case.way == "masked rewired" else ()
    config = config_of(case, network="videomae", options=options, out=out)
    masking = TubeMasking(epochs=PARTS, decoder_depth=2, mask_ratio=0.75, learning_rate=2e-3, batch_size=2)
    config = config.model_copy(update={"training": masking.training(config.training)})
    prepare_process(case.seed, device=ALONE.device, deterministic=True)
    clips = frames_alone(config, annotations_of(config.data))
    model = masked_network(config, masking)
    found = trained(model, config, clips, case)
    weights = found["average"].state_dict()
    write_backbone(
        masked_weights(case, out),
        MaskedVideoMae.backbone_weights(weights),
        checkpoint={"epoch": None, "coefficients": (0.0, 1.0) if options else None},
        backbone=config.backbone,
        metadata={},
    )
    return {"steps": found["steps"], "loss": masked_loss(found["average"], clips, case.seed)}


def masked_loss(model: torch.nn.Module, clips: TrainingClips, seed: int) -> float:
    """Of the training clips; 1 is what the mean of every patch reaches."""
    seed_all(seed)
    with torch.no_grad():
        losses = [float(model(collate([clips[index]]))["loss"]) for index in range(min(len(clips), 36))]
    return float(np.mean(losses))


def masked_weights(case: Case, out: Path) -> Path:
    kind = "masked_rewired" if case.way.startswith("masked rewired") else "masked_plain"
    return out / f"{case.data}_{kind}_seed{case.seed}.safetensors"


def detect(case: Case, out: Path) -> dict[str, Any]:
    """A detector, trained and tested."""
    way = WAYS[case.way]
    masked = (f"backbone.pretrained={masked_weights(case, out)}",) if way.start.startswith("masked") else ()
    config = config_of(case, network=way.network, options=(*masked, *way.options), out=out)
    prepare_process(case.seed, device=ALONE.device, deterministic=True)
    annotations = annotations_of(config.data)
    clips = training_clips(config.data, config.augment, seed=case.seed, annotations=annotations)
    model = build_detector(config, num_classes=len(clips.class_names))
    start_from_pretrained(model.backbone, config.backbone)
    learning = sum(p.numel() for p in model.backbone.parameters() if p.requires_grad)
    found = trained(model, config, clips, case)
    metrics = Tester(config, processes=ALONE, annotations=annotations).evaluate(found["average"])
    sizes = {"backbone_parameters": count_parameters(model.backbone), "backbone_trained": learning}
    return {"steps": found["steps"], **sizes, "metrics": metrics}


def measure(case: Case, out: Path) -> dict[str, Any]:
    """The row of a case, written as soon as it is there."""
    torch.set_num_threads(1)
    row = {**asdict(case), **(mask if case.way in ("masked plain", "masked rewired") else detect)(case, out)}
    row["all_seconds"] = round(time.process_time())
    add_line(out / "results.jsonl", row)
    return row


# All cases


def run_all(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of all cases that are asked for, trained now or by an earlier call."""
    known = {(row["data"], row["way"], row["seed"], row["seconds"]): row for row in read_lines(args.results)}
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:

        def begin(case: Case) -> Future[dict[str, Any]]:
            if (row := known.get((case.data, case.way, case.seed, case.seconds))) is not None:
                done: Future[dict[str, Any]] = Future()
                done.set_result(row)
                return done
            return pool.submit(measure, case, args.out)

        for seed in args.seeds:
            for data in args.sets:
                if data == "demo" and not (args.out / f"demo_seed{seed}" / "annotations.json").is_file():
                    make_demo_set(args.out / f"demo_seed{seed}", seed=seed, num_train=args.num_train)
                ways = {name: way for name, way in WAYS.items() if name in args.ways}
                starts = [start for start in ("masked plain", "masked rewired") if start in _starts(ways)]
                masks = [begin(Case(data, start, seed, args.masking_seconds)) for start in starts]
                cases = {
                    name: Case(data, name, seed, args.seconds + (args.masking_seconds if way.start == "longer" else 0))
                    for name, way in ways.items()
                }
                waiting = [name for name in cases if ways[name].start.startswith("masked")]
                rows = masks + [begin(case) for name, case in cases.items() if name not in waiting]
                for masked in masks:
                    masked.result()
                rows += [begin(cases[name]) for name in waiting]
                yield from (row.result() for row in rows)


def _starts(ways: dict[str, Way]) -> set[str]:
    return {way.start for way in ways.values()}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row for each set and way, means and ranges over the seeds."""
    lines = [
        "| set | way | trained of the backbone | processor seconds | steps | mean mAP | each seed |",
        "|---" * 7 + "|",
    ]
    keys = dict.fromkeys((row["data"], row["seconds"]) for row in rows if "metrics" in row)
    for data in dict.fromkeys(data for data, _ in keys):
        for way in WAYS:
            runs = [row for row in rows if (row["data"], row["way"]) == (data, way)]
            if not runs:
                continue
            means = [100 * run["metrics"]["average_mAP"] for run in sorted(runs, key=lambda run: run["seed"])]
            before = [
                row["seconds"]
                for row in rows
                if row["data"] == data and row["way"] == WAYS[way].start and row["seed"] == runs[0]["seed"]
            ]
            seconds = f"{before[0]:g} + {runs[0]['seconds']:g}" if before else f"{runs[0]['seconds']:g}"
            share = f"{runs[0]['backbone_trained'] / 1e6:.2f} of {runs[0]['backbone_parameters'] / 1e6:.2f} M"
            cells = [data, way, share, seconds, f"{np.mean([run['steps'] for run in runs]):.0f}"]
            spread = f" ({min(means):.1f} to {max(means):.1f})" if len(means) > 1 else ""
            cells += [f"{np.mean(means):.1f}{spread}", ", ".join(f"{mean:.1f}" for mean in means)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=("ucf_mini", "demo"), default=("ucf_mini", "demo"))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--seconds", type=float, default=150, help="of processor time, for each detector")
    parser.add_argument("--masking-seconds", type=float, default=200, help="of tube masking")
    parser.add_argument("--num-train", type=int, default=240, help="videos of the demo to train on")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time, each on one core")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "exps" / "evidence")
    parser.add_argument("--table", action="store_true", help="train nothing, show what is there")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    args.results = args.out / "results.jsonl"
    rows = read_lines(args.results) if args.table else list(run_all(args))
    print(json.dumps(rows) if args.json else table(rows))


if __name__ == "__main__":
    main()
