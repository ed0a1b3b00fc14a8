"""The whole state of a training, as a checkpoint holds it: taken from a trainer, and put back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from re2tal.training import random_state
from re2tal.training.annealing import set_coefficients
from re2tal.training.checkpoint import CheckpointError
from re2tal.training.progress import log
from re2tal.weights import place

if TYPE_CHECKING:
    from re2tal.training.loop import Trainer

__all__ = ["capture", "position_in", "restore"]

_FIX = "resume with the config that the run began with"


def capture(trainer: "Trainer") -> dict[str, Any]:
    """All that the next step depends on, of every process; to be called on all of them.

    The order of the clips and their augmentation are functions of seed, epoch and clip, so the position stands for
    them; random states are those of dropout.
    """
    processes = trainer.processes
    epochs, steps = divmod(trainer.done, trainer.loader.steps_per_epoch)
    models = (trainer.model, trainer.ema.module)
    return {
        "position": {"epochs": epochs, "steps": steps, "steps_per_epoch": trainer.loader.steps_per_epoch},
        "training_weights": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "skipped": trainer.faults.skipped,
        "random_states": processes.gather([random_state.capture(processes.device)]),
        "headrooms": processes.gather([[headrooms(model) for model in models]]),
        # Of the steps that are not logged yet.
        "windows": processes.gather([trainer.window]),
    }


def position_in(content: Mapping[str, Any]) -> tuple[int, int]:
    """Whole epochs and steps of the next one that were done when a checkpoint was written."""
    # Earlier versions saved after whole epochs alone.
    position = content.get("position") or {"epochs": content["epoch"] + 1, "steps": 0}
    return position["epochs"], position["steps"]


def restore(trainer: "Trainer", content: Mapping[str, Any], *, path: Path) -> None:
    """Put back what `capture` took.

    Args:
        trainer: of the same config, on any number of processes.
        content: of a checkpoint.
        path: its file, for messages.
    """
    if "optimizer" not in content:
        raise CheckpointError(f"{path} holds weights only; resume from an epoch_<n>.pth")
    trainer.done = _steps_done(content, path=path, steps_per_epoch=trainer.loader.steps_per_epoch)
    place(content["training_weights"], trainer.model, source=path, fix=_FIX)
    place(content["weights"], trainer.ema.module, source=path, fix=_FIX)
    try:
        trainer.optimizer.load_state_dict(content["optimizer"])
    except ValueError as error:
        raise CheckpointError(
            f"{path} comes from a run that trained other parameters ({error}); freeze the same ones"
        ) from error
    trainer.scaler.load_state_dict(content["scaler"])
    trainer.faults.skipped = content.get("skipped", 0)
    # For an evaluation that was missed; training sets them at every step.
    set_coefficients(trainer.ema.module, content.get("coefficients"))
    _restore_of_process(trainer, content, path=path)


def _steps_done(content: Mapping[str, Any], *, path: Path, steps_per_epoch: int) -> int:
    epochs, steps = position_in(content)
    if steps and content["position"]["steps_per_epoch"] != steps_per_epoch:
        raise CheckpointError(
            f"{path} was saved after {steps} of the {content['position']['steps_per_epoch']} steps of epoch {epochs}, "
            f"and an epoch now has {steps_per_epoch}; resume with the same training videos and training.batch_size, or "
            "from an epoch_<n>.pth"
        )
    return epochs * steps_per_epoch + steps


def _restore_of_process(trainer: "Trainer", content: Mapping[str, Any], *, path: Path) -> None:
    """What differs from process to process."""
    processes = trainer.processes
    states = content["random_states"]
    # Checkpoints of earlier versions have no windows, and none of the oldest has headrooms: the grids then find
    # their own again.
    windows = content.get("windows", [[] for _ in states])
    if len(states) != processes.world_size:
        log.warning(
            "%s comes from %d processes, this run has %d: dropout will differ from an undisturbed run",
            path,
            len(states),
            processes.world_size,
        )
        trainer.window = [losses for window in windows for losses in window] if processes.is_main else []
        return
    random_state.restore(states[processes.rank], device=processes.device)
    trainer.window = list(windows[processes.rank])
    if rooms := content.get("headrooms"):
        for model, values in zip((trainer.model, trainer.ema.module), rooms[processes.rank], strict=True):
            try:
                _set_headrooms(model, values)
            except ValueError as error:
                raise CheckpointError(f"{path} comes from another backbone: {error}; {_FIX}") from error


def headrooms(model: nn.Module) -> list[int] | None:
    """Of a backbone that recomputes its activations: how far its streams may grow."""
    return getattr(model.backbone, "headrooms", None)


def _set_headrooms(model: nn.Module, values: list[int] | None) -> None:
    backbone: Any = model.backbone
    if values is not None:
        backbone.headrooms = values
