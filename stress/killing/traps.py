"""The process that is killed: it wraps functions, and the package that it then runs knows nothing of this."""

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Kill:
    """How a process ends."""

    point: str
    """One of `POINTS`, or "time"."""
    count: int = 1
    """The pass of the point that it does not survive; of "time", hundredths of a second after training has begun."""
    signal: int = signal.SIGKILL
    """0: it raises an error of its own."""
    rank: int = 0
    """Of several processes, the one that it happens to."""


class Trap:
    """Ends the process when it has been passed often enough, also from within a loader process."""

    def __init__(self, kill: Kill) -> None:
        self.left, self.signal, self.process = kill.count, kill.signal, os.getpid()

    def is_sprung(self) -> bool:
        self.left -= 1
        return self.left == 0

    def end(self) -> None:
        if not self.signal:
            raise RuntimeError("made to fail")
        os.kill(self.process, self.signal)
        if os.getpid() != self.process:
            os._exit(1)  # a loader process would live on for seconds

    def spring(self) -> None:
        if self.is_sprung():
            self.end()


def _before(owner: Any, name: str) -> Callable[[Trap], None]:
    def arm(trap: Trap) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            trap.spring()
            return original(*arguments, **options)

        setattr(owner, name, wrapped)

    return arm


def _after(owner: Any, name: str) -> Callable[[Trap], None]:
    def arm(trap: Trap) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            trap.spring()
            return result

        setattr(owner, name, wrapped)

    return arm


def _in_backward(trap: Trap) -> None:
    """When half of the parameters have their gradients."""
    from re2tal.training import Trainer

    original = Trainer.__init__

    def wrapped(self: Trainer, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        parameters[len(parameters) // 2].register_post_accumulate_grad_hook(lambda _: trap.spring())

    Trainer.__init__ = wrapped  # type: ignore[method-assign]


def _in_saving(trap: Trap) -> None:
    """When half of a checkpoint is on the disk."""
    original = torch.save

    def wrapped(content: Any, file: Any) -> None:
        if trap.is_sprung():
            whole = io.BytesIO()
            original(content, whole)
            file.write(whole.getvalue()[: whole.tell() // 2])
            file.flush()
            trap.end()
        original(content, file)

    torch.save = wrapped


def _in_recording(trap: Trap) -> None:
    """When half of a line is written."""
    from re2tal.training import Records

    original = Records.write

    def wrapped(self: Records, record: Any) -> None:
        if trap.is_sprung():
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record)[:40])
            trap.end()
        original(self, record)

    Records.write = wrapped  # type: ignore[method-assign]


def _at_time(trap: Trap) -> None:
    """Some time after training has begun."""
    from re2tal.training import Trainer

    original = Trainer.run

    def wrapped(self: Trainer, *arguments: Any, **options: Any) -> None:
        timer = threading.Timer(trap.left / 100, trap.end)
        timer.daemon = True
        timer.start()
        original(self, *arguments, **options)

    Trainer.run = wrapped  # type: ignore[method-assign]


def _points() -> dict[str, Callable[[Trap], None]]:
    from re2tal.data import TrainingSet
    from re2tal.experiments import experiment
    from re2tal.networks.detector import Detector
    from re2tal.training import EMA, loop

    return {
        "decoding": _before(TrainingSet, "_clip"),
        "forward": _after(Detector, "forward"),
        "backward": _in_backward,
        "optimizer": _before(EMA, "update"),  # the weights have changed, their average has not
        "recording": _in_recording,
        "saving": _in_saving,
        "syncing": _before(os, "fsync"),  # a file is written and has not got its name
        "renaming": _after(Path, "replace"),
        "evaluation": _before(experiment.Tester, "measure"),
        "restoring": _after(loop, "restore"),
        "time": _at_time,
    }


POINTS = (
    "decoding", "forward", "backward", "optimizer", "recording", "saving", "syncing", "renaming", "evaluation",
    "restoring", "time",
)  # fmt: skip


def be_killed(kills: Sequence[Kill], arguments: Sequence[str]) -> None:
    """Run `re2tal` with `arguments` in this process; the n-th start under torchrun has the n-th kill."""
    from re2tal import cli

    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    if attempt < len(kills) and int(os.environ.get("RANK", 0)) == kills[attempt].rank:
        _points()[kills[attempt].point](Trap(kills[attempt]))
    sys.argv = ["re2tal", *arguments]
    cli.main()


def killed_command(kills: Sequence[Kill], arguments: Sequence[str]) -> list[str]:
    """This file with arguments that make it `be_killed`."""
    return [__file__, json.dumps([asdict(kill) for kill in kills]), *arguments]


if __name__ == "__main__":
    be_killed([Kill(**kill) for kill in json.loads(sys.argv[1])], sys.argv[2:])
