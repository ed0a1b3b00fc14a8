"""Where a run writes what, and its checkpoints: written whole or not at all, read without running code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from re2tal.common.atomic import atomic_path
from re2tal.training.disk import size_of, telling_of_full_disk
from re2tal.weights import CHECKPOINT_FORMAT, WeightsError, load_pickle, require_intact

__all__ = [
    "CheckpointError",
    "RunFolder",
    "load_checkpoint",
    "read_checkpoint",
    "require_checkpoint",
    "save_checkpoint",
]


class CheckpointError(WeightsError):
    """A checkpoint that cannot be used, and why."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes what."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the files below."""
        return self.path / "checkpoint"

    @property
    def best(self) -> Path:
        """The weights of the best evaluated epoch."""
        return self.checkpoints / "best.pth"

    @property
    def adapter(self) -> Path:
        """What was trained of `best`, if that is a part of the backbone."""
        return self.checkpoints / "adapter.safetensors"

    @property
    def last(self) -> Path:
        """The whole state in the middle of an epoch, replaced from time to time."""
        return self.checkpoints / "last.pth"

    @property
    def previous(self) -> Path:
        """What `last` was before."""
        return self.checkpoints / "previous.pth"

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
    def tensorboard(self) -> Path:
        """Event files of TensorBoard."""
        return self.path / "tensorboard"

    @property
    def log(self) -> Path:
        """What was said on the way."""
        return self.path / "log.txt"

    def epoch(self, epoch: int) -> Path:
        """The whole state after `epoch` (counted from 0)."""
        return self.checkpoints / f"epoch_{epoch}.pth"

    def saved_epochs(self) -> list[int]:
        """The epochs that have a file, oldest first."""
        numbers = (file.stem.removeprefix("epoch_") for file in self.checkpoints.glob("epoch_*.pth"))
        return sorted(int(number) for number in numbers if number.isdigit())

    def whole_states(self) -> list[Path]:
        """The files that a run can go on from, if they are good, in no order."""
        return [
            *map(self.epoch, self.saved_epochs()),
            *(path for path in (self.last, self.previous) if path.is_file()),
        ]


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content`; a crash on the way leaves the file that was there before.

    Raises:
        DiskFullError: the disk is full.
    """
    needed = size_of(content)
    with (
        telling_of_full_disk(path, needed=needed),
        atomic_path(path) as unfinished,
        unfinished.open("wb") as file,
    ):
        torch.save({"format": CHECKPOINT_FORMAT, **content}, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of `save_checkpoint` onto the CPU and compare its checksums; nothing in it is executed.

    It holds at least `weights` (those to evaluate), `config` (JSON) and `class_names`.
    """
    content = read_checkpoint(path)
    require_intact(path)
    return content


def require_checkpoint(path: Path) -> None:
    """Refuse what is no file; of a run's folder, its best weights are named."""
    if path.is_file():
        return
    best = next((best for best in (RunFolder(path).best, path / "best.pth") if best.is_file()), None)
    what = f"{path} is a folder" if path.is_dir() else f"there is no checkpoint {path}"
    raise CheckpointError(f"{what}; give the path of {best or 'an epoch_<n>.pth or best.pth'}")


def read_checkpoint(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint without checking that its bytes are those that were written.

    Args:
        path: of the file.
        mmap: leave tensors on disk until they are used.
    """
    require_checkpoint(path)
    content = load_pickle(path, mmap=mmap)
    if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of this package (its `format` is not {CHECKPOINT_FORMAT!r}); give a file that "
            "`re2tal train` wrote; weights of other programs are trained from with backbone.pretrained"
        )
    return content
