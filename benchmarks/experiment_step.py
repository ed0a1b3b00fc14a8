"""Memory and time of one whole training step of an experiment: backbone, head, losses, optimizer, averaged weights.

    python benchmarks/experiment_step.py configs/re2tal/e2e_thumos_re2tal_actionformer_swin_tiny.py [--json]

One clip of random pixels with random actions, of the experiment's own size, goes through the real training loop, in
float32, since half precision is no measure on a CPU. Nothing of the experiment's data or weights is needed.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from train_step import peak_mib, resident_mib

from re2tal.building import build_detector
from re2tal.config import ConfigError, ExperimentConfig, load_config
from re2tal.data import collate
from re2tal.training import Processes, RunFolder, Trainer
from re2tal.types import Batch, Clip, TimeGrid


class OneStep:
    """A loader whose epoch is one batch."""

    steps_per_epoch = 1

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def set_epoch(self, epoch: int) -> None:
        """Every epoch is the same."""

    def __iter__(self) -> Iterator[Batch]:
        yield self.batch


def random_batch(config: ExperimentConfig, *, num_classes: int) -> Batch:
    sampling, (height, width) = config.data.sampling, config.data.crop_size
    shape = (3, sampling.num_steps * sampling.frames_per_step, height, width)
    starts = torch.rand(8) * 0.8 * sampling.num_steps
    clip = Clip(
        video_id="random",
        frames=torch.randint(0, 256, shape, dtype=torch.uint8),
        mask=torch.ones(sampling.num_steps, dtype=torch.bool),
        grid=TimeGrid(seconds_per_step=0.1, start_seconds=0.0, duration_seconds=0.1 * sampling.num_steps),
        segments=torch.stack([starts, starts + 0.05 * sampling.num_steps], dim=1),
        labels=torch.randint(0, num_classes, (8,)),
    )
    return collate([clip])


def measure(config: ExperimentConfig, *, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    num_classes = 1 if config.data.class_agnostic else config.data.num_classes or 20
    imported = resident_mib()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            build_detector(config, num_classes=num_classes),
            config=config.training.model_copy(update={"epochs": 1, "batch_size": 1, "amp": "none", "accumulate": 1}),
            loader=OneStep(random_batch(config, num_classes=num_classes)),
            peers=Processes(),
            folder=RunFolder(Path(folder)),
            about={},
        )
        start = time.perf_counter()
        trainer.run(None)
        seconds = time.perf_counter() - start
    return {
        "experiment": config.name,
        "frames": trainer.loader.batch.frames.shape[2],
        "peak_mib": round(peak_mib(), 1),
        "libraries_mib": round(imported, 1),
        "step_s": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--cfg-options", nargs="+", default=[], help="key=value")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    try:
        config = load_config(args.config, args.cfg_options)
    except ConfigError as error:
        parser.error(str(error))
    result = measure(config, threads=args.threads)
    print(json.dumps(result) if args.json else "\n".join(f"{name:<16} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
