"""What to change when training has run out of memory."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from re2tal.common.memory_size import format_memory
from re2tal.config import ExperimentConfig
from re2tal.experiments.planning.memory import available_memory, is_lack_of_memory
from re2tal.experiments.planning.plan import what_fits

__all__ = ["OutOfMemory", "explaining_lack_of_memory"]


class OutOfMemory(ValueError):
    """There is not enough memory for a step of training; says what would fit."""


@contextmanager
def explaining_lack_of_memory(config: ExperimentConfig, *, device: torch.device, processes: int) -> Iterator[None]:
    """Inside, running out of memory is answered with settings that would fit.

    Raises:
        OutOfMemory: instead of PyTorch's error.
    """
    memory = available_memory(device)
    try:
        yield
        return
    except RuntimeError as error:
        if not is_lack_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0]
    # The error is gone, and with it the tensors of the step that failed.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise OutOfMemory(_message(config, reason, memory=memory, device=device, processes=processes))


def _message(config: ExperimentConfig, reason: str, *, memory: int, device: torch.device, processes: int) -> str:
    first = f"a step of training needs more memory than the {format_memory(memory)} of {device}: {reason}"
    if not config.backbone.runs_dry:
        return f"{first}; lower data.sampling.num_steps, set backbone.reversible=True, or raise training.accumulate"
    options = what_fits(config, memory=memory, device=device, processes=processes)
    if not options:
        return f"{first}; not even the shortest clip would fit, take a smaller network or data.crop_size"
    listed = "".join(f"\n  --cfg-options {option}" for option in options)
    return f"{first}; any of these would fit, by what `re2tal plan` says:{listed}"
