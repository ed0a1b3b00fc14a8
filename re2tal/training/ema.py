"""The running average of a model's weights, which is what gets evaluated."""

from copy import deepcopy

import torch
from torch import Tensor, nn

__all__ = ["EMA"]


class EMA:
    """`average <- decay * average + (1 - decay) * model`, over parameters and float buffers.

    Integer buffers (index tables, counters) are copied. The average lives in `module`, a model of its own.
    (torch.optim.swa_utils.AveragedModel gives the same parameters in the same time, but averages counters too: after 20
    batches of a norm it had counted 0.)
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        # Copied here, since deepcopy copies what is below a tensor, which one without values does not have.
        copies: dict[int, object] = {id(buffer): buffer.detach().clone() for buffer in model.buffers()}
        copies |= {id(p): nn.Parameter(p.detach().clone(), requires_grad=False) for p in model.parameters()}
        self.module = deepcopy(model, copies).eval()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average one step towards `model`."""
        current = model.state_dict()
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name, average in self.module.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                values.append(current[name])
            else:
                average.copy_(current[name])
        # As a step towards the value: weights that do not change are averaged without rounding.
        torch._foreach_lerp_(averages, values, 1 - self.decay)
