"""One training step of an experiment, run dry, on tensors without values: what it takes, and of what."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from re2tal.common.types import Batch, PixelClip, TimeGrid
from re2tal.config import ExperimentConfig
from re2tal.config.building import build_detector
from re2tal.data import collate
from re2tal.experiments.planning.tracker import MemoryTracker
from re2tal.reversible import set_tiles
from re2tal.reversible.dry_run import few_tiles
from re2tal.training import Processes, RunFolder, Trainer

__all__ = ["NoBatches", "DryRun", "example_batch"]


def example_batch(config: ExperimentConfig, *, num_classes: int, num_clips: int, num_steps: int | None = None) -> Batch:
    """Clips of random pixels with eight random actions each, of the experiment's size, or of `num_steps`."""
    sampling, (height, width) = config.data.sampling, config.data.crop_size
    num_steps = num_steps or sampling.num_steps
    starts = torch.rand(8) * 0.8 * num_steps
    clip = PixelClip(
        video_id="random",
        frames=torch.randint(0, 256, (3, num_steps * sampling.frames_per_step, height, width), dtype=torch.uint8),
        mask=torch.ones(num_steps, dtype=torch.bool),
        grid=TimeGrid(seconds_per_step=0.1, start_seconds=0.0, duration_seconds=0.1 * num_steps),
        segments=torch.stack([starts, starts + 0.05 * num_steps], dim=1),
        labels=torch.randint(0, num_classes, (8,)),
    )
    return collate([clip] * num_clips)


class DryRun:
    """The training loop of an experiment on tensors without values, made once and run on batches of any size.

    Args:
        config: of the experiment.
        num_classes: that the network tells apart.
        tile_bytes: what a tile may take, if not what suits a CPU.
    """

    def __init__(self, config: ExperimentConfig, *, num_classes: int, tile_bytes: int | None = None) -> None:
        self.config, self.num_classes = config, num_classes
        self._without_values = FakeTensorMode(allow_non_fake_inputs=True)  # states of random generators are real
        self._tracker = tracker = MemoryTracker()
        with self._without_values, tracker:
            with tracker.labelled("parameters"):
                self._model = model = build_detector(config, num_classes=num_classes)
            if tile_bytes is not None and config.backbone.reversible:
                set_tiles(model, tile_bytes)
            with tracker.labelled("average"):
                self._trainer = Trainer(
                    model,
                    # Coefficients as training begins, when the most is kept of streams.
                    config=config.training.model_copy(update={"accumulate": 1, "anneal_epochs": 0}),
                    loader=NoBatches(),
                    processes=Processes(),
                    folder=RunFolder(Path()),  # nothing is written
                    about={},
                )
            # What has no value is neither finite nor recovered.
            self._trainer.anomalies.judge = lambda *_, **__: False  # type: ignore[method-assign]
            _follow(model, tracker)
            with tracker.labelled("optimizer"):
                for parameter in model.parameters():
                    parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
                self._trainer.optimizer.step()
                self._trainer.optimizer.zero_grad(set_to_none=True)

    def step(self, *, num_steps: int, num_clips: int) -> dict[str, int]:
        """Bytes of every kind at the fullest moment of a step, after the first.

        Args:
            num_steps: of a clip.
            num_clips: that one process gets through the network at a time.

        Returns:
            parameters, gradients, optimizer, average (of the weights), input, activations (of the backbone: what is
            kept for the backward pass; streams in a reversible one), tile (or branch: what a reversible backbone
            computes again), and head (pyramid, head and losses).
        """
        tracker = self._tracker
        with self._without_values, tracker, few_tiles():
            self._trainer.optimizer.zero_grad(set_to_none=True)
            tracker.restart()
            with tracker.labelled("parameters"):
                pyramid = self._model.get_submodule("pyramid")
                self.config.pyramid.fit_steps(pyramid, num_steps=num_steps)
            with tracker.labelled("input"):
                batch = example_batch(
                    self.config, num_classes=self.num_classes, num_clips=num_clips, num_steps=num_steps
                )
            self._trainer.step([batch])
            for parameter in self._model.parameters():
                if parameter.grad is not None:
                    tracker.relabel(parameter.grad, "gradients")
            return tracker.peak()


class NoBatches:
    """Of a trainer whose steps are called one by one."""

    steps_per_epoch = 1

    def set_epoch(self, epoch: int, *, first_step: int = 0) -> None:
        """There is none."""

    def __iter__(self) -> Iterator[Batch]:
        return iter(())


def _follow(model: nn.Module, tracker: MemoryTracker) -> None:
    """Label what is allocated after the part of the detector that is at work."""
    backbone = model.get_submodule("backbone")

    def label(name: str) -> Any:
        def change(*_: object) -> None:
            tracker.label = name

        return change

    def leave_backbone(_: nn.Module, __: object, features: Tensor) -> None:
        tracker.label = "head"
        features.register_hook(label("activations"))

    backbone.register_forward_pre_hook(label("activations"))
    backbone.register_forward_hook(leave_backbone)
