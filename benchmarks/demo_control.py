"""What the demo's score rests on: the same training with shuffled frames, and with one frame at a time.

    python benchmarks/demo_control.py [--seeds 42 43 44] [--orders shown shuffled] [--out exps/demo_control] [--json]

`shown` is exactly `re2tal demo`; `shuffled` differs in one thing: the frames of every video, in training and in
testing, are in random order. The probe is a small network that is to tell the class from a single frame.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from re2tal.common.types import AnnotatedVideo
from re2tal.config import override
from re2tal.config.presets import demo
from re2tal.data import read_annotations
from re2tal.data.demo import CLASSES, make_demo_set
from re2tal.experiments import experiment
from re2tal.training import Processes, RunFolder, logging_to
from re2tal.video import open_video

FRAMES_PER_VIDEO = 48
PROBE_EPOCHS = 6


def run(order: str, *, seed: int, out: Path) -> dict[str, float]:
    """Make the videos, train, test: the metric, and the seconds of each part."""
    clock = [time.perf_counter()]
    make_demo_set(out / "data", seed=seed, shuffled=order == "shuffled")
    clock.append(time.perf_counter())
    config = override(demo(data=out / "data", work_dir=out), [f"training.seed={seed}"])
    folder = RunFolder(out)
    with logging_to(folder.log):
        experiment.train(config, processes=Processes(), folder=folder, evaluate=False)
        clock.append(time.perf_counter())
        result = experiment.test(
            config, processes=Processes(), folder=folder, checkpoint=folder.epoch(config.training.epochs - 1)
        )
    clock.append(time.perf_counter())
    assert result is not None
    seconds = dict(zip(("making_s", "training_s", "testing_s"), np.diff(clock).tolist(), strict=True))
    return {**result.metrics, **seconds}


# The probe


def single_frames(videos: list[AnnotatedVideo], folder: Path) -> tuple[Tensor, Tensor]:
    """Random frames (N, 3, 32, 32) and what happens in them (N,): 0 nothing, else 1 + the class's index."""
    rng = np.random.default_rng(0)
    names = list(CLASSES)
    frames, labels = [], []
    for video in videos:
        with open_video(folder / f"{video.video_id}.mp4") as reader:
            indices = np.sort(rng.choice(reader.num_frames, FRAMES_PER_VIDEO, replace=False))
            frames.append(torch.as_tensor(reader.frames(indices.tolist(), size=32)))
            seconds = (indices + 0.5) / reader.fps
        label = np.zeros(len(indices), np.int64)
        for action in video.actions:
            label[(seconds >= action.start_seconds) & (seconds < action.end_seconds)] = 1 + names.index(action.label)
        labels.append(torch.from_numpy(label))
    return torch.cat(frames).permute(0, 3, 1, 2).float() / 64 - 2, torch.cat(labels)


def probe(data: Path) -> dict[str, float]:
    """Mean recall of classes and background from single frames of unseen videos, and how well they tell presence."""
    annotations = read_annotations(data / "annotations.json")
    parts = {
        name: single_frames([video for video in annotations.videos if video.subset == name], data / "videos")
        for name in ("training", "validation")
    }
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64 * 8 * 8, 1 + len(CLASSES))),
    )
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    frames, labels = parts["training"]
    weight = 1 / torch.bincount(labels).float()
    for _ in range(PROBE_EPOCHS):
        for batch in torch.randperm(len(frames)).split(128):
            loss = F.cross_entropy(network(frames[batch]), labels[batch], weight=weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    frames, labels = parts["validation"]
    with torch.no_grad():
        scores = network(frames).log_softmax(1)
    recalls = [(scores[labels == index].argmax(1) == index).double().mean() for index in range(1 + len(CLASSES))]
    rank = (-scores[:, 0]).argsort().argsort().double()
    acting = labels > 0
    # Area under the ROC curve as the mean difference of ranks.
    area = 0.5 + float(rank[acting].mean() - rank[~acting].mean()) / len(rank)
    return {"mean_recall": float(torch.stack(recalls).mean()), "chance": 1 / len(recalls), "presence_auc": area}


def main() -> None:
    """Run everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--orders", nargs="+", choices=("shown", "shuffled"), default=["shown", "shuffled"])
    parser.add_argument("--out", type=Path, default=Path("exps/demo_control"))
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    arguments = parser.parse_args()
    rows = {
        f"{order} {seed}": run(order, seed=seed, out=arguments.out / f"{order}_{seed}")
        for order in arguments.orders
        for seed in arguments.seeds
    }
    first = arguments.out / f"{arguments.orders[0]}_{arguments.seeds[0]}" / "data"
    found = probe(first)
    if arguments.json:
        print(json.dumps({"runs": rows, "single_frames": found}))
        return
    columns = list(next(iter(rows.values())))
    print("| frames, seed |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for name, row in rows.items():
        cells = (f"{value:.0f}" if key.endswith("_s") else f"{100 * value:.1f}" for key, value in row.items())
        print(f"| {name} |", " | ".join(cells), "|")
    print("single frames:", ", ".join(f"{key} {value:.3f}" for key, value in found.items()))


if __name__ == "__main__":
    main()
