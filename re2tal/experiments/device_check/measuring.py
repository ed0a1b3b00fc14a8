"""One training step of a backbone with any training strategy: its memory, its time, its gradients."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.utils.checkpoint import create_selective_checkpoint_contexts

from re2tal.experiments.device_check.sizes import Sizes, StepStrategy
from re2tal.networks.backbones import Backbone, BackboneConfig, SlowFastConfig, SwinConfig, build_backbone
from re2tal.networks.backbones.activation_checkpointing import blocks_of
from re2tal.reversible import set_mode, set_tiles

__all__ = [
    "NETWORKS",
    "REDUCED",
    "PeakMemory",
    "build_with",
    "described",
    "elapsed",
    "gradient_errors",
    "gradients",
    "run_step",
    "saving_elsewhere",
    "without_tf32",
]

NETWORKS: dict[str, BackboneConfig] = {"Swin-T": SwinConfig(drop_path=0.0), "SlowFast-101": SlowFastConfig()}
REDUCED: dict[str, BackboneConfig] = {
    "Swin-T": SwinConfig(drop_path=0.0, embed_dim=24, depths=(1, 1, 2, 1)),
    "SlowFast-101": SlowFastConfig(blocks=(1, 1, 2, 1)),
}
"""Of fewer blocks, to see that programs run."""


def described(network: str, sizes: Sizes) -> tuple[str, BackboneConfig]:
    """What a network is called, and its settings, at the sizes of a check."""
    return (f"{network}, reduced", REDUCED[network]) if sizes.reduced else (network, NETWORKS[network])


_EXPENSIVE = [
    torch.ops.aten.mm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.convolution.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
]
"""What selective checkpointing keeps the results of."""


def build_with(config: BackboneConfig, strategy: StepStrategy) -> Backbone:
    """The backbone that `config` describes, with fresh weights, as a training strategy has it."""
    rewired = strategy in ("stored", "whole", "reversible")
    changes = {"reversible": rewired, "activation_checkpointing": strategy == "checkpointed"}
    model = build_backbone(config.model_copy(update=changes)).train()
    if strategy == "selective":
        wrap = partial(checkpoint_wrapper, context_fn=partial(create_selective_checkpoint_contexts, _EXPENSIVE))
        blocks = set(blocks_of(model.network))
        apply_activation_checkpointing(model, checkpoint_wrapper_fn=wrap, check_fn=blocks.__contains__)
    elif rewired:
        set_mode(model, "store" if strategy == "stored" else "reversible")
        if strategy == "whole":
            set_tiles(model, None)
    return model


def saving_elsewhere(strategy: StepStrategy, *, device: torch.device) -> AbstractContextManager[object]:
    """Around a forward pass: keeps what autograd saves in the host's memory, if the strategy says so."""
    if strategy != "offloaded":
        return nullcontext()
    return torch.autograd.graph.save_on_cpu(pin_memory=device.type == "cuda")


def run_step(model: nn.Module, *inputs: Any, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> float:
    """A forward and a backward pass; returns seconds of the forward pass.

    The loss is the mean of the results, each multiplied by a weight of its own: of a norm's results, the mean square
    would hardly have a gradient.

    Args:
        model: gives a tensor.
        inputs: of its forward.
        dtype: float32 or float64, or half a precision to autocast to.
        scale: of the loss, without which gradients would vanish in fp16.
    """
    device = next(model.parameters()).device
    is_half = dtype in (torch.bfloat16, torch.float16)
    start = time.perf_counter()
    with torch.autocast(device.type, dtype if is_half else None, enabled=is_half):
        result = model(*inputs)
    forward_s = time.perf_counter() - start
    weights = torch.linspace(-1, 1, result.numel(), device=device).view(result.shape)
    (result.to(torch.promote_types(result.dtype, torch.float32)).mul(weights).mean() * scale).backward()
    return forward_s


def elapsed(action: Callable[[], object], *, device: torch.device, repeats: int) -> float:
    """Median seconds of `action`, until the device has done all of it."""
    times = []
    for _ in range(repeats):
        _wait_for(device)
        start = time.perf_counter()
        action()
        _wait_for(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# Memory


class PeakMemory:
    """Sees what tensors take at most inside it, beyond what they took before; on a CPU by PyTorch's profiler."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0
        self._profile = torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=False
        )
        self.allocated = 0
        """Bytes of tensors at the fullest moment, beyond those before."""
        self.reserved = 0
        """Bytes that the process holds on the device at most in all, with holes; 0 on a CPU."""

    def __enter__(self) -> "PeakMemory":
        if self._device.type == "cuda":
            _wait_for(self._device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._profile.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._device.type == "cuda":
            self.allocated = torch.cuda.max_memory_allocated(self._device) - self._before
            self.reserved = torch.cuda.max_memory_reserved(self._device)
        else:
            self._profile.__exit__(*error)
            self.allocated = max(_running_sums(self._profile))


def _running_sums(profile: torch.profiler.profile) -> Iterator[int]:
    now = 0
    yield now
    profiler: Any = profile.profiler
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        yield now


# Gradients


def gradients(
    model: nn.Module, *inputs: Any, strategy: StepStrategy, dtype: torch.dtype = torch.float32, scale: float = 1.0
) -> tuple[dict[str, Tensor], nn.Module]:
    """Gradients by name, in float64, of a copy of a rewired model in one of its modes; and that copy.

    Args:
        model: rewired.
        inputs: of its forward; floating-point ones are cast where `dtype` is float64.
        strategy: "stored" or "reversible".
        dtype: see `run_step`.
        scale: see `run_step`; gradients are divided by it.
    """
    model = copy.deepcopy(model)
    model.zero_grad(set_to_none=True)
    if dtype == torch.float64:
        model.double()
        inputs = tuple(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)
    set_mode(model, "store" if strategy == "stored" else "reversible")
    run_step(model, *inputs, dtype=dtype, scale=scale)
    found = {name: p.grad.double() / scale for name, p in model.named_parameters() if p.grad is not None}
    return found, model


def gradient_errors(ours: dict[str, Tensor], reference: dict[str, Tensor], *, floor: float = 0.0) -> dict[str, Any]:
    """Relative L2 of every parameter's gradient: the worst and the median.

    Args:
        ours: by name.
        reference: by name.
        floor: a gradient is compared with at least this share of the norm of all together.
    """
    least = floor * math.hypot(*(float(grad.double().norm()) for grad in reference.values()))
    found = {
        name: float((ours[name].double() - grad.double()).norm()) / max(float(grad.double().norm()), least)
        for name, grad in reference.items()
        if float(grad.norm()) > 0
    }
    worst = max(found, key=lambda name: (math.isnan(found[name]), found[name]))
    return {"worst": found[worst], "median": statistics.median(found.values()), "of": worst}


@contextmanager
def without_tf32() -> Iterator[None]:
    """Inside, float32 is float32, also where a GPU would round it for speed."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
