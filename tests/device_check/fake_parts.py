"""Parts of a check that end in every way there is."""

import os
import signal
import time

import torch

from re2tal.experiments.device_check.context import PartContext, attempted


def finds(context: PartContext, *, what: str) -> None:
    context.keep({"found": what})


def fails(context: PartContext) -> None:
    context.keep({"found": "before it failed"})
    raise RuntimeError("CUDA error: an illegal memory access\nwas encountered")


def is_killed(context: PartContext) -> None:
    context.keep({"found": "before it was killed"})
    print("the kernel says that memory is short")
    os.kill(os.getpid(), signal.SIGKILL)


def runs_out_of_memory(context: PartContext) -> None:
    context.keep({"found": attempted(lambda: torch.empty(2**60), device=context.device)[1]})
    torch.empty(2**60)


def hangs(context: PartContext) -> None:
    time.sleep(600)
