"""A run as TensorBoard shows it: what `metrics.jsonl` holds, as scalars, and pictures."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from re2tal.training.checkpoint import RunFolder
from re2tal.training.config import TrainingConfig
from re2tal.training.distributed import Processes

__all__ = ["TensorBoardError", "TensorBoardLogger", "tensorboard_logger"]


class TensorBoardError(ValueError):
    """TensorBoard is asked for and not installed."""


class TensorBoardLogger:
    """Writes event files into a folder, for `tensorboard --logdir`.

    Records go in as they go into `metrics.jsonl`; every value stands at the optimizer step that it was measured after.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise TensorBoardError(
                "training.tensorboard=True needs TensorBoard, which is not installed; install it with "
                "pip install 're2tal[tensorboard]', or set training.tensorboard=False"
            ) from None
        self._new_writer = SummaryWriter
        self._writer: Any = None
        self.folder = folder
        self.step = 0

    @contextmanager
    def writing(self, *, after_step: int) -> Iterator[None]:
        """Write, from the step behind `after_step` on; what an earlier run wrote of later steps is hidden."""
        self.step = after_step
        self._writer = self._new_writer(str(self.folder), purge_step=after_step + 1)
        try:
            yield
        finally:
            self._writer.close()
            self._writer = None

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a record of `metrics.jsonl`: of a step, or of an evaluation after the latest step."""
        self.step = record.get("step", self.step)
        for tag, value in scalars(record).items():
            self._writer.add_scalar(tag, value, self.step)
        if record["kind"] == "evaluation":
            self._writer.flush()

    def write_pictures(self, pictures: Mapping[str, np.ndarray]) -> None:
        """Add pictures (H, W, 3) uint8, by their names."""
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, self.step, dataformats="HWC")
        self._writer.flush()


def tensorboard_logger(config: TrainingConfig, *, folder: RunFolder, processes: Processes) -> TensorBoardLogger | None:
    """The logger of a run; None on other processes than the main one, or if the config wants none."""
    return TensorBoardLogger(folder.tensorboard) if config.tensorboard and processes.is_main else None


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a record by the names that TensorBoard groups them by, such as `loss/classification`."""
    named: dict[str, float] = {}
    for key, value in record.items():
        if key in ("kind", "epoch", "step") or value is None:
            continue
        if key == "learning_rate":
            named |= {f"learning_rate/{group}": rate for group, rate in value.items()}
        elif key == "loss":
            named["loss/sum"] = value
        elif key.endswith("_loss"):
            named[f"loss/{key.removesuffix('_loss')}"] = value
        elif key == "average_mAP":
            named["mAP/average"] = value
        elif key.startswith("mAP@"):
            named[f"mAP/tIoU_{key.removeprefix('mAP@')}"] = value
        else:
            named[f"training/{key}"] = value
    return named
