"""Gradients of the first batch of experiments, in one process or under torchrun; run by test_rehearsal.py."""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from re2tal.config import ExperimentConfig, load_config
from re2tal.config.building import build_detector
from re2tal.data import TrainingSet, collate
from re2tal.networks.backbones import SwinConfig
from re2tal.training import GlobalBatches, Processes, distributed_processes, seed_all


def changes(config: ExperimentConfig) -> list[str]:
    """What makes an experiment comparable: every process drops paths of its own, and half precision is coarse."""
    has_drop_path = isinstance(config.backbone, SwinConfig)
    return ["pyramid.drop_path=0", "training.amp=none", *(["backbone.drop_path=0"] if has_drop_path else [])]


def gradients(config: ExperimentConfig, processes: Processes | None = None) -> dict[str, Tensor]:
    """Of every trained parameter, by name."""
    processes = processes or Processes()
    seed_all(config.training.seed)
    clips = TrainingSet(config.data, config.augment, seed=config.training.seed)
    model = build_detector(config, num_classes=len(clips.class_names)).double().train()
    batches = GlobalBatches(
        len(clips),
        batch_size=config.training.batch_size,
        accumulate=config.training.accumulate,
        seed=config.training.seed,
        processes=processes,
    )
    indices = next(iter(batches))
    parallel = processes.parallel(model)
    parallel(collate([clips[index] for index in indices]))["loss"].backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


if __name__ == "__main__":
    # One start for all experiments: {config path: options}, and the folder for the results.
    torch.set_num_threads(1)
    with distributed_processes() as found:
        for path, options in json.loads(sys.argv[1]).items():
            result = gradients(load_config(path, options), found)
            torch.save(result, Path(sys.argv[2]) / f"{Path(path).stem}_{found.rank}.pth")
