"""Numbers that are not finite, and streams that do not come back: noticed in the step, traced to a module, kept."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.common.types import Batch, FeatureBatch, PixelBatch, TimeGrid
from re2tal.common.untrusted import some
from re2tal.reversible import Origin, StreamOverflowError, first_non_finite, first_to_differ
from re2tal.training import random_state
from re2tal.training.checkpoint import RunFolder, load_checkpoint, save_checkpoint
from re2tal.training.config import TrainingConfig
from re2tal.training.distributed import Processes
from re2tal.training.precision import autocast
from re2tal.training.progress import log

__all__ = ["AnomalyHandler", "TrainingError", "load_anomaly"]

_MOST_FILES = 3
"""Of the newest anomalies, for each process."""
_LARGEST_RECONSTRUCTION_ERROR = 1e-4
"""Exact streams come back with none at all."""


class TrainingError(ValueError):
    """Training that cannot go on, and why."""


class AnomalyHandler:
    """Judges every step of a training, and looks for the cause of what is wrong with it.

    All processes come to the same judgement, and run what is looked into at the same time: a model may count things
    over all of them.

    Args:
        model: bare, as the optimizer sees it.
        about: what a reader of the files needs to rebuild the model.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        config: TrainingConfig,
        processes: Processes,
        folder: RunFolder,
        about: Mapping[str, Any],
    ) -> None:
        self.model, self.config, self.processes, self.folder, self.about = model, config, processes, folder, about
        self._told: set[str] = set()
        """Chains whose reconstruction error has been warned about."""
        self.skipped = 0
        """Steps in a row that were left out so far."""
        self._step = 0
        self._buffers: list[Tensor] = []
        """As they were before the step."""
        self._micro_batch: Batch | None = None
        self._random_state: dict[str, Any] = {}
        self._is_suspect = False
        """Whether `_micro_batch` is where something went wrong; else it is the latest."""

    def begin(self, step: int) -> None:
        """Optimizer step `step`, counted from 1, begins."""
        self._step, self._is_suspect = step, False
        self._buffers = [buffer.detach().clone() for buffer in self.model.buffers()]

    def end(self) -> None:
        """The step is over; nothing of it is kept in memory."""
        self._micro_batch, self._buffers = None, []

    @contextmanager
    def watching(self, micro_batch: Batch, losses: Mapping[str, Tensor]) -> Iterator[None]:
        """Around the forward and backward pass of a micro-batch, which adds to `losses`.

        Raises:
            TrainingError: streams of a reversible chain have grown past what any fixed-point format holds.
        """
        if not self._is_suspect:
            self._micro_batch, self._random_state = micro_batch, random_state.capture(self.processes.device)
        try:
            yield
        except StreamOverflowError as error:
            path = self._save(None, {name: float(loss) for name, loss in losses.items()}, math.nan, None)
            raise TrainingError(f"step {self._step}, {self._videos()}: {error}; the state is in {path}") from error
        # With one micro-batch a step there is nothing to choose, and nothing to wait for.
        if self.config.accumulate > 1 and not self._is_finite(losses):
            self._is_suspect = True

    def _is_finite(self, losses: Mapping[str, Tensor]) -> bool:
        grads = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        total = torch.nn.utils.get_total_norm(grads) if grads else torch.zeros(())
        return math.isfinite(float(sum(losses.values(), total)))

    def judge(
        self, losses: Mapping[str, float], *, norm: float, scale: float | None, errors: Mapping[str, float]
    ) -> bool:
        """Whether the step has to be left out. Buffers are then as they were before it.

        Args:
            losses: of this process.
            norm: of the gradients over all processes, before clipping.
            scale: that the loss was multiplied by for fp16; None without. While it is above 1, gradients that are
                not finite are no anomaly: the scale is being looked for.
            errors: of reconstruction, see `reconstruction_errors`.

        Raises:
            TrainingError: training has to stop.
        """
        bad_gradients = not math.isfinite(norm) and (scale is None or scale < 1)
        lost = self._untold(errors)
        reports = self.processes.gather([(not _are_finite(losses) or bad_gradients, bool(lost))])
        if any(is_bad for is_bad, _ in reports):
            self._put_back()
            self._answer(losses, norm, scale)
            return True
        self.skipped = 0
        if any(is_lost for _, is_lost in reports):
            self._warn_of(lost, scale)
        return False

    def _put_back(self) -> None:
        with torch.no_grad():
            for buffer, before in zip(self.model.buffers(), self._buffers, strict=True):
                buffer.copy_(before)

    # Not finite

    def _answer(self, losses: Mapping[str, float], norm: float, scale: float | None) -> None:
        """Tell what went wrong and where; raise if training cannot or shall not go on."""
        origin = self._trace(scale)
        is_own = origin is not None or not _are_finite(losses)
        owners = [rank for rank, is_owner in enumerate(self.processes.gather([is_own])) if is_owner] or [0]
        path = self._save(origin, losses, norm, scale) if self.processes.rank in owners else None
        told = (f"{self._describe(origin, losses, norm)}; the state is in {path}", self._is_lasting(origin))
        gathered = self.processes.gather([told])
        reports = [gathered[rank] for rank in owners]
        message = f"step {self._step}: {'; '.join(text for text, _ in reports)}"
        self.skipped += 1
        if any(is_lasting for _, is_lasting in reports):
            raise TrainingError(f"{message}; go on from a checkpoint before that step, with lower learning rates")
        if self.config.on_non_finite == "stop":
            raise TrainingError(
                f"{message}; {self._advice(origin)}, or leave such steps out: training.on_non_finite=skip"
            )
        if self.skipped > self.config.max_skips:
            raise TrainingError(
                f"{message}; {self.skipped} steps in a row were like this, more than training.max_skips; "
                f"{self._advice(origin)}"
            )
        if self.processes.is_main:
            log.warning("%s; the step is left out (%d in a row)", message, self.skipped)

    def _describe(self, origin: Origin | None, losses: Mapping[str, float], norm: float) -> str:
        bad = {name: value for name, value in losses.items() if not math.isfinite(value)}
        what = f"the losses are {dict(losses)}" if bad else f"the norm of the gradients is {norm}"
        return f"{what} for {self._videos()}; {origin or self._no_origin()}"

    def _no_origin(self) -> str:
        if self.config.amp == "fp16" and self.processes.world_size > 1:
            return "all is finite when it is computed again: gradients overflowed on their way between the processes"
        return "all is finite when it is computed again, so some kernel does not repeat, or the hardware fails"

    def _videos(self) -> str:
        return some(self._micro_batch.video_ids) if self._micro_batch is not None else "no videos"

    @staticmethod
    def _is_lasting(origin: Origin | None) -> bool:
        """Whether every later step would be like this one."""
        return origin is not None and origin.kind == "parameter"

    def _advice(self, origin: Origin | None) -> str:
        if origin is not None and origin.kind == "input":
            return "look into the file (docs/reliability.md), and at these videos or their features"
        half = ", or set training.amp to bf16 or none" if self.config.amp == "fp16" else ""
        return f"look into the file (docs/reliability.md), lower the learning rates{half}"

    @contextmanager
    def _again(self) -> Iterator[None]:
        """Inside, the micro-batch meets the random state, and the model no gradients, as before."""
        with random_state.preserved(self.processes.device):
            random_state.restore(self._random_state, device=self.processes.device)
            yield

    def _loss(self, scale: float | None) -> Tensor:
        assert self._micro_batch is not None
        batch = self._micro_batch.ready_on(self.processes.device)
        with autocast(self.config.amp, device=self.processes.device):
            losses = self.model(batch)
        return losses["loss"] / self.config.accumulate * (1.0 if scale is None else scale)

    def _trace(self, scale: float | None) -> Origin | None:
        with self._again():
            return first_non_finite(self.model, lambda: self._loss(scale))

    # Streams

    def _untold(self, errors: Mapping[str, float]) -> dict[str, float]:
        """Chains whose streams did not come back, which have not been told of."""
        return {
            name: error
            for name, error in errors.items()
            if not error <= _LARGEST_RECONSTRUCTION_ERROR and name not in self._told
        }

    def _warn_of(self, lost: dict[str, float], scale: float | None) -> None:
        with self._again():
            culprit = first_to_differ(self.model, lambda: self._loss(scale))
        self._told |= lost.keys()
        cause = (
            f"{culprit} gives another result when it is computed again for the same input: it keeps a state, draws "
            "from other generators than torch's, or runs kernels that do not repeat"
            if culprit is not None
            else "nothing differs when the step is run again, so a kernel does not repeat every time, or parameters "
            "were changed between forward and backward"
        )
        for name, error in lost.items():
            log.warning(
                "step %d: recovered streams of %s are off by %.2e of their largest value, so gradients are wrong: %s",
                self._step,
                name,
                error,
                cause,
            )

    # Kept

    def _save(self, origin: Origin | None, losses: Mapping[str, float], norm: float, scale: float | None) -> Path:
        assert self._micro_batch is not None
        own = f"_rank{self.processes.rank}" if self.processes.world_size > 1 else ""
        path = self.folder.path / "faults" / f"step_{self._step:06d}{own}.pth"
        content = {
            **self.about,
            "weights": self.model.state_dict(),
            "step": self._step,
            "losses": dict(losses),
            "gradient_norm": norm,
            "amp": self.config.amp,
            "scale": scale,
            "origin": None if origin is None else asdict(origin),
            "random_state": self._random_state,
            "batch": {
                **vars(self._micro_batch.ready_on(self.processes.device).to("cpu")),
                "grids": tuple(asdict(grid) for grid in self._micro_batch.grids),
            },
        }
        save_checkpoint(path, content)
        files = sorted(file for file in path.parent.iterdir() if re.fullmatch(rf"step_\d+{own}\.pth", file.name))
        for old in files[:-_MOST_FILES]:
            old.unlink()
        return path


def load_anomaly(path: Path) -> tuple[dict[str, Any], Batch]:
    """Read a file that a faulty step has left; nothing in it is executed.

    Returns:
        What it holds, and its batch, on the CPU.
    """
    content = load_checkpoint(path)
    batch = content["batch"]
    kind = FeatureBatch if "features" in batch else PixelBatch
    return content, kind(**{**batch, "grids": tuple(TimeGrid(**grid) for grid in batch["grids"])})


def _are_finite(losses: Mapping[str, float]) -> bool:
    return all(map(math.isfinite, losses.values()))
