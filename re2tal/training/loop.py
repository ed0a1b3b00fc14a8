"""The training loop: batches in, better weights out, nothing lost on the way.

The model takes a `Batch` and, in training mode, returns its losses by name, with their sum as `loss`.
What is evaluated and kept as best is the running average of the weights.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from re2tal.common.types import Batch
from re2tal.reversible import reconstruction_error, reconstruction_tensors
from re2tal.training import random_state
from re2tal.training.annealing import Annealing, coefficients
from re2tal.training.anomalies import AnomalyHandler, TrainingError
from re2tal.training.checkpoint import RunFolder, load_checkpoint, save_checkpoint
from re2tal.training.config import TrainingConfig
from re2tal.training.disk import require_room, size_of
from re2tal.training.distributed import Processes
from re2tal.training.ema import EMA
from re2tal.training.optimizer import build_optimizer
from re2tal.training.precision import autocast, chosen_precision, warn_of_slow_precision
from re2tal.training.progress import Progress, Records, log
from re2tal.training.resuming import tidy
from re2tal.training.schedule import WarmupCosine
from re2tal.training.state import Position, Trained, capture, restore
from re2tal.training.stopping import Stopped, StopSignals
from re2tal.training.tensorboard import TensorBoardLogger

__all__ = ["BEST_BY", "Evaluate", "Trainer", "TrainingError", "TrainingLoader"]

Evaluate = Callable[[nn.Module], Mapping[str, float]]

BEST_BY = "average_mAP"
"""The figure of an evaluation that decides which epoch of a detector is the best."""


class TrainingLoader(Protocol):
    """What the loop needs to know of its data: `accumulate` micro-batches for every optimizer step."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""

    def set_epoch(self, epoch: int, *, first_step: int = 0) -> None:
        """Choose the epoch's order and random draws, and the step to begin at."""

    def __iter__(self) -> Iterator[Batch]:
        """This process's micro-batches of every batch."""


class Trainer:
    """A model in training, with all that has to be kept to go on later.

    Args:
        model: on its device; `model.backbone` learns at its own rate.
        loader: the training clips.
        folder: where checkpoints, log and metrics go.
        about: what a reader of a checkpoint needs to rebuild the model, of plain types.
        best_by: the figure of an evaluation that decides which epoch is the best; the higher, the better.
        tensorboard: gets what is logged, too; on the main process alone.
        after_best: is given what is written of an evaluated epoch that is the best so far.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        config: TrainingConfig,
        loader: TrainingLoader,
        processes: Processes,
        folder: RunFolder,
        about: Mapping[str, Any],
        best_by: str = BEST_BY,
        tensorboard: TensorBoardLogger | None = None,
        after_best: Callable[[Mapping[str, Any]], None] = lambda checkpoint: None,
    ) -> None:
        self.best_by, self._after_best = best_by, after_best
        warn_of_slow_precision(config.amp, device=processes.device)
        config = config.model_copy(update={"amp": chosen_precision(config.amp, device=processes.device)})
        self.config, self.loader, self.processes, self.folder, self.about = config, loader, processes, folder, about
        self.model = model
        self.parallel = processes.parallel(model, half_gradients=config.amp == "fp16")
        # After DDP, which gives every process the main one's weights.
        self.ema = EMA(model, decay=config.ema_decay)
        self.optimizer = build_optimizer(model, config=config)
        steps = loader.steps_per_epoch
        self.schedule = WarmupCosine(
            self.optimizer,
            minimum=config.min_learning_rate,
            warmup_steps=round(config.warmup_epochs * steps),
            total_steps=(config.cosine_epochs or config.epochs) * steps,
        )
        self.annealing = Annealing((model, self.ema.module), steps=round(config.anneal_epochs * steps))
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=config.amp == "fp16")
        self.anomalies = AnomalyHandler(model, config=config, processes=processes, folder=folder, about=about)
        self.records = Records(folder.metrics)
        self._tensorboard = tensorboard
        self._trained = Trained(
            model=model,
            average=self.ema.module,
            optimizer=self.optimizer,
            scaler=self.scaler,
            processes=processes,
        )
        self.done = 0
        """Optimizer steps done."""
        self.window: list[dict[str, float]] = []
        """What `step` returned since the last line of the log."""
        self.best: float | None = None
        self._stop = StopSignals(is_told=processes.is_main)
        self._saved_at = time.monotonic()

    @property
    def next_epoch(self) -> int:
        """The epoch that the next step belongs to."""
        return self.done // self.loader.steps_per_epoch

    def run(
        self,
        evaluate: Evaluate | None,
        *,
        after_epoch: Callable[[], None] | None = None,
        console: Console | None = None,
    ) -> None:
        """Train up to the last epoch, or until SIGTERM or SIGINT asks to stop.

        Args:
            evaluate: is called with the averaged model, in eval mode, on every process.
            after_epoch: is called on every process when an epoch's steps are done.
            console: of a terminal, for a live bar.

        Raises:
            Stopped: a signal came; everything up to the last step is saved.
        """
        steps = self.loader.steps_per_epoch
        if self.processes.is_main:
            self._begin_files()
        progress = Progress(
            total_steps=self.config.epochs * steps, clips_per_step=self.config.batch_size, console=console
        )
        tensorboard = self._tensorboard
        writing = nullcontext() if tensorboard is None else tensorboard.writing(after_step=self.done)
        self._saved_at = time.monotonic()
        with self._stop, progress, writing:
            if evaluate is not None and self._was_stopped_before_evaluating():
                self._evaluate(self.next_epoch - 1, evaluate)
            for epoch in range(self.next_epoch, self.config.epochs):
                self._train_epoch(epoch, progress)
                if after_epoch is not None:
                    after_epoch()
                is_saved = self.config.is_saved(epoch)
                if is_saved:
                    self._save_epoch(epoch)
                self._heed_clock_and_signals(is_saved=is_saved)
                if evaluate is not None and self.config.is_evaluated(epoch):
                    self._evaluate(epoch, evaluate)
        if self.processes.is_main:
            # The last epoch has a file of its own.
            self.folder.last.unlink(missing_ok=True)
            self.folder.previous.unlink(missing_ok=True)

    def _begin_files(self) -> None:
        steps = self.loader.steps_per_epoch
        tidy(self.folder, position=divmod(self.done, steps))
        self._require_room()
        self.records.keep(epochs=self.next_epoch, step=self.done)
        scores = [record[self.best_by] for record in self.records.read() if record["kind"] == "evaluation"]
        # The best file may be of an evaluation that is not recorded and so comes again.
        self.best = max(scores) if scores and self.folder.best.is_file() else None

    def _require_room(self) -> None:
        """What checkpoints will take: the weights, their average, and, of what is trained, Adam's two moments."""
        weights = size_of(self.model.state_dict())
        state = 2 * (
            weights + sum(parameter.nbytes for parameter in self.model.parameters() if parameter.requires_grad)
        )
        epochs = range(self.next_epoch, self.config.epochs)
        saved = sum(map(self.config.is_saved, epochs))
        kept = min(saved, self.config.keep_checkpoints or saved)
        if not saved:
            return
        warning = require_room(self.folder.path, least=state + weights, most=(kept + 2) * state + weights)
        if warning is not None:
            log.warning("%s", warning)

    # One epoch, one step

    def _train_epoch(self, epoch: int, progress: Progress) -> None:
        steps = self.loader.steps_per_epoch
        first = self.done % steps
        self.loader.set_epoch(epoch, first_step=first)
        self.parallel.train()
        micro_batches = iter(self.loader)
        progress.resume()
        for step in range(first, steps):
            self.schedule.set_step(self.done)
            self.annealing.set_step(self.done)
            self.window.append(self.step(islice(micro_batches, self.config.accumulate)))
            self.done += 1
            progress.step(self.done, losses={"loss": self.window[-1]["loss"]})
            is_last = step == steps - 1
            if self.done % self.config.log_every == 0 or is_last:
                self._log_steps(epoch, progress)
                self.window.clear()
            if not is_last and self._heed_clock_and_signals():
                progress.resume()

    def step(self, micro_batches: Iterable[Batch]) -> dict[str, float]:
        """One optimizer step; returns this process's losses and the norm of the gradients before clipping.

        Raises:
            TrainingError: they are not finite, and the config says to stop.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.anomalies.begin(self.schedule.step + 1)
        means: dict[str, Tensor] = {}
        for number, micro_batch in enumerate(micro_batches, start=1):
            with (
                self.anomalies.watching(micro_batch, means),
                self._exchange_gradients(number == self.config.accumulate),
            ):
                batch = micro_batch.ready_on(self.processes.device)
                with autocast(self.config.amp, device=self.processes.device):
                    losses: Mapping[str, Tensor] = self.parallel(batch)
                for name, value in losses.items():
                    share = value.detach().float() / self.config.accumulate
                    means[name] = means[name] + share if name in means else share
                # Also of a loss that is not finite: the other processes wait for its gradients.
                self.scaler.scale(losses["loss"] / self.config.accumulate).backward()
        figures = self._update(means)
        self.anomalies.end()
        return figures

    def _exchange_gradients(self, now: bool) -> AbstractContextManager[object]:
        """Under DDP, average gradients over the processes only when the last micro-batch has added its own."""
        if isinstance(self.parallel, DistributedDataParallel) and not now:
            return self.parallel.no_sync()
        return nullcontext()

    def _update(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """Returns the losses and the norm of the gradients before clipping."""
        self.scaler.unscale_(self.optimizer)
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.config.clip_grad_norm or math.inf)
        # A device is waited for whenever it is asked for values, so all are asked for at once.
        means, norms, errors = _values(losses, {"gradient_norm": norm}, reconstruction_tensors(self.model))
        figures = {**means, **norms}
        scale = self.scaler.get_scale() if self.scaler.is_enabled() else None
        if self.anomalies.judge(means, norm=norms["gradient_norm"], scale=scale, errors=errors):
            self.scaler.update(scale)
            return figures
        # With fp16 a step of infinite gradients is left out, and the scale lowered.
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update(self.model)
        return figures

    # What is told

    def _log_steps(self, epoch: int, progress: Progress) -> None:
        parts = self.processes.gather(self.window)
        done = self.done
        if not self.processes.is_main:
            return
        means = {name: _mean(part[name] for part in parts) for name in parts[0]}
        log.info("epoch %d step %d/%d  %s", epoch, done, progress.total_steps, progress.describe(done, losses=means))
        # Where all steps were left out nothing is finite, which JSON has no word for.
        finite = {name: value if math.isfinite(value) else None for name, value in means.items()}
        record: dict[str, Any] = {"kind": "step", "epoch": epoch, "step": done, **finite}
        record["learning_rate"] = {group["name"]: group["lr"] for group in self.optimizer.param_groups}
        record["clips_per_second"] = progress.clips_per_second
        if (error := reconstruction_error(self.model, warn_above=math.inf)) is not None:
            record["reconstruction_error"] = error
        if self.annealing.steps and (pair := coefficients(self.model)) is not None:
            record["alpha"], record["beta"] = pair
        if self.processes.device.type == "cuda":
            record["peak_memory_mib"] = torch.cuda.max_memory_allocated() / 2**20
        self._record(record)

    def _record(self, record: Mapping[str, Any]) -> None:
        self.records.write(record)
        if self._tensorboard is not None:
            self._tensorboard.write(record)

    # What is kept

    def _evaluate(self, epoch: int, evaluate: Evaluate) -> None:
        # Running statistics follow each process's own clips.
        self.processes.broadcast(list(self.ema.module.buffers()))
        with random_state.preserved(self.processes.device), torch.no_grad(), self._stop.at_once():
            metrics = dict(evaluate(self.ema.module))
        if not self.processes.is_main:
            return
        if self.best is None or metrics[self.best_by] > self.best:
            self.best = metrics[self.best_by]
            best = {**self._weights(epoch), "metrics": metrics}
            save_checkpoint(self.folder.best, best)
            self._after_best(best)
            log.info("epoch %d is the best so far: %s", epoch, self.folder.best)
        # Last: what is recorded is not evaluated again when the run is resumed.
        self._record({"kind": "evaluation", "epoch": epoch, **metrics})

    def _was_stopped_before_evaluating(self) -> bool:
        last, started = divmod(self.done, self.loader.steps_per_epoch)
        last -= 1
        done = any(record["kind"] == "evaluation" and record["epoch"] == last for record in self.records.read())
        return self.processes.from_main(not started and last >= 0 and self.config.is_evaluated(last) and not done)

    def _weights(self, epoch: int) -> dict[str, Any]:
        average = self.ema.module
        return {
            **self.about,
            "epoch": epoch,
            "weights": average.state_dict(),
            "coefficients": coefficients(average),
        }

    def _state(self) -> dict[str, Any]:
        position = Position(done=self.done, skipped=self.anomalies.skipped, window=self.window)
        return capture(self._trained, position, steps_per_epoch=self.loader.steps_per_epoch)

    def _save_epoch(self, epoch: int) -> None:
        state = self._state()
        if self.processes.is_main:
            save_checkpoint(self.folder.epoch(epoch), {**self._weights(epoch), **state})
            if self.config.keep_checkpoints is not None:
                for old in self.folder.saved_epochs()[: -self.config.keep_checkpoints]:
                    self.folder.epoch(old).unlink()
        self._saved_at = time.monotonic()

    def _heed_clock_and_signals(self, *, is_saved: bool = False) -> bool:
        """Save `last.pth` if it is time, and leave if a signal asked to: all processes after the same step.

        Args:
            is_saved: this step has a file.

        Returns:
            Whether something was saved.
        """
        is_due = time.monotonic() - self._saved_at >= 60 * self.config.checkpoint_minutes
        asked, due = self.processes.largest(self._stop.asked, int(self.processes.is_main and is_due))
        must_save = bool(asked or due) and not is_saved
        if must_save:
            self._save_last()
        if asked:
            stopped = Stopped(asked)
            if self.processes.is_main:
                log.warning(
                    "stopped by %s after step %d, which is saved; go on with --resume auto",
                    stopped.signal.name,
                    self.done,
                )
            raise stopped
        return must_save

    def _save_last(self) -> None:
        state = self._state()
        if self.processes.is_main:
            if self.folder.last.is_file():
                self.folder.last.replace(self.folder.previous)
            epoch = (self.done - 1) // self.loader.steps_per_epoch
            save_checkpoint(self.folder.last, {**self._weights(epoch), **state})
        self._saved_at = time.monotonic()

    def resume(self, path: Path) -> None:
        """Go on where `path`, a whole state, was written: on the CPU bit for bit as if never stopped."""
        steps = self.loader.steps_per_epoch
        position = restore(self._trained, load_checkpoint(path), path=path, steps_per_epoch=steps)
        self.done, self.window, self.anomalies.skipped = position.done, position.window, position.skipped
        epoch, step = divmod(self.done, self.loader.steps_per_epoch)
        behind = f" behind its step {step}" if step else ""
        log.info("resumed from %s, next is epoch %d of %d%s", path, epoch, self.config.epochs, behind)
        if epoch >= self.config.epochs:
            log.warning("nothing is left to train; raise training.epochs to go on")


def _values(*groups: Mapping[str, Tensor]) -> list[dict[str, float]]:
    """Of scalars on one or more devices."""
    scalars = [scalar.detach().float() for group in groups for scalar in group.values()]
    values = iter(torch.stack([scalar.to(scalars[0].device) for scalar in scalars]).tolist())
    return [{name: next(values) for name in group} for group in groups]


def _mean(values: Iterable[float]) -> float:
    """Of those that are finite: steps may have been left out."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
