"""Memory of a training step in every training strategy, and what is the most that fits."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from re2tal.common.memory_size import MIB
from re2tal.config import ConfigError, ExperimentConfig
from re2tal.config.building import count_classes
from re2tal.experiments.planning.dry_run import DryRun
from re2tal.experiments.planning.memory import available_memory, resident_memory
from re2tal.networks.backbones.config import TrainingStrategy
from re2tal.reversible.tiles import most_bytes

__all__ = [
    "PARTS",
    "STRATEGIES",
    "Estimate",
    "Estimates",
    "MemoryPlan",
    "TrainingStrategy",
    "clips_of_a_process",
    "make_plan",
    "strategy_of",
    "what_fits",
]

STRATEGIES: dict[TrainingStrategy, dict[str, bool]] = {
    "plain": {"reversible": False, "activation_checkpointing": False},
    "checkpointed": {"reversible": False, "activation_checkpointing": True},
    "reversible": {"reversible": True, "activation_checkpointing": False},
}
"""Settings of the backbone for each training strategy."""

PARTS = {
    "parameters": "the network's weights",
    "gradients": "one for every weight that learns",
    "exchange": "gradients once more, in the buckets that processes exchange",
    "optimizer": "AdamW's two averages for every weight that learns",
    "average": "the running average of the weights (EMA)",
    "input": "the clips, as whole numbers",
    "activations": "what the backbone keeps for the backward pass; streams, in a reversible one",
    "tile": "the piece of a branch that a reversible backbone computes again",
    "head": "pyramid, heads and losses",
    "kernels": "buffers of kernels, and holes in the heap",
    "libraries": "the process before it has built anything",
}
"""What memory goes into, in the order of telling."""

_BEYOND_TENSORS: dict[TrainingStrategy, Callable[[float], float]] = {
    "plain": lambda mib: min(mib, 400 + 0.07 * mib),
    "checkpointed": lambda mib: min(1.1 * mib, 800 + 0.1 * mib),
    "reversible": lambda mib: 60 + 0.08 * mib,
}
"""What a process on a CPU takes beyond its tensors, for what a step allocates in tensors, in MiB: buffers of kernels,
and holes that the C library keeps in its heap, which is most of it except in reversible training, where large tensors
are kept out of the heap. Measured on backbones (Swin-T, SlowFast-101) and on the small experiments of the demo and
ucf_mini; benchmarks/plan_check.py holds it against whole steps of others."""
_SHARE_BEYOND_ON_CUDA = 0.1
"""Holes in PyTorch's pool and buffers of kernels; not measured."""
_LIBRARIES = resident_memory()
"""Of a process that has loaded them and built nothing yet, as this one has where this file is imported."""
_CLOSE_ENOUGH = 20
"""What fits is known once a number larger by a 20th of it does not fit; to the unit below 40."""
_DEFAULT_CLASSES = 20
"""If neither the config nor the annotations tell: hardly matters."""


def strategy_of(config: ExperimentConfig) -> TrainingStrategy:
    """How a config trains its backbone."""
    if config.backbone.reversible:
        return "reversible"
    return "checkpointed" if config.backbone.activation_checkpointing else "plain"


@dataclass(frozen=True)
class Estimate:
    """The memory of one training step at its fullest, in bytes by part."""

    strategy: TrainingStrategy
    num_frames: int
    """Of a clip."""
    num_clips: int
    """Of a process, at a time."""
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class MemoryPlan:
    """What `re2tal plan` tells."""

    name: str
    device: str
    memory: int
    """Bytes that a process may take."""
    own: TrainingStrategy
    """How the config trains."""
    estimates: list[Estimate]
    """Of the config as it is, one for every way."""
    longest: dict[TrainingStrategy, Estimate | None]
    """The longest clips that fit; None: not even the shortest. Empty in a quick plan."""
    largest: dict[TrainingStrategy, Estimate | None]
    """The largest batches of the config's clips that fit. Empty in a quick plan."""

    @property
    def fits(self) -> bool:
        """Whether the config fits as it is."""
        return next(e for e in self.estimates if e.strategy == self.own).total <= self.memory

    def as_json(self) -> dict[str, Any]:
        """Plain values; memory in MiB."""

        def mib(size: int) -> float:
            return round(size / MIB, 1)

        return {
            "name": self.name,
            "device": self.device,
            "memory_mib": mib(self.memory),
            "way": self.own,
            "fits": self.fits,
            "num_frames": self.estimates[0].num_frames,
            "num_clips": self.estimates[0].num_clips,
            "ways": {
                e.strategy: {
                    "total_mib": mib(e.total),
                    "parts_mib": {name: mib(size) for name, size in e.parts.items()},
                    "longest_clip_frames": (longest := self.longest.get(e.strategy)) and longest.num_frames,
                    "largest_batch": (largest := self.largest.get(e.strategy)) and largest.num_clips,
                }
                for e in self.estimates
            },
        }


def make_plan(
    config: ExperimentConfig,
    *,
    memory: int | None = None,
    processes: int = 1,
    device: torch.device | None = None,
    quick: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> MemoryPlan:
    """Dry-run a step of `config` with every training strategy.

    Args:
        config: of the experiment; neither its data nor its weights are needed.
        memory: bytes that a process may take; by default what is free now.
        processes: that share a batch.
        device: trained on; by default the first GPU if there is one.
        quick: dry-run the config's own strategy alone, and do not look for what fits.
        tell: is called with how many training strategies are done, and of how many.

    Raises:
        ConfigError: the batch cannot be shared out.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    memory = available_memory(device) if memory is None else memory
    estimates = Estimates(config, device=device, processes=processes)
    num_clips = clips_of_a_process(config, processes)
    own = strategy_of(config)
    strategies = (
        [own]
        if quick
        else [strategy for strategy in STRATEGIES if strategy == own or strategy in config.backbone.strategies]
    )
    own_size: list[Estimate] = []
    longest: dict[TrainingStrategy, Estimate | None] = {}
    largest: dict[TrainingStrategy, Estimate | None] = {}
    for strategy in strategies:
        own_size.append(estimates.of(strategy, num_clips=num_clips))
        if not quick:
            longest[strategy] = estimates.longest_clip(strategy, memory, num_clips=num_clips)
            largest[strategy] = estimates.largest_batch(strategy, memory)
        tell(len(own_size), len(strategies))
    return MemoryPlan(config.name, device.type, memory, own, own_size, longest, largest)


def what_fits(config: ExperimentConfig, *, memory: int, device: torch.device, processes: int = 1) -> list[str]:
    """Settings, as `--cfg-options` takes them, each of which alone makes a step fit; the least harmful first."""
    estimates = Estimates(config, device=device, processes=processes)
    num_clips = clips_of_a_process(config, processes)
    strategy = strategy_of(config)
    # It did not fit, whatever was expected.
    memory = min(memory, estimates.of(strategy, num_clips=num_clips).total * 9 // 10)
    found = []
    can_rewire = strategy != "reversible" and "reversible" in config.backbone.strategies
    if can_rewire and estimates.of("reversible", num_clips=num_clips).total <= memory:
        off = " backbone.activation_checkpointing=False" if strategy == "checkpointed" else ""
        found.append(f"backbone.reversible=True{off}")
    batch = estimates.largest_batch(strategy, memory)
    if batch is not None and batch.num_clips < num_clips:
        pieces = next(n for n in range(1, num_clips + 1) if num_clips % n == 0 and num_clips // n <= batch.num_clips)
        found.append(f"training.accumulate={config.training.accumulate * pieces}")
    clip = estimates.longest_clip(strategy, memory, num_clips=num_clips)
    if clip is not None:
        found.append(f"data.sampling.num_steps={clip.num_frames // config.data.sampling.frames_per_step}")
    return found


def clips_of_a_process(config: ExperimentConfig, processes: int) -> int:
    """That go through the network at a time."""
    pieces = processes * config.training.accumulate
    if config.training.batch_size % pieces:
        raise ConfigError(
            f"training.batch_size must be a multiple of processes x accumulate = {processes} x "
            f"{config.training.accumulate}, got {config.training.batch_size}"
        )
    return config.training.batch_size // pieces


class Estimates:
    """Of one experiment on one device, each made once."""

    def __init__(self, config: ExperimentConfig, *, device: torch.device, processes: int) -> None:
        if not config.backbone.runs_dry:
            raise ConfigError(
                f"a step with {config.backbone!r:.200} cannot be run dry: finding its blocks, or a LoRA, takes "
                "tensors with values, and a dry run's have none; train a step instead, of few steps a clip at first"
            )
        self.config, self.device, self.processes = config, device, processes
        self._num_classes = count_classes(config.data) or _DEFAULT_CLASSES
        self._libraries = _LIBRARIES if device.type == "cpu" else 0
        self._dry_runs: dict[TrainingStrategy, DryRun] = {}
        self._known: dict[tuple[TrainingStrategy, int, int], Estimate] = {}

    def of(self, strategy: TrainingStrategy, *, num_clips: int, num_steps: int | None = None) -> Estimate:
        """For clips of the config's length, or of `num_steps`."""
        num_steps = num_steps or self.config.data.sampling.num_steps
        key = (strategy, num_steps, num_clips)
        if key not in self._known:
            self._known[key] = self._run_dry(strategy, num_steps=num_steps, num_clips=num_clips)
        return self._known[key]

    def _run_dry(self, strategy: TrainingStrategy, *, num_steps: int, num_clips: int) -> Estimate:
        if strategy not in self._dry_runs:
            backbone = self.config.backbone.model_copy(update=STRATEGIES[strategy])
            on_cuda = self.device.type == "cuda" and backbone.tile_mib == "auto"
            self._dry_runs[strategy] = DryRun(
                self.config.model_copy(update={"backbone": backbone}),
                num_classes=self._num_classes,
                tile_bytes=most_bytes("auto", self.device) if on_cuda else None,
            )
        tensors = self._dry_runs[strategy].step(num_steps=num_steps, num_clips=num_clips)
        lasting = sum(tensors.get(part, 0) for part in ("parameters", "optimizer", "average"))
        allocated = sum(tensors.values()) - lasting
        more = {"kernels": self._beyond_tensors(strategy, allocated), "libraries": self._libraries}
        if self.processes > 1:
            more["exchange"] = tensors["gradients"]
        parts = {name: (tensors | more).get(name, 0) for name in PARTS}
        return Estimate(strategy, num_steps * self.config.data.sampling.frames_per_step, num_clips, parts)

    def _beyond_tensors(self, strategy: TrainingStrategy, allocated: int) -> int:
        if self.device.type == "cuda":
            return round(_SHARE_BEYOND_ON_CUDA * allocated)
        return round(_BEYOND_TENSORS[strategy](allocated / MIB) * MIB)

    def longest_clip(self, strategy: TrainingStrategy, memory: int, *, num_clips: int) -> Estimate | None:
        """In whole strides of the deepest level, and whole sub-clips."""
        backbone, frames_per_step = self.config.backbone, self.config.data.sampling.frames_per_step
        sub_clip = backbone.chunk_frames or backbone.clip_multiple
        unit = math.lcm(self.config.pyramid.strides[-1], sub_clip // math.gcd(sub_clip, frames_per_step))
        return _largest(
            lambda units: self.of(strategy, num_clips=num_clips, num_steps=units * unit),
            memory,
            start=-(-self.config.data.sampling.num_steps // unit),
        )

    def largest_batch(self, strategy: TrainingStrategy, memory: int) -> Estimate | None:
        """Of the config's clips."""
        return _largest(lambda num_clips: self.of(strategy, num_clips=num_clips), memory, start=1)


def _largest(estimate: Callable[[int], Estimate], memory: int, *, start: int) -> Estimate | None:
    """The estimate for the largest number that fits, to a few percent; memory grows with it, in the end linearly."""
    low, high = 0, None
    guess = start
    seen: dict[int, int] = {}
    while high is None or high - low > _step(low):
        seen[guess] = estimate(guess).total
        if seen[guess] <= memory:
            low = guess
        else:
            high = guess
        guess = _next_guess(seen, memory, low=low, high=high)
    return estimate(low) if low else None


def _step(low: int) -> int:
    return max(low // _CLOSE_ENOUGH, 1)


def _next_guess(seen: dict[int, int], memory: int, *, low: int, high: int | None) -> int:
    """Along the line through the two tries nearest to the limit, but far enough from both bounds to get on."""
    if len(seen) < 2:
        only = next(iter(seen))
        return max(only // 2, 1) if high is not None else only * 2
    near, far = sorted(seen, key=lambda n: abs(seen[n] - memory))[:2]
    slope = (seen[near] - seen[far]) / (near - far)
    guess = near + int((memory - seen[near]) / slope) if slope > 0 else low
    if high is None:
        return min(max(guess, low + _step(low)), 8 * low)
    if low == 0:
        return min(max(guess, 1), high // 2)
    # Just above what fits: where the line is right, that try ends the search.
    return min(max(guess, low + _step(low), low + (high - low) // 8), high - (high - low) // 8 - 1)
