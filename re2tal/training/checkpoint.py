"""Where a run writes what, and its checkpoints: written whole or not at all, read without running code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from re2tal.weights import CHECKPOINT_FORMAT, WeightsError, load_pickle, written_whole

__all__ = ["CheckpointError", "RunFolder", "load_checkpoint", "save_checkpoint"]


class CheckpointError(WeightsError):
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
    def config(self) -> Path:
        """Every setting of the training, as JSON."""
        return self.path / "config.json"

    @property
    def tested_config(self) -> Path:
        """Every setting of the latest test."""
        return self.path / "tested_config.json"

    @property
    def board(self) -> Path:
        """Event files of TensorBoard."""
        return self.path / "tensorboard"

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
    with written_whole(path) as unfinished, unfinished.open("wb") as file:
        torch.save({"format": CHECKPOINT_FORMAT, **content}, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of `save_checkpoint` onto the CPU; nothing in it is executed.

    It holds at least `weights` (those to evaluate), `config` (JSON) and `class_names`.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; give the path of an epoch_<n>.pth or best.pth")
    content = load_pickle(path)
    if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of this package (its `format` is not {CHECKPOINT_FORMAT!r}); give a file that "
            "`re2tal train` wrote; weights of other programs are trained from with backbone.pretrained"
        )
    return content
