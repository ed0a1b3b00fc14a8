"""Two training steps of a network under a tool, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from re2tal.reversible import report_of, rewire, set_coefficients, set_mode
from re2tal.reversible.debug.verify import count_saved_bytes
from working_with.networks import Batch, Network

Kind = Literal["plain", "original", "reversible", "store"]
"""Never rewired; rewired with alpha=1, beta=0; rewired as it comes; the latter under plain autograd."""


@dataclass
class Recording:
    """What a run leaves behind, to be compared with another run's."""

    groups: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Tensors by name, in groups: the gradients of a step, the changes of parameters, losses, outputs."""
    saved_bytes: int | None = None
    """Kept for the second backward pass: in the first, blocks may be traced, which hooks must not disturb."""
    forwards: int = 0
    """That have begun."""
    blocks: tuple[int, int] | None = None
    """Rewired, and all."""

    def put(self, group: str, name: str, value: Any) -> None:
        """Keep a number or a copy of a tensor."""
        value = value.full_tensor() if hasattr(value, "full_tensor") else value
        self.groups.setdefault(group, {})[name] = torch.as_tensor(value).detach().double().clone()

    def put_gradients(self, step: int, model: nn.Module) -> None:
        """Keep the gradients of all parameters."""
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                self.put(f"gradients of step {step}", name, parameter.grad)

    def put_changes(self, before: dict[str, Tensor], model: nn.Module) -> None:
        """Keep what training has done to parameters and floating-point buffers."""
        for name, value in state_of(model).items():
            if name in before and value.shape == before[name].shape:
                self.put("changes", name, value - before[name])


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters and buffers of a model, in double precision."""
    found = [*model.named_parameters(), *model.named_buffers()]
    whole = {name: t.full_tensor() if hasattr(t, "full_tensor") else t for name, t in found}
    return {name: t.detach().double().clone() for name, t in whole.items() if t.is_floating_point()}


@dataclass(frozen=True)
class Setting:
    """What a scenario runs with: a network, and whether it is to be rewired."""

    network: Network
    kind: Kind
    dtype: torch.dtype = torch.float64
    self_check: bool = False
    """Rewire nothing, so that a difference is a fault of the scenario."""
    recording: Recording = field(default_factory=Recording)

    def model(self) -> nn.Module:
        """The network, never rewired."""
        return self.network.model(self.dtype)

    def batch(self, step: int) -> Batch:
        """The inputs of a step."""
        return self.network.batch(step, self.dtype)

    def rewired(self, model: nn.Module, *, example: Any = None) -> nn.Module:
        """The network, rewired if this is a run that has it so; a scenario decides when."""
        if self.kind == "plain" or self.self_check:
            return model
        example = self.network.example(self.dtype) if example is None else example
        model = rewire(model, example=example)
        if (report := report_of(model)) is not None:
            self.recording.blocks = report.rewired, len(report.blocks)
        if self.kind == "original":
            set_coefficients(model, alpha=1, beta=0)
        if self.kind == "store":
            set_mode(model, "store")
        return model

    @contextmanager
    def counted(self, model: nn.Module) -> Iterator[None]:
        """Count the bytes kept by the second forward pass that runs inside."""
        self.recording.forwards += 1
        if self.recording.forwards != 2 or self.recording.saved_bytes is not None:
            yield
            return
        with count_saved_bytes(model) as saved:
            yield
        self.recording.saved_bytes = saved[0]


Call = Callable[[nn.Module, Batch], Tensor]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """An optimizer whose steps are proportional to gradients, so that rounding is not magnified."""
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)


def train(
    setting: Setting,
    model: nn.Module,
    *,
    steps: int = 2,
    micro_batches: int = 1,
    loss: Call | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    forward: Callable[[], AbstractContextManager[Any]] = nullcontext,
    backward: Callable[[], AbstractContextManager[Any]] = nullcontext,
    after_backward: Callable[[int], None] = lambda step: None,
    after_step: Callable[[int], None] = lambda step: None,
) -> Recording:
    """Train for some steps and record losses, gradients and changes.

    Args:
        setting: of the run.
        model: as the tool gives it.
        steps: of the optimizer.
        micro_batches: forward and backward passes in each step.
        loss: instead of the network's own.
        optimizer: instead of `sgd`.
        forward: around each forward pass.
        backward: around each backward pass.
        after_backward: called before gradients are recorded.
        after_step: called after each step of the optimizer.
    """
    kept = setting.recording
    loss = loss or setting.network.loss
    optimizer = optimizer or sgd(model)
    before = state_of(model)
    torch.manual_seed(3)
    for step in range(steps):
        optimizer.zero_grad()
        for part in range(micro_batches):
            with setting.counted(model), forward():
                value = loss(model, setting.batch(step * micro_batches + part))
            with backward():
                (value / micro_batches).backward()
            kept.put("losses", f"{step}.{part}", value)
        after_backward(step)
        kept.put_gradients(step, model)
        optimizer.step()
        after_step(step)
    kept.put_changes(before, model)
    return kept
