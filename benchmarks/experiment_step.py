"""Memory and time of whole training steps of an experiment: backbone, head, losses, optimizer, averaged weights.

    python benchmarks/experiment_step.py configs/re2tal/e2e_thumos_re2tal_actionformer_swin_tiny.py [--json]

Clips of random pixels with random actions, of the experiment's own size, go through the real training loop, in
float32, since half precision is no measure on a CPU. Nothing of the experiment's data or weights is needed. The second
step is the fullest: the optimizer's averages are there from the end of the first. Processor time is the median of all
steps but the first. With `backbone.reversible=auto` it is first chosen what to store.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from train_step import peak_mib, resident_mib

from re2tal.config import ConfigError, ExperimentConfig, load_config
from re2tal.config.building import build_detector
from re2tal.experiments.planning import NoBatches, example_batch, plan_storage
from re2tal.training import Processes, RunFolder, Trainer


def measure(config: ExperimentConfig, *, num_clips: int, steps: int, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    num_classes = 1 if config.data.class_agnostic else config.data.num_classes or 20
    imported = resident_mib()
    batch = example_batch(config, num_classes=num_classes, num_clips=num_clips)
    model = build_detector(config, num_classes=num_classes).train()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model,
            config=config.training.model_copy(update={"amp": "none", "accumulate": 1}),
            loader=NoBatches(),
            processes=Processes(),
            folder=RunFolder(Path(folder)),
            about={},
        )
        if config.backbone.reversible == "auto":
            plan_storage(config, device=torch.device("cpu"), backbone=model.backbone).apply(model.backbone)
        seconds, of_processor = [], []
        for _ in range(steps):
            start, processor = time.perf_counter(), time.process_time()
            trainer.step([batch])
            seconds.append(time.perf_counter() - start)
            of_processor.append(time.process_time() - processor)
    return {
        "experiment": config.name,
        "frames": batch.frames.shape[2],
        "clips": num_clips,
        "steps": steps,
        "peak_mib": round(peak_mib(), 1),
        "libraries_mib": round(imported, 1),
        "step_s": round(seconds[-1], 1),
        "processor_s": round(statistics.median(of_processor[1:] or of_processor), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--cfg-options", nargs="+", default=[], help="key=value")
    parser.add_argument("--clips", type=int, default=1, help="in the batch")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")
    args = parser.parse_args()
    if args.steps < 1 or args.clips < 1:
        parser.error(f"--steps and --clips must be at least 1, got {args.steps} and {args.clips}")
    try:
        config = load_config(args.config, args.cfg_options)
    except ConfigError as error:
        parser.error(str(error))
    result = measure(config, num_clips=args.clips, steps=args.steps, threads=args.threads)
    print(json.dumps(result) if args.json else "\n".join(f"{name:<16} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
