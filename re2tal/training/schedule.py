"""The learning rate at each optimizer step: a linear warm-up, then a cosine."""

import math

from torch.optim import Optimizer

__all__ = ["WarmupCosine", "warmup_cosine_rate"]


def warmup_cosine_rate(step: int, *, base: float, minimum: float, warmup_steps: int, total_steps: int) -> float:
    """The rate of one parameter group at optimizer step `step` (from 0).

    The first step of a warm-up has rate 0 and its last one already has `base`, as in the published runs.
    After `total_steps` the rate stays at `minimum`.
    """
    if step < warmup_steps:
        return base * step / max(warmup_steps - 1, 1)
    progress = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return minimum + (base - minimum) * (1 + math.cos(math.pi * progress)) / 2


class WarmupCosine:
    """Sets the rates of an optimizer's groups, each from the rate it was built with.

    The rate is a function of the step alone, so there is no state to save or to get out of step.
    """

    def __init__(self, optimizer: Optimizer, *, minimum: float, warmup_steps: int, total_steps: int) -> None:
        self.optimizer = optimizer
        self.bases = [float(group["lr"]) for group in optimizer.param_groups]
        self.minimum = minimum
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.step = 0
        """The one whose rates are set."""

    def set_step(self, step: int) -> None:
        """Set the rates that optimizer step `step` (from 0) uses."""
        self.step = step
        for group, base in zip(self.optimizer.param_groups, self.bases, strict=True):
            group["lr"] = warmup_cosine_rate(
                step, base=base, minimum=self.minimum, warmup_steps=self.warmup_steps, total_steps=self.total_steps
            )
