"""How a detector is trained: every setting of the loop, the optimizer and the schedule."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from re2tal.common.memory_size import parse_memory
from re2tal.common.settings import Settings
from re2tal.common.untrusted import shown
from re2tal.training.precision import Amp

__all__ = ["TrainingConfig"]


class TrainingConfig(Settings):
    """How a detector is trained."""

    epochs: int = Field(gt=0)
    """Passes over the training set."""
    batch_size: int = Field(default=2, gt=0)
    """Clips per optimizer step, over all processes and accumulated micro-batches together."""
    accumulate: int = Field(default=1, gt=0)
    """Micro-batches a process cuts its share of a batch into: less memory, more time, the same mean of gradients."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Of pyramid and head, at the end of the warm-up."""
    backbone_learning_rate: float = Field(default=1e-5, gt=0)
    """Of the backbone, at the end of the warm-up."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Share of its rate that a block of the backbone learns at beside the block above it: of n blocks the last has
    `layer_decay` times the backbone's rate, the first `layer_decay ** n`, and what stands before them once more. What
    stands behind them, and adapters, have all of it. 1: one rate for all."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Of the backbone's parameters, and of the weights of linear maps and convolutions elsewhere."""
    warmup_epochs: float = Field(default=5, ge=0)
    """Epochs in which the rates rise linearly from 0."""
    cosine_epochs: int | None = Field(default=None, gt=0)
    """Epoch at which the cosine would reach its end; None: `epochs`. Longer: training stops on the way down."""
    min_learning_rate: float = Field(default=1e-8, ge=0)
    """Where the cosine ends, for every parameter."""
    clip_grad_norm: float | None = Field(default=1.0, gt=0)
    """Largest norm of all gradients together; None switches clipping off."""
    amp: Amp = "none"
    """Mixed precision; fp16 scales the loss and lets the processes exchange gradients in fp16. auto: bf16 or fp16 where
    the device computes in it, float32 elsewhere."""
    memory: str | None = None
    """What a training process may take in all, like "6GiB", with backbone.reversible="auto". None: what is free on the
    device at the start, less a tenth, on a processor a fifth and the batches that wait."""
    anneal_epochs: float = Field(default=0, ge=0)
    """Epochs in which the coefficients of a rewired backbone go linearly from backbone.alpha and backbone.beta to
    Re2TAL's, 0 and 1; fractions are allowed. 0: they stay as they are."""
    on_non_finite: Literal["stop", "skip"] = "stop"
    """What to do about a step whose loss or gradients are not finite: end the training, or leave the step out. Either
    way, what went wrong where is told, and kept in the folder `faults`."""
    max_skips: int = Field(default=10, ge=0)
    """Steps in a row that `on_non_finite="skip"` leaves out; one more ends the training."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Share of the averaged weights that a step keeps; the average is what is evaluated. 0: the last weights."""
    eval_from: int = Field(default=0, ge=0)
    """First epoch (counted from 0) that is evaluated; the last one always is."""
    eval_every: int = Field(default=1, gt=0)
    """Epochs between two evaluations."""
    checkpoint_every: int = Field(default=1, gt=0)
    """Epochs between two checkpoints; the last epoch and evaluated ones always have one."""
    checkpoint_minutes: float = Field(default=10, ge=0)
    """Minutes between two `last.pth`, from which a run stopped within an epoch goes on; 0: after every step."""
    keep_checkpoints: int | None = Field(default=None, gt=0)
    """How many of the newest `epoch_<n>.pth` stay on disk; None: all. `best.pth` always stays."""
    log_every: int = Field(default=50, gt=0)
    """Optimizer steps between two lines of the log and of `metrics.jsonl`."""
    tensorboard: bool = False
    """Write what `metrics.jsonl` holds, and pictures of a few detections, for TensorBoard too (an extra to install)."""
    num_workers: int = Field(default=2, ge=0)
    """Processes that load clips, for each training process; 0: it loads them itself."""
    prefetch_mib: int = Field(default=4096, ge=0)
    """Memory in MiB for batches that wait, prefetched by the loader processes of one training process. Each makes two
    ahead if they fit, else one; where not even one for each fits, fewer processes are started, and the log tells it.
    4 GiB hold thirteen batches of THUMOS's (two clips of 1024 frames, 294 MiB): two for each of six processes. Stored
    features and small clips never come near it. What is loaded does not depend on it."""
    seed: int = Field(default=42, ge=0)
    """Of initial weights, shuffling, augmentation and dropout."""
    start_from: Path | None = None
    """Checkpoint of a whole detector, whose weights the run begins with, backbone, pyramid and head.
    Classes go by their names: what the checkpoint knows of a class of the data is kept, its other classes are left out,
    and new ones begin as in a fresh head. All else must be as in the checkpoint. It is not read where a run is resumed.
    None: fresh weights, and those of backbone.pretrained."""
    start_from_classes: dict[str, str] = {}
    """Classes that were renamed since `start_from` was trained: {"name in the checkpoint": "name in the data"}."""

    @field_validator("memory")
    @classmethod
    def _memory_is_a_size(cls, memory: str | None) -> str | None:
        if memory is not None:
            parse_memory(memory)
        return memory

    @model_validator(mode="after")
    def _check_batch(self) -> "TrainingConfig":
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size must be a multiple of accumulate, got {self.batch_size} and {self.accumulate}; "
                f"accumulate cuts the batch into equal micro-batches"
            )
        return self

    @model_validator(mode="after")
    def _check_schedule(self) -> "TrainingConfig":
        horizon = self.cosine_epochs or self.epochs
        if horizon < self.epochs:
            raise ValueError(
                f"cosine_epochs must be at least epochs, got {horizon} and {self.epochs}; "
                f"leave it out to end the cosine with the training"
            )
        if self.warmup_epochs >= horizon:
            raise ValueError(
                f"warmup_epochs must be below the {horizon} epochs of the schedule, got {self.warmup_epochs}; "
                f"lower it (fractions are allowed)"
            )
        if self.anneal_epochs > self.epochs:
            raise ValueError(
                f"anneal_epochs must be at most the {self.epochs} epochs of the training, got {self.anneal_epochs}; "
                "training would end on the way"
            )
        return self

    @model_validator(mode="after")
    def _check_renamed_classes(self) -> "TrainingConfig":
        if self.start_from_classes and self.start_from is None:
            raise ValueError(
                f"start_from_classes renames classes of a checkpoint, got {shown(self.start_from_classes)} with "
                "start_from=None; set start_from, or leave start_from_classes out"
            )
        return self

    def is_evaluated(self, epoch: int) -> bool:
        """Whether `epoch` (counted from 0) ends with an evaluation."""
        is_due = epoch >= self.eval_from and (epoch - self.eval_from) % self.eval_every == 0
        return is_due or epoch == self.epochs - 1

    def is_saved(self, epoch: int) -> bool:
        """Whether `epoch` (counted from 0) ends with a checkpoint."""
        return (epoch + 1) % self.checkpoint_every == 0 or self.is_evaluated(epoch)
