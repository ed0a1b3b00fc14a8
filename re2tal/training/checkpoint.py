"""Files of weights: written whole or not at all, read without running code, checked before use."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["CheckpointError", "RunFolder", "load_checkpoint", "load_weights", "save_checkpoint"]

FORMAT = "re2tal-1"
_SHOWN = 12


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, and why."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes what."""

    path: Path

    @property
    def best(self) -> Path:
        """The weights of the best evaluated epoch."""
        return self.path / "checkpoint" / "best.pth"

    @property
    def metrics(self) -> Path:
        """One JSON object per logged step and per evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What was said on the way."""
        return self.path / "log.txt"

    def epoch(self, epoch: int) -> Path:
        """The whole state after `epoch` (counted from 0)."""
        return self.path / "checkpoint" / f"epoch_{epoch}.pth"

    def saved_epochs(self) -> list[int]:
        """The epochs that have a file, oldest first."""
        numbers = (file.stem.removeprefix("epoch_") for file in (self.path / "checkpoint").glob("epoch_*.pth"))
        return sorted(int(number) for number in numbers if number.isdigit())


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content`; a crash on the way leaves the file that was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of `save_checkpoint` onto the CPU; nothing in it is executed.

    It holds at least `weights` (those to evaluate), `config` (JSON) and `class_names`.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; give the path of an epoch_<n>.pth or best.pth")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a file of anything makes the reader fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({reason}); it may be cut off or of another program: take another"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of this package (its `format` is not {FORMAT!r}); "
            f"give a file that `re2tal train` wrote"
        )
    return content


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: Path) -> None:
    """Load `weights` into `model` if all names and shapes agree; raises a CheckpointError that lists those that do not.

    `source` is where the weights come from, for the message.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    missing = [f"{name} {shape}" for name, shape in expected.items() if name not in found]
    unknown = [f"{name} {shape}" for name, shape in found.items() if name not in expected]
    differing = [
        f"{name} is {found[name]} in the file, {shape} in the model"
        for name, shape in expected.items()
        if found.get(name, shape) != shape
    ]
    parts = {"only in the model": missing, "only in the file": unknown, "of another shape": differing}
    if any(parts.values()):
        raise CheckpointError(
            f"{source} belongs to another model than the config describes:"
            + "".join(_listing(title, lines) for title, lines in parts.items() if lines)
            + "\nuse the config it was trained with, or a checkpoint of this config"
        )
    model.load_state_dict(weights)


def _listing(title: str, lines: list[str]) -> str:
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return f"\n  {title} ({len(lines)}):" + "".join(f"\n    {line}" for line in lines[:_SHOWN] + more)
