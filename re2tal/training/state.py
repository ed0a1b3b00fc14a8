"""The whole state of a training, as a checkpoint holds it: taken from what is trained, and put back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from re2tal.reversible import headrooms, set_headrooms
from re2tal.training import random_state
from re2tal.training.annealing import set_coefficients
from re2tal.training.checkpoint import CheckpointError
from re2tal.training.distributed import Processes
from re2tal.training.progress import log
from re2tal.weights import place

__all__ = ["Position", "Trained", "capture", "position_in", "restore"]

_FIX = "resume with the config that the run began with"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training changes, in one process."""

    model: nn.Module
    average: nn.Module
    """The running average of its weights."""
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    processes: Processes


@dataclass
class Position:
    """How far a training is."""

    done: int = 0
    """Optimizer steps done."""
    skipped: int = 0
    """The latest steps in a row that were left out, since something in them was not finite."""
    window: list[dict[str, float]] = field(default_factory=list)
    """This process's losses of the steps that are not logged yet."""


def capture(trained: Trained, position: Position, *, steps_per_epoch: int) -> dict[str, Any]:
    """All that the next step depends on, of every process; to be called on all of them.

    The order of the clips and their augmentation are functions of seed, epoch and clip, so the position stands for
    them; random states are those of dropout.
    """
    processes = trained.processes
    epochs, steps = divmod(position.done, steps_per_epoch)
    return {
        "position": {"epochs": epochs, "steps": steps, "steps_per_epoch": steps_per_epoch},
        "training_weights": trained.model.state_dict(),
        "optimizer": trained.optimizer.state_dict(),
        "scaler": trained.scaler.state_dict(),
        "skipped": position.skipped,
        "random_states": processes.gather([random_state.capture(processes.device)]),
        "headrooms": processes.gather([[headrooms(model) for model in (trained.model, trained.average)]]),
        "windows": processes.gather([position.window]),
    }


def position_in(content: Mapping[str, Any]) -> tuple[int, int]:
    """Whole epochs and steps of the next one that were done when a checkpoint was written."""
    # Earlier versions saved after whole epochs alone.
    position = content.get("position") or {"epochs": content["epoch"] + 1, "steps": 0}
    return position["epochs"], position["steps"]


def restore(trained: Trained, content: Mapping[str, Any], *, path: Path, steps_per_epoch: int) -> Position:
    """Put back what `capture` took.

    Args:
        trained: of the same config, on any number of processes.
        content: of a checkpoint.
        path: its file, for messages.
        steps_per_epoch: of this training.

    Returns:
        Where it goes on.
    """
    if "optimizer" not in content:
        raise CheckpointError(f"{path} holds weights only; resume from an epoch_<n>.pth")
    done = _steps_done(content, path=path, steps_per_epoch=steps_per_epoch)
    place(content["training_weights"], trained.model, source=path, fix=_FIX)
    place(content["weights"], trained.average, source=path, fix=_FIX)
    try:
        trained.optimizer.load_state_dict(content["optimizer"])
    except ValueError as error:
        raise CheckpointError(
            f"{path} comes from a run that trained other parameters ({error}); freeze the same ones"
        ) from error
    trained.scaler.load_state_dict(content["scaler"])
    # For an evaluation that was missed; training sets them at every step.
    set_coefficients(trained.average, content.get("coefficients"))
    window = _restore_of_process(trained, content, path=path)
    return Position(done=done, skipped=content.get("skipped", 0), window=window)


def _steps_done(content: Mapping[str, Any], *, path: Path, steps_per_epoch: int) -> int:
    epochs, steps = position_in(content)
    if steps and content["position"]["steps_per_epoch"] != steps_per_epoch:
        raise CheckpointError(
            f"{path} was saved after {steps} of the {content['position']['steps_per_epoch']} steps of epoch {epochs}, "
            f"and an epoch now has {steps_per_epoch}; resume with the same training videos and training.batch_size, or "
            "from an epoch_<n>.pth"
        )
    return epochs * steps_per_epoch + steps


def _restore_of_process(trained: Trained, content: Mapping[str, Any], *, path: Path) -> list[dict[str, float]]:
    """Put back what differs from process to process; returns the losses that are not logged yet."""
    processes = trained.processes
    states = content["random_states"]
    # Checkpoints of earlier versions have no windows, and none of the oldest has headrooms: fixed-point formats are
    # then found again.
    windows = content.get("windows", [[] for _ in states])
    if len(states) != processes.world_size:
        log.warning(
            "%s comes from %d processes, this run has %d: dropout will differ from an undisturbed run",
            path,
            len(states),
            processes.world_size,
        )
        return [losses for window in windows for losses in window] if processes.is_main else []
    random_state.restore(states[processes.rank], device=processes.device)
    if "headrooms" in content:
        for model, values in zip((trained.model, trained.average), content["headrooms"][processes.rank], strict=True):
            try:
                set_headrooms(model, values or [])
            except ValueError as error:
                raise CheckpointError(f"{path} comes from another backbone: {error}; {_FIX}") from error
    return list(windows[processes.rank])
