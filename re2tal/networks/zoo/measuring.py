"""What rewiring makes of a network: blocks, gradients, memory, time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from re2tal.common.terminal import print_table
from re2tal.networks.zoo.named import Network
from re2tal.reversible import Rewiring, report_of, rewire, unrewire, verify
from re2tal.reversible.debug.verify import count_saved_bytes
from re2tal.reversible.trees import replace_leaves, tensors_in

__all__ = ["ZooRow", "in_dtype", "measure", "print_rows", "wake"]


@dataclass(frozen=True)
class ZooRow:
    """One network."""

    model: str
    blocks: int
    """Residual blocks and others of their classes."""
    rewired: int
    gradient_error: float | None
    """Of `reversible` against `store`, relative, worst parameter; None if nothing could be rewired."""
    saved_ratio: float | None
    """Bytes kept for the backward pass over what the original network keeps."""
    time_ratio: float | None
    """Of a training step over one of the original network."""
    report: Rewiring | None = None
    reason: str | None = None
    """Why nothing could be rewired."""

    def as_json(self) -> dict[str, Any]:
        """Without the report."""
        fields = {key: value for key, value in asdict(self).items() if key not in ("report", "reason")}
        return fields if self.reason is None else {**fields, "reason": self.reason}


def wake(model: nn.Module) -> None:
    """Give weights that start at zero, or next to it, others: what they multiply would not be seen."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.numel() and float(parameter.abs().amax()) < 1e-2:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(0.2 * noise)


def measure(network: Network, *, dtype: torch.dtype = torch.float64, repeats: int = 3) -> ZooRow:
    """Rewire a network and compare. It changes: its type, weights that were zero, running statistics of norms.

    Args:
        network: in training mode.
        dtype: to compute in.
        repeats: of the training steps whose median time counts.
    """
    model, example = network.model.to(dtype), in_dtype(network.example, dtype)
    wake(model)
    saved, seconds = _step(model, example, repeats=repeats)
    try:
        model = rewire(model, example=example)
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        return ZooRow(network.name, 0, 0, None, None, None, reason=str(error))
    report = report_of(model)
    assert report is not None
    verified = verify(model, example)
    _, ours = _step(model, example, repeats=repeats)
    unrewire(model)
    return ZooRow(
        model=network.name,
        blocks=len(report.blocks),
        rewired=report.rewired,
        gradient_error=max(verified.worst[1], verified.output_error),
        saved_ratio=verified.saved_bytes / max(saved, 1),
        time_ratio=ours / seconds,
        report=report,
    )


def in_dtype(example: Any, dtype: torch.dtype) -> Any:
    """The example with floating-point numbers of another type."""

    def cast(leaf: object) -> object:
        return leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    return replace_leaves(example, cast)


def _step(model: nn.Module, example: Any, *, repeats: int) -> tuple[int, float]:
    """Bytes kept for the backward pass, and the median seconds of a training step."""
    times = []
    kept = 0
    for _ in range(repeats + 1):  # the first warms up
        model.zero_grad(set_to_none=True)
        start = time.perf_counter()
        with count_saved_bytes(model) as saved:
            outputs = model(**example) if isinstance(example, dict) else model(*_positional(example))
            loss = sum(t.square().sum() for t in tensors_in(outputs) if t.requires_grad)
        assert isinstance(loss, Tensor)
        loss.backward()
        times.append(time.perf_counter() - start)
        kept = saved[0]
    model.zero_grad(set_to_none=True)
    return kept, statistics.median(times[1:] or times)


def _positional(example: Any) -> tuple[Any, ...]:
    return example if isinstance(example, tuple) else (example,)


def print_rows(rows: Sequence[ZooRow]) -> None:
    """One line for each network; those of which nothing could be rewired stand apart."""
    done = [row for row in rows if row.reason is None]
    if done:
        cells = [["model", "blocks rewired", "gradient error", "saved bytes", "step time"]]
        cells += [
            [
                row.model,
                f"{row.rewired} of {row.blocks}",
                f"{row.gradient_error:.1e}",
                f"{row.saved_ratio:.2f}",
                f"{row.time_ratio:.2f}",
            ]
            for row in done
        ]
        print_table(cells)
    others = [row for row in rows if row.reason is not None]
    if others:
        print("\nNothing can be rewired in:", *(f"{row.model}: {row.reason}" for row in others), sep="\n")
