"""Whole training steps of the THUMOS experiments, and what the planner says of them."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from re2tal.common.types import Batch
from re2tal.config import ExperimentConfig, override
from re2tal.config.building import build_detector
from re2tal.config.presets import thumos
from re2tal.experiments.device_check.context import PartContext, Row, attempted
from re2tal.experiments.device_check.measuring import PeakMemory, described, elapsed
from re2tal.experiments.planning import MIB, NoBatches, example_batch, make_plan
from re2tal.experiments.planning.plan import STRATEGIES
from re2tal.networks.backbones.config import TrainingStrategy
from re2tal.training import Processes, RunFolder, Trainer, chosen_precision

__all__ = ["check_planner"]

_NOT_TENSORS = ("kernels", "libraries")
"""Parts of a plan that no tensor accounts for."""


def check_planner(context: PartContext) -> None:
    """A row for every network, strategy and length: planned and measured memory, seconds, the reconstruction error."""
    slowest = 0.0
    for network, strategy, num_steps in context.sizes.planned:
        if context.seconds_left < 1.5 * slowest:
            return
        start = time.perf_counter()
        _check(context, _experiment(context, network, strategy=strategy, num_steps=num_steps))
        slowest = max(slowest, time.perf_counter() - start)


def _experiment(context: PartContext, network: str, *, strategy: TrainingStrategy, num_steps: int) -> ExperimentConfig:
    label, backbone = described(network, context.sizes)
    backbone = backbone.model_copy(update=STRATEGIES[strategy])
    pixels = context.sizes.planned_pixels
    options = [
        f"data.sampling.num_steps={num_steps}",
        f"pyramid.max_steps={max(num_steps, 32)}",
        f"data.crop_size=({pixels},{pixels})",
        f"training.amp={chosen_precision('auto', device=context.device)}",
        "training.batch_size=1",
        *(["pyramid.channels=32"] if context.sizes.reduced else []),
    ]
    return override(thumos(name=f"{label}: {strategy}", backbone=backbone), options)


def _check(context: PartContext, config: ExperimentConfig) -> None:
    network, _, strategy = config.name.partition(": ")
    plan = make_plan(config, device=context.device, quick=True)
    (estimate,) = plan.estimates
    tensors = estimate.total - sum(estimate.parts[part] for part in _NOT_TENSORS)
    row: Row = {
        "network": network,
        "strategy": strategy,
        "frames": estimate.num_frames,
        "planned_tensors_mib": round(tensors / MIB, 1),
        "planned_mib": round(estimate.total / MIB, 1),
    }
    found, reason = attempted(lambda: _whole_step(context, config), device=context.device)
    if found is None:
        context.keep(row | {"state": reason, "planned_to_fit": plan.fits})
        return
    row |= found
    row["error_of_tensors"] = round(row["planned_tensors_mib"] / found["tensors_mib"] - 1, 4)
    if reserved := found["reserved_mib"]:
        row["error"] = round(row["planned_mib"] / reserved - 1, 4)
    context.keep(row)


def _whole_step(context: PartContext, config: ExperimentConfig) -> Row:
    """The second step of a training: loss, clipping, optimizer and averaged weights included."""
    torch.manual_seed(0)
    device = context.device
    batch = example_batch(config, num_classes=20, num_clips=1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            build_detector(config, num_classes=20).to(device).train(),
            config=config.training,
            loader=NoBatches(),
            processes=Processes(device=device),
            folder=RunFolder(Path(folder)),
            about={},
        )
        trainer.step([batch])
        trainer.optimizer.zero_grad(set_to_none=True)
        lasting = _bytes_between_steps(trainer)
        with PeakMemory(device) as peak:
            trainer.step([batch])
        seconds = elapsed(_step_of(trainer, batch), device=device, repeats=1)
    moved = batch.inputs.nbytes if device.type == "cpu" else 0  # which is not copied there
    return {
        "precision": config.training.amp,
        "tensors_mib": round((lasting + peak.allocated + moved) / MIB, 1),
        "reserved_mib": round(peak.reserved / MIB, 1),
        "step_s": round(seconds, 4),
    }


def _step_of(trainer: Trainer, batch: Batch) -> Callable[[], object]:
    return lambda: trainer.step([batch])


def _bytes_between_steps(trainer: Trainer) -> int:
    """Weights, their average, and the optimizer's state."""
    kept = [*trainer.model.state_dict().values(), *trainer.ema.module.state_dict().values()]
    kept += [value for state in trainer.optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    return sum(tensor.nbytes for tensor in kept)
